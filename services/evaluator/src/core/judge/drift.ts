/**
 * Whether stable has drifted since the reference. The reference's thresholds are from an hour of stable, those of a young run from
 * a few windows, whose quantiles wander with the share of slow requests; so the reference is used until stable itself differs
 * from it.
 */
import type { Noise } from "./noise.ts";
import { lowerTail, upperTail } from "./p-value.ts";

/** The run's own windows must have this many latencies of stable before they can show a drift. */
const ENOUGH_LATENCIES = 1_000;
/** On either side: chance puts as few, or as many, requests beyond the reference's quantile with at most this probability. */
const ALPHA_DRIFT = 0.005;

/** Stable against the bucket of a quantile: that of the reference. */
export interface QuantileCounts {
  readonly timed: number;
  readonly windows: number;
  /** Requests in slower buckets, and in that bucket or slower ones. */
  readonly above: number;
  readonly from: number;
}

/**
 * @param own stable in the run so far
 * @param reference stable before the run
 * @param noise of this tail before the run
 * @param slowShare share of the requests that the noise was estimated from: those above the limit
 */
export function hasDrifted(own: QuantileCounts, reference: QuantileCounts, noise: Noise, slowShare: number): boolean {
  if (own.timed < ENOUGH_LATENCIES) return false;
  // The share of slow requests varies between windows by rho / share relative to its mean; over k windows by 1 / k of that.
  const perWindow = noise.overdispersion / slowShare;
  const expectedOf = (before: number) => ((before + 1 / 2) * own.timed) / reference.timed;
  const varianceOf = (before: number) =>
    perWindow / own.windows +
    perWindow / reference.windows +
    (noise.burstFactor - 1) / expectedOf(before) +
    noise.burstFactor / (before + 1);
  const [faster, slower] = [reference.from, reference.above];
  return (
    lowerTail(own.from, expectedOf(faster), varianceOf(faster)) <= ALPHA_DRIFT ||
    upperTail(own.above, expectedOf(slower), varianceOf(slower)) <= ALPHA_DRIFT
  );
}
