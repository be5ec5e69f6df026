/**
 * How much slower the canary's gateways were than stable's while both ran the same release. Macs are unequal: of 1,899 identical
 * replicas in a public trace 2.5% have a p99 over 1.15 times that of the others, and such a canary would fail every run.
 */
import { bucketMs, quantileIndex, rankIndex } from "./latency.ts";
import { lowerBoundRank } from "./quantile-bound.ts";
import type { TailName } from "./regression-limits.ts";
import { TAILS } from "./regression-limits.ts";
import { stableBandFrom } from "./stable-band.ts";
import type { AzTally } from "./window-tally.ts";
import { otherSlice } from "./window-tally.ts";

/**
 * The 95% lower confidence bound of the canary's quantile over stable's, at least 1: equal gateways get no allowance.
 * @param windows AZs by window, before the run; the judged slice is stable, the one compared with is the canary
 */
export function sliceRatioOf(windows: readonly (readonly AzTally[])[], tail: TailName): number {
  if (windows.length === 0) return 1;
  const canary = stableBandFrom(windows.map((azs, index) => ({ index, azs })));
  const stable = stableBandFrom(windows.map((azs, index) => ({ index, azs: otherSlice(azs) })));
  const { quantile } = TAILS[tail];
  // As during the run, an AZ is not compared with others if it has a stable slice of its own.
  const near = [...canary.byAz.keys()].flatMap((az) => stable.byAz.get(az) ?? []);
  const stableIndex = quantileIndex(near.length > 0 ? near : [...stable.byAz.values()], quantile);
  const tails = [...canary.byAz.values()];
  const rank = lowerBoundRank(
    tails.reduce((sum, { total }) => sum + total, 0),
    quantile,
  );
  if (rank === null || stableIndex === null) return 1;
  const [boundMs, stableMs] = [bucketMs(rankIndex(tails, rank), canary.scale), bucketMs(stableIndex, stable.scale)];
  return stableMs > 0 ? Math.max(1, boundMs / stableMs) : 1;
}
