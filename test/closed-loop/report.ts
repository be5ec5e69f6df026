/** Prints the damage of every advisor side by side, and the story of one world. */
import { loadProduct } from "../simulation/product.ts";
import type { AdvisorName } from "./advisors/advisor.ts";
import { addDamage, type Damage, NO_DAMAGE } from "./judge/damage.ts";
import { violationsOf } from "./judge/laws.ts";
import { runWorld } from "./run-world.ts";
import type { WorldResult } from "./worker.ts";
import { type Theme, themedPlanOf } from "./world/themes.ts";

interface Column {
  readonly title: string;
  readonly value: (damage: Damage) => string;
}

const per = (part: number, whole: number): string => (whole === 0 ? "–" : (part / whole).toFixed(1));
const share = (part: number, whole: number): string => (whole === 0 ? "–" : `${((100 * part) / whole).toFixed(1)}%`);

const COLUMNS: readonly Column[] = [
  { title: "bad promoted", value: ({ bad, badPromoted }) => share(badPromoted, bad) },
  { title: "never served", value: ({ bad, badPromotedUnserved }) => share(badPromotedUnserved, bad) },
  { title: "after known", value: ({ bad, badPromotedAfterKnown }) => share(badPromotedAfterKnown, bad) },
  { title: "widened after known, per bad", value: ({ bad, badWidened }) => per(badWidened, bad) },
  { title: "bad requests per bad", value: ({ bad, badOnTrial }) => per(badOnTrial, bad) },
  { title: "after known, per bad", value: ({ bad, badOnTrialAfterKnown }) => per(badOnTrialAfterKnown, bad) },
  { title: "healthy promoted", value: ({ healthy, healthyPromoted }) => share(healthyPromoted, healthy) },
  { title: "healthy rolled back", value: ({ healthy, healthyRolledBack }) => share(healthyRolledBack, healthy) },
  { title: "held per healthy, min", value: ({ healthy, healthyHeldMin }) => per(healthyHeldMin, healthy) },
  { title: "lane starved, replica min per world", value: ({ worlds, laneStarvedMin }) => per(laneStarvedMin, worlds) },
  { title: "lane over, replica min per world", value: ({ worlds, laneOverMin }) => per(laneOverMin, worlds) },
];

/** The sum over all worlds, by advisor. */
export function totalsOf(results: readonly WorldResult[]): Map<AdvisorName, Damage> {
  const totals = new Map<AdvisorName, Damage>();
  for (const { advisor, damage } of results) totals.set(advisor, addDamage(totals.get(advisor) ?? NO_DAMAGE, damage));
  return totals;
}

/** A Markdown table with one row per advisor. */
export function damageTable(results: readonly WorldResult[]): string {
  const rows = [...totalsOf(results)].map(([advisor, damage]) => [advisor, ...COLUMNS.map(({ value }) => value(damage))]);
  const header = ["advisor", ...COLUMNS.map(({ title }) => title)];
  return [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** The worlds in which Aviary violates a law. */
export function failingWorlds(results: readonly WorldResult[]): WorldResult[] {
  return results.filter(({ advisor, violations }) => advisor === "aviary" && violations.length > 0);
}

/** Number of worlds and the first seeds, by law. */
export function lawTable(results: readonly WorldResult[]): string[] {
  const seeds = new Map<string, number[]>();
  for (const { seed, violations, advisor } of results) {
    if (advisor !== "aviary") continue;
    for (const law of new Set(violations.map((violation) => violation.law))) seeds.set(law, [...(seeds.get(law) ?? []), seed]);
  }
  return [...seeds].sort().map(([law, found]) => `${law}: ${found.length} worlds, first ${found.slice(0, 12).join(" ")}`);
}

/** The story of one world, its violations, and the command that replays it. */
export async function storyOf(seed: number, advisor: AdvisorName = "aviary", theme: Theme = "any"): Promise<string> {
  const finished = await runWorld(await loadProduct(), themedPlanOf(seed, theme), advisor);
  const { plan, record } = finished;
  const violations = violationsOf(finished);
  return [
    `World ${seed} with ${advisor}: ${plan.controller}, windows of ${plan.windowMs / 1_000} s, ${plan.requestsPerWindow} requests per window, steps ${plan.steps.join(", ")}%.`,
    `Macs: ${plan.macs.map(({ name, az }) => `${name} (${az})`).join(", ")}.`,
    ...record.story.map((line) => `  ${line}`),
    ...violations.map(({ law, text }) => `${law}: ${text}`),
    violations.length === 0
      ? "No violation."
      : `Replay: npm run closed-loop -- --worlds 1 --from ${seed}${theme === "any" ? "" : ` --theme ${theme}`}`,
  ].join("\n");
}
