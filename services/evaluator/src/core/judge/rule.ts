/**
 * The constants of the two-key rule. They were calibrated together by simulation (docs/judge.md) and are not configurable: a
 * policy sets `evidence` and the ceilings only.
 */

import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ReasonCode } from "@aviary/shared/contract/reasons.ts";

/** A healthy service has at most this share of the ceiling. */
export const HEALTHY_SHARE = 0.6;
/** The significance levels of the whole run, and of any other window range. */
export const ALPHA_RUN = 1 / 800;
export const ALPHA_PART = 1 / 4000;
/** The level of window ranges from this number of windows on that expect at most so many bad requests of a healthy service. */
export const ALPHA_FEW = 1 / 1200;
export const FEW_MIN_WINDOWS = 3;
export const FEW_MAX_BAD = 3;
/** The significance level of the remainder without the worst window. */
export const ALPHA_REST = 0.1;
/** The same if the worst window is an outlier: its bad requests have at most this p-value at the rate of the remainder. */
export const ALPHA_REST_OF_OUTLIER = 0.005;
export const ALPHA_OUTLIER = 1e-4;
/** At or below this p-value a window range is suspicious: a hold. */
export const ALPHA_HOLD = 0.05;
/** The remainder without the worst window must still have this share of the ceiling. */
export const PERSISTENT_SHARE = 0.8;
/** A single window fails only from this many times the ceiling. */
export const SINGLE_WINDOW_FACTOR = 8;
/** The minimum number of bad requests for a failure. */
export const MIN_BAD = 3;
/** Window ranges are the last 1 to 12 windows, and the whole run. */
export const MAX_RANGE_WINDOWS = 12;
/**
 * Gross faults of STEP times the ceiling must be ruled out for a pass, of PROMOTE times for a promotion, at this error
 * probability.
 */
export const STEP = 10;
export const PROMOTE = 2;
export const EVIDENCE_ERROR = 0.05;
/** The canary is worse than stable if chance explains it with at most this probability. */
export const ALPHA_WORSE = 0.001;
/** It is still so if chance explains the last windows with at most this probability. */
export const ALPHA_STILL_WORSE = 0.05;
/** Share of requests that may be slower than a 99th percentile. */
export const SLOW_SHARE = 0.01;
/** Share of requests that may be slower than a 90th percentile. */
export const BODY_SHARE = 0.1;
/** AZs that are judged separately; beyond this number, by name, the rest is one AZ. */
export const MAX_AZ_SCOPES = 16;

/** The scope of the whole canary; the other scopes are named after their AZs. */
export const WHOLE = "";

/** The metrics: failed requests, requests slower than the ceiling, requests slower than stable's p99 with its margin. */
export const METRICS = ["errors", "ceiling", "regression"] as const;
export type Metric = (typeof METRICS)[number];

/** What is counted by window: the metrics, and the second witness of a regression (requests slower than stable's p90). */
export const SERIES = [...METRICS, "body"] as const;
export type SeriesName = (typeof SERIES)[number];

export const METRIC_CODE: Readonly<Record<SeriesName, ReasonCode>> = {
  errors: "over_5xx",
  ceiling: "over_p99",
  regression: "p99_regression",
  body: "p99_regression",
};

/** The allowed share of bad requests, a ratio. */
export function ceilingOf(series: SeriesName, policy: Policy): number {
  if (series === "body") return BODY_SHARE;
  return series === "errors" ? policy.thresholds.max5xxRate : SLOW_SHARE;
}

/** The factor that `evidence` applies to the significance levels. */
export const EVIDENCE_FACTOR: Readonly<Record<Policy["evidence"], number>> = { strict: 0.1, normal: 1, eager: 3 };

/**
 * The sign of x / n - factor * share, computed exactly for integers: 0.005 as a double is not 1/200, and a rate equal to its
 * ceiling must not depend on that.
 */
export function compareRate(x: number, n: number, share: number, factor = 1): number {
  const perMillion = Math.round(share * factor * 1e12) / 1e6;
  return x * 1e6 - perMillion * n;
}
