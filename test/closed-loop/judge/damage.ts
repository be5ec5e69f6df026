/** The damage of a world to its users and operators, in the same figures for every advisor. */
import type { FinishedWorld } from "../run-world.ts";
import { neededReplicas } from "../world/lane.ts";
import { SLOW_MS, slowerThan } from "../world/latencies.ts";
import { isBad, isHealthy, type ReleasePlan } from "../world/releases.ts";
import { badBecauseOfRelease, knowledgeOf } from "./knowledge.ts";

export interface Damage {
  readonly worlds: number;
  /** Number of releases by their true behavior. */
  readonly bad: number;
  readonly healthy: number;
  /**
   * Requests of the canary slice that were bad because of their release: all of them, and those after a perfect judge would have
   * decided. The damage of a promoted release on stable is counted as its promotion.
   */
  readonly badOnTrial: number;
  readonly badOnTrialAfterKnown: number;
  /** Weight increases of bad releases after a perfect judge would have decided. */
  readonly badWidened: number;
  readonly badPromoted: number;
  readonly badPromotedAfterKnown: number;
  /** Promoted before a canary Mac had served a request with it. */
  readonly badPromotedUnserved: number;
  /** Increases and promotions of bad releases after the window in which a perfect judge decided had become readable. */
  readonly badAdvancedAfterReadable: number;
  readonly healthyPromoted: number;
  readonly healthyRolledBack: number;
  /** Minutes by which healthy releases were delayed beyond their controller's own steps. */
  readonly healthyHeldMin: number;
  /** Replica minutes below and above what the lane needed. */
  readonly laneStarvedMin: number;
  readonly laneOverMin: number;
}

export const NO_DAMAGE: Damage = {
  worlds: 0,
  bad: 0,
  healthy: 0,
  badOnTrial: 0,
  badOnTrialAfterKnown: 0,
  badWidened: 0,
  badPromoted: 0,
  badPromotedAfterKnown: 0,
  badPromotedUnserved: 0,
  badAdvancedAfterReadable: 0,
  healthyPromoted: 0,
  healthyRolledBack: 0,
  healthyHeldMin: 0,
  laneStarvedMin: 0,
  laneOverMin: 0,
};

export function addDamage(a: Damage, b: Damage): Damage {
  const sum = Object.keys(NO_DAMAGE).map((key) => [key, a[key as keyof Damage] + b[key as keyof Damage]]);
  return Object.fromEntries(sum) as unknown as Damage;
}

/** The damage of one finished world. */
export function damageOf(world: FinishedWorld): Damage {
  const { plan, record } = world;
  const perRelease = plan.releases.map((release) => releaseDamage(world, release));
  let laneStarvedMin = 0;
  let laneOverMin = 0;
  record.lane.forEach((view, index) => {
    const minutes = (view.atMs - (record.lane[index - 1]?.atMs ?? view.atMs)) / 60_000;
    const needed = neededReplicas(view.jobs);
    laneStarvedMin += Math.max(0, needed - view.replicas) * minutes;
    laneOverMin += Math.max(0, view.replicas - Math.max(1, needed)) * minutes;
  });
  return perRelease.reduce(addDamage, { ...NO_DAMAGE, worlds: 1, laneStarvedMin, laneOverMin });
}

/** The delay between the end of a window and its result. */
const READ_AFTER_MS = 10_000;

function releaseDamage(world: FinishedWorld, release: ReleasePlan): Damage {
  const { plan, record } = world;
  const { knownAtMs } = knowledgeOf(record.traffic, release, plan.windowMs);
  const baseSlowShare = slowerThan(SLOW_MS, 1);
  const steps = record.steps.filter((step) => step.release === release);
  const trialEndMs = steps.find(({ what }) => what === "promoted")?.atMs ?? Number.POSITIVE_INFINITY;
  const bad = isBad(release) ? 1 : 0;
  const healthy = isHealthy(release) ? 1 : 0;
  let isServed = false;
  let badOnTrial = 0;
  let badOnTrialAfterKnown = 0;
  for (const sample of record.traffic) {
    if (sample.release !== release || sample.slice !== "canary" || sample.atMs > trialEndMs) continue;
    isServed ||= sample.requests > 0;
    const here = badBecauseOfRelease(sample, plan.baseRate, baseSlowShare);
    badOnTrial += here;
    if (sample.atMs > knownAtMs) badOnTrialAfterKnown += here;
  }
  const has = (what: string): number => (steps.some((step) => step.what === what) ? 1 : 0);
  const readableMs = knownAtMs + plan.windowMs + READ_AFTER_MS;
  return {
    ...NO_DAMAGE,
    bad,
    healthy,
    badOnTrial: bad * badOnTrial,
    badOnTrialAfterKnown: bad * badOnTrialAfterKnown,
    badWidened: bad * steps.filter(({ what, atMs }) => what === "widened" && atMs > knownAtMs).length,
    badPromoted: bad * has("promoted"),
    badPromotedAfterKnown: bad * steps.filter(({ what, atMs }) => what === "promoted" && atMs > knownAtMs).length,
    badPromotedUnserved: bad * has("promoted") * (isServed ? 0 : 1),
    badAdvancedAfterReadable:
      bad * steps.filter(({ what, atMs }) => (what === "promoted" || what === "widened") && atMs > readableMs).length,
    healthyPromoted: healthy * has("promoted"),
    healthyRolledBack: healthy * has("rolled-back"),
    healthyHeldMin: healthy * heldMin(world, release),
  };
}

/** Minutes from deployment to the end of the rollout beyond the controller's own steps; 0 if it was rolled back. */
function heldMin({ plan, record }: FinishedWorld, release: ReleasePlan): number {
  const steps = record.steps.filter((step) => step.release === release);
  if (steps.some(({ what }) => what === "rolled-back")) return 0;
  const end = steps.find(({ what }) => what === "promoted" || what === "superseded");
  const ownMs = plan.controller === "none" ? 12 * plan.windowMs : (plan.steps.length + 3) * plan.intervalMs;
  return Math.max(0, (end?.atMs ?? plan.endMs) - release.atMs - ownMs) / 60_000;
}
