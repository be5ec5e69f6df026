/**
 * The limits of a latency regression. A quantile of stable, with its margin, is the limit: of a canary that is as fast as stable, no
 * more requests are slower than of stable. Two quantiles are compared, because the slowest 1% alone is a poor witness of a shift.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { SeriesName } from "./rule.ts";

/** The series that are counted against a quantile of stable. */
export const TAILS = {
  /** Requests slower than stable's p99 and its margin. */
  regression: { quantile: 0.99, floor: 0.005, slack: 1 },
  /**
   * Requests slower than stable's p90 and its margin. Stable's own are counted from a limit that is 10% lower: a canary that is 10%
   * slower is healthy, and of it as many are slower than the limit.
   */
  body: { quantile: 0.9, floor: 0.05, slack: 1.1 },
} as const;
export type TailName = keyof typeof TAILS;
export const TAIL_NAMES: readonly TailName[] = ["regression", "body"];

/** Whether a series is counted against a quantile of stable. */
export const isTail = (series: SeriesName): series is TailName => series in TAILS;

/** How much slower than stable a canary may be. */
export interface Margin {
  /** The policy's ratio of canary over stable, greater than 1. */
  readonly ratio: number;
  /** A difference below this is no regression, milliseconds. */
  readonly minDeltaMs: number;
}

export function marginOf({ thresholds }: Policy): Margin {
  return { ratio: thresholds.maxP99RegressionRatio, minDeltaMs: thresholds.minLatencyDeltaMs };
}

/** The limit for a canary on gateways as fast as stable's, milliseconds. @param quantileMs the quantile of stable */
export function limitMsOf(quantileMs: number, { ratio, minDeltaMs }: Margin): number {
  return Math.max(ratio * quantileMs, quantileMs + minDeltaMs);
}

/** The limit of one tail of a scope, and its precision. */
export interface Threshold {
  /** A request of the canary is slow above it, milliseconds. */
  readonly limitMs: number;
  /** A request of stable is slow above it, milliseconds. */
  readonly stableLimitMs: number;
  /** Stable's latencies, and those above its limit. */
  readonly timed: number;
  readonly above: number;
  /** The number of windows that they are from. */
  readonly windows: number;
}

/** The thresholds of both tails; null without latencies of stable. */
export type Thresholds = Readonly<Record<TailName, Threshold | null>>;
export const NO_THRESHOLDS: Thresholds = { regression: null, body: null };

/** Share of a healthy canary's requests that are slower than the limit: stable's share, or the assumed minimum. */
export function healthyShare(tail: TailName, { above, timed }: Threshold): number {
  return Math.max(TAILS[tail].floor, above / timed);
}
