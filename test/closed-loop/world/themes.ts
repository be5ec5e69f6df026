/**
 * Worlds of one kind, for guarantees that random worlds rarely exercise. A theme modifies a generated plan: short windows, one
 * release that is already on the canary Macs when its rollout starts, and no other fault.
 */
import { createChoices, type RandomChoices } from "../../simulation/choices.ts";
import { planOf, SHORT, type WorldPlan } from "./plan.ts";
import type { ReleasePlan } from "./releases.ts";

/**
 * any: unmodified; incident: a shared incident during a healthy release; late: a release turns bad near its promotion; low:
 * little traffic.
 */
export const THEMES = ["any", "incident", "late", "low"] as const;
export type Theme = (typeof THEMES)[number];

const RELEASE_AT_WINDOWS = 14;
const END_AT_WINDOWS = 40;

/** Generates the plan of one seed and theme. */
export function themedPlanOf(seed: number, theme: Theme): WorldPlan {
  const drawn = planOf(seed);
  if (theme === "any") return drawn;
  const random = createChoices(seed, 31);
  const { windowMs } = SHORT;
  const release: ReleasePlan = {
    name: "v2",
    atMs: RELEASE_AT_WINDOWS * windowMs,
    fault: "none",
    size: 0.02,
    onsetMs: 0,
    az: undefined,
    installAfterMs: -windowMs,
  };
  const base: WorldPlan = {
    ...drawn,
    ...SHORT,
    intervalMs: windowMs / 3,
    controller: random.pick(["flagger", "rollouts"]),
    namesRevision: true,
    announcer: "none",
    lostEvents: 0,
    requestsPerWindow: random.pick([2_000, 5_000, 10_000]),
    steps: [10, 30, 50],
    releases: [release],
    faults: [],
    demand: [{ atMs: 0, jobs: 4 }],
    endMs: END_AT_WINDOWS * windowMs,
  };
  return { ...base, ...CHANGES[theme](base, release, random) };
}

const CHANGES: Readonly<
  Record<Exclude<Theme, "any">, (base: WorldPlan, release: ReleasePlan, random: RandomChoices) => Partial<WorldPlan>>
> = {
  incident: ({ windowMs }, { atMs }, random) => ({
    intervalMs: windowMs,
    faults: [
      {
        kind: "incident",
        atMs: atMs + random.integer(1, 3 * windowMs),
        forMs: random.integer(1, 3) * windowMs,
        errorRate: random.pick([0.02, 0.05, 0.2]),
        slowFactor: 1,
      },
    ],
  }),
  late: ({ windowMs }, release, random) => ({
    controller: "flagger",
    intervalMs: windowMs,
    // More steps than a run needs to become promotable, so that it is promotable before the promotion is requested.
    steps: [10, 15, 20, 25],
    requestsPerWindow: 10_000,
    releases: [
      { ...release, fault: "late-errors", size: 0.025, onsetMs: 3 * windowMs + random.integer(windowMs / 2, 2 * windowMs) },
    ],
  }),
  low: (_base, _release, random) => ({ requestsPerWindow: 500, steps: random.pick([[20], [5, 10, 30, 50]]) }),
};
