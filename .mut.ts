import { runWorlds } from "./test/closed-loop/pool.ts";
import { writeMutatedCopy } from "./test/simulation/mutated-copy.ts";
import { addDamage, NO_DAMAGE } from "./test/closed-loop/judge/damage.ts";
const M: any[] = [
  { name: "base" },
  { name: "promotion-without-evidence", service: "shim", file: "adapters/flagger-gates.ts", from: "if (run?.promotable && !reasons.some(({ code }) => blocksPromotion(code))) return", to: "return" },
  { name: "not-about-now", service: "shim", file: "adapters/flagger-gates.ts", from: "&& !reasons.some(({ code }) => blocksPromotion(code))", to: "" },
  { name: "sticky", two: true },
  { name: "widening-on-hold", service: "shim", file: "adapters/flagger-gates.ts", from: "return facts.run?.weight === 0 ? preconditions(facts) : deny(`hold: ${why}`);", to: "return preconditions(facts);" },
  { name: "hold-is-a-failed-check", service: "shim", file: "adapters/flagger-gates.ts", from: 'if (gate === "pre-rollout" || gate === "rollout") return allow(', to: 'if (gate === "pre-rollout" || gate === "rollout") return facts.verdict === "hold" ? deny("hold") : allow(' },
  { name: "latch-forgotten", file: "core/verdict.ts", from: "if (run?.latch) return {", to: "if (run?.latch && run.latch.verdictId === null) return {" },
  { name: "lane-capped-without-run", file: "core/lanes.ts", from: "if (lane.runOpen) capDuringRun(lane, cut);", to: "capDuringRun(lane, cut);" },
  { name: "never-restored", file: "core/run.ts", from: "if (release !== null && stable !== null && sameRelease(release, stable)) {", to: "if (atMs < 0) {" },
  { name: "environment-off", file: "core/judge/keys.ts", from: "return required === null || required.pValue <= required.level;", to: "return true;" },
  { name: "conditions-ignored", file: "core/verdict.ts", from: "[...changed, ...conditions.holds,", to: "[...changed," },
  { name: "no-step-evidence", file: "core/judge/two-key.ts", from: "return evidence.step && kinds.every", to: "return kinds.every" },
  { name: "suspicious-passes", file: "core/judge/two-key.ts", from: 'kinds.every((kind) => kind === "clear")', to: 'kinds.every((kind) => kind !== "environment")' },
  { name: "no-hold-budget", file: "core/reconcile.ts", from: "const expired = run !== null && (", to: "const expired = run !== null && atMs < 0 && (" },
  { name: "stale-served", service: "shim", file: "response/verdict-answer.ts", from: "if (cause === undefined && validUntilMs !== undefined) return undefined;", to: "if (validUntilMs !== undefined) return undefined;" },
  { name: "unseen-ignored", service: "shim", file: "response/canary-answer.ts", from: "return unseen ? prepare(", to: "return unseen && revision === null ? prepare(" },
  { name: "end-ignored", service: "shim", file: "adapters/control-drafts.ts", from: 'if (run !== null && !isOpenRun(run)) return [];', to: "return [];" },
  { name: "azs-not-judged", file: "core/judge/two-key.ts", from: "input.scopes.length > 2 ?", to: "input.scopes.length > 99 ?" },
  { name: "latency-not-judged", file: "core/judge/two-key.ts", from: "for (const metric of METRICS) {", to: 'for (const metric of METRICS.filter((each) => each === "errors")) {' },
];
const only = process.argv[2]; const n = Number(process.argv[3] ?? 100); const theme = (process.argv[4] ?? "any") as any;
for (const m of M) {
  if (only && !only.split(",").includes(m.name)) continue;
  const copies = m.two ? { shim: writeMutatedCopy({ name: "a1", service: "shim", file: "adapters/flagger-gates.ts", from: "if (run?.promotable && !reasons.some(({ code }) => blocksPromotion(code)))", to: "if (run?.promotable)" }), evaluator: writeMutatedCopy({ name: "a2", file: "core/verdict-record.ts", from: "run.promotable && !decision.reasons.some(({ code }) => blocksPromotion(code))", to: "run.promotable" }) } : m.file ? { [m.service ?? "evaluator"]: writeMutatedCopy(m) } : {};
  const r = await runWorlds({ from: 0, worlds: n, threads: 2, advisors: ["aviary"], theme, copies });
  const laws: Record<string, number[]> = {};
  for (const x of r) for (const law of new Set(x.violations.map(v=>v.law))) (laws[law] ??= []).push(x.seed);
  const d = r.map(x=>x.damage).reduce(addDamage, NO_DAMAGE);
  console.log(m.name.padEnd(28), `promKnown ${d.badPromotedAfterKnown} prom ${d.badPromoted} wid ${d.badWidened} afterKnown ${(d.badOnTrialAfterKnown/d.bad).toFixed(0)} hProm ${(d.healthyPromoted/d.healthy).toFixed(2)} hBack ${(d.healthyRolledBack/d.healthy).toFixed(3)} held ${(d.healthyHeldMin/d.healthy).toFixed(1)} starved ${(d.laneStarvedMin/d.worlds).toFixed(1)} adv ${d.badAdvancedAfterReadable} over ${(d.laneOverMin/d.worlds).toFixed(1)}`, Object.entries(laws).map(([l,s])=>`${l}:${s.length}@${s[0]}`).join(" "));
}
