import { runWorlds } from "./test/closed-loop/pool.ts";
const [from, worlds] = process.argv.slice(2).map(Number) as [number, number];
const r = await runWorlds({ from, worlds, threads: 2, advisors: ["aviary"] });
const top = [...r].sort((a, b) => b.damage.badOnTrialAfterKnown - a.damage.badOnTrialAfterKnown).slice(0, 12);
for (const { seed, damage, contents, violations } of top) console.log(seed, Math.round(damage.badOnTrialAfterKnown), contents.filter(c=>!c.includes("none")).join(", "), violations.map(v=>v.law).join(" "));
console.log("rolled back healthy:", r.filter(x=>x.damage.healthyRolledBack>0).map(x=>x.seed).join(" "));
const laws: Record<string, number[]> = {};
for (const x of r) for (const law of new Set(x.violations.map(v=>v.law))) (laws[law] ??= []).push(x.seed);
for (const [law, seeds] of Object.entries(laws)) console.log(law, seeds.length, seeds.slice(0, 20).join(" "));
