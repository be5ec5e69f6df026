/**
 * The four keys of the two-key rule. A window range fails the run if it satisfies all four: its rate reaches the ceiling, the excess is
 * significant, it persists beyond one window, and the environment does not account for it.
 */
import type { WindowRange } from "./counts.ts";
import { withoutWorst } from "./counts.ts";
import { isConsistentWithStable } from "./equal-rates.ts";
import type { Noise } from "./noise.ts";
import { BURST_PRIOR } from "./noise.ts";
import { midPValue, upperTail } from "./p-value.ts";
import { isTail } from "./regression-limits.ts";
import type { SeriesName } from "./rule.ts";
import {
  ALPHA_OUTLIER,
  ALPHA_REST,
  ALPHA_REST_OF_OUTLIER,
  compareRate,
  MIN_BAD,
  PERSISTENT_SHARE,
  SINGLE_WINDOW_FACTOR,
} from "./rule.ts";
import type { RuleVersion } from "./rule-version.ts";

/** What the keys need to know about a metric. */
export interface KeyRule {
  readonly version: RuleVersion;
  readonly metric: SeriesName;
  /** Allowed share of bad requests, a ratio. */
  readonly ceiling: number;
  readonly noise: Noise;
  /**
   * Relative variance of the healthy mean itself: 0, or for a regression the uncertainty of stable's own share of slow requests.
   */
  readonly meanVariance: number;
}

/** Rate key: whether the pooled rate reaches the ceiling. */
export function rateKey(range: Pick<WindowRange, "requests" | "bad">, ceiling: number): boolean {
  return range.requests > 0 && compareRate(range.bad, range.requests, ceiling) >= 0;
}

/** The number of bad requests per burst: as learned, or as this window range shows beyond chance, whichever is larger. */
export function burstFactor(range: WindowRange, noise: Noise): number {
  return Math.max(
    noise.burstFactor,
    1,
    (range.burstObserved - Math.sqrt(Math.max(range.burstVariance, 0)) + BURST_PRIOR) / (range.burstExpected + BURST_PRIOR),
  );
}

/** The p-value: probability that a healthy service produces this window range or a worse one. */
export function pValueOf(
  range: Pick<WindowRange, "requests" | "bad" | "healthyBad" | "requestSquares">,
  bursts: number,
  { noise, meanVariance }: Pick<KeyRule, "noise" | "meanVariance">,
): number {
  return midPValue(
    range.bad,
    range.healthyBad,
    (bursts - 1) / range.healthyBad +
      (noise.overdispersion * range.requestSquares) / (range.requests * range.healthyBad) +
      meanVariance,
  );
}

/** Significance key: a healthy service produces this at most once in 1 / `level`, and there are enough bad requests. */
export function significanceKey(range: WindowRange, pValue: number, level: number): boolean {
  return pValue <= level && range.bad >= MIN_BAD;
}

/** Persistence key: still suspicious without its worst window; a single window requires eight times the ceiling instead. */
export function persistenceKey(range: WindowRange, bursts: number, rule: KeyRule): boolean {
  const { ceiling } = rule;
  if (range.windows === 1) return compareRate(range.bad, range.requests, ceiling, SINGLE_WINDOW_FACTOR) >= 0;
  const rest = withoutWorst(range);
  if (rest.requests <= 0 || rest.bad <= 0 || compareRate(rest.bad, rest.requests, ceiling, PERSISTENT_SHARE) < 0) return false;
  return pValueOf(rest, bursts, rule) <= restLevel(range, bursts, rule);
}

/** The significance level of the remainder: a single bad window among healthy ones must not carry it. */
export function restLevel(range: WindowRange, bursts: number, rule: KeyRule): number {
  return rule.version >= 3 && isOutlier(range, bursts, rule) ? ALPHA_REST_OF_OUTLIER : ALPHA_REST;
}

/**
 * Whether the worst window stands out from the remainder: a service at the remainder's rate, or at the healthy one if that is
 * higher, produces its bad requests with p <= 1/10,000. One bad request in 1 / ceiling requests is added to the remainder.
 */
export function isOutlier(range: WindowRange, bursts: number, rule: KeyRule): boolean {
  const { worstRequests, worstBad, worstHealthyBad } = range;
  if (worstRequests <= 0) return false;
  const rest = withoutWorst(range);
  const share = Math.max((rest.bad + 1) / (rest.requests + 1 / rule.ceiling), worstHealthyBad / worstRequests);
  const worst = { requests: worstRequests, bad: worstBad, requestSquares: worstRequests * worstRequests };
  return pValueOf({ ...worst, healthyBad: share * worstRequests }, bursts, rule) <= ALPHA_OUTLIER;
}

/** The requirement if stable is affected too. */
export interface Comparison {
  /** The canary must be significantly worse than this many times stable. */
  readonly times: 1 | 2;
  /** Probability of this many bad requests at that rate; 1 if there are no more than expected. */
  readonly pValue: number;
  /** The significance level: the largest p-value at which the canary is significantly worse. */
  readonly level: number;
}

/**
 * If stable is affected (70% of the ceiling), the canary must be significantly more than twice as bad; for a regression,
 * significantly worse than stable.
 * @returns null if there is nothing to compare with: no bad requests on stable, fewer than that share, or no stable
 */
export function comparison(range: WindowRange, { metric, ceiling }: KeyRule): Comparison | null {
  const { stableBad, stableVariance, comparedBad, comparedRequests } = range;
  const isRegression = isTail(metric);
  if (stableBad <= 0) return null;
  const relativeVariance = stableVariance / (stableBad * stableBad);
  // Up to the mean there is no excess; with a relative variance of at most 1 the probability is over a third.
  const pValueAt = (times: number) =>
    relativeVariance <= 1 && comparedBad <= times * stableBad ? 1 : upperTail(comparedBad, times * stableBad, relativeVariance);
  if (isRegression && stableBad < ceiling * comparedRequests) return { times: 1, pValue: pValueAt(1), level: 0.001 };
  if (!isRegression && stableBad < 0.7 * ceiling * comparedRequests) return null;
  return { times: 2, pValue: pValueAt(2), level: 0.05 };
}

/** Environment key: true unless stable accounts for the window range. */
export function environmentKey(range: WindowRange, rule: KeyRule): boolean {
  const required = comparison(range, rule);
  if (required !== null && required.pValue > required.level) return false;
  return rule.version < 3 || !isConsistentWithStable(range);
}
