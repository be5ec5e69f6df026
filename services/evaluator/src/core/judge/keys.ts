/**
 * The four keys of the two-key rule. A window range fails the run if all four turn: its rate reaches the ceiling, the excess is
 * significant, it persists beyond one window, and the environment does not account for it.
 */
import type { WindowRange } from "./counts.ts";
import { withoutWorst } from "./counts.ts";
import type { Noise } from "./noise.ts";
import { BURST_PRIOR } from "./noise.ts";
import { midPValue, tail } from "./p-value.ts";
import type { Metric } from "./rule.ts";
import { ALPHA_REST, compareRate, FAST, LEAST_BAD, STEADY } from "./rule.ts";

/** Rate key: whether the pooled rate reaches the ceiling. */
export function rateKey(range: Pick<WindowRange, "requests" | "bad">, ceiling: number): boolean {
  return range.requests > 0 && compareRate(range.bad, range.requests, ceiling) >= 0;
}

/** The number of bad requests per burst: as learned, or as this window range shows beyond chance, whichever is larger. */
export function burstFactor(range: WindowRange, noise: Noise): number {
  return Math.max(
    noise.phi,
    1,
    (range.burstObserved - Math.sqrt(Math.max(range.burstVariance, 0)) + BURST_PRIOR) / (range.burstExpected + BURST_PRIOR),
  );
}

/**
 * The p-value: probability that a healthy service produces this window range or a worse one.
 * @param baseline relative variance of the mean itself; 0 unless the mean was measured on stable
 */
export function pValueOf(
  range: Pick<WindowRange, "requests" | "bad" | "healthyBad" | "requestSquares">,
  noise: Noise,
  bursts: number,
  baseline: number,
): number {
  return midPValue(
    range.bad,
    range.healthyBad,
    (bursts - 1) / range.healthyBad + (noise.rho * range.requestSquares) / (range.requests * range.healthyBad) + baseline,
  );
}

/** Significance key: a healthy service produces this at most once in 1 / `level`, and there are enough bad requests. */
export function significanceKey(range: WindowRange, pValue: number, level: number): boolean {
  return pValue <= level && range.bad >= LEAST_BAD;
}

/** Persistence key: still suspicious without its worst window; a single window requires eight times the ceiling instead. */
export function persistenceKey(range: WindowRange, noise: Noise, bursts: number, baseline: number, ceiling: number): boolean {
  if (range.windows === 1) return compareRate(range.bad, range.requests, ceiling, FAST) >= 0;
  const rest = withoutWorst(range);
  if (rest.requests <= 0 || rest.bad <= 0 || compareRate(rest.bad, rest.requests, ceiling, STEADY) < 0) return false;
  return pValueOf(rest, noise, bursts, baseline) <= ALPHA_REST;
}

/** The requirement if stable is affected too. */
export interface Comparison {
  /** The canary must be significantly worse than this many times stable. */
  readonly times: 1 | 2;
  /** Probability of this many bad requests by chance; 1 if there are no more than expected. */
  readonly chance: number;
  /** The largest such probability at which the canary is significantly worse. */
  readonly most: number;
}

/**
 * If stable is affected (70% of the ceiling), the canary must be significantly more than twice as bad; for a regression,
 * significantly worse than stable.
 * @returns null if there is nothing to compare with: no bad requests on stable, fewer than that share, or no stable
 */
export function comparison(range: WindowRange, metric: Metric, ceiling: number): Comparison | null {
  if (range.stableBad <= 0) return null;
  const c = range.stableVariance / (range.stableBad * range.stableBad);
  // Up to the mean there is no excess; with a relative variance of at most 1 the probability is over a third.
  const excess = (times: number) =>
    c <= 1 && range.comparedBad <= times * range.stableBad ? 1 : tail(range.comparedBad, times * range.stableBad, c);
  if (metric === "regression" && range.stableBad < ceiling * range.comparedRequests)
    return { times: 1, chance: excess(1), most: 0.001 };
  if (metric !== "regression" && range.stableBad < 0.7 * ceiling * range.comparedRequests) return null;
  return { times: 2, chance: excess(2), most: 0.05 };
}

/** Environment key: true unless stable accounts for the window range. */
export function environmentKey(range: WindowRange, metric: Metric, ceiling: number): boolean {
  const asked = comparison(range, metric, ceiling);
  return asked === null || asked.chance <= asked.most;
}
