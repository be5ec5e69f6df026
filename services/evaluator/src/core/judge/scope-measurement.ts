/** Derives the counts of a view (the whole canary, or one of its AZs) from the tallies of one window. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { SLOTS } from "@aviary/shared/contract/policy.ts";
import type { Counts } from "./counts.ts";
import { NOTHING } from "./counts.ts";
import type { Band, Tail } from "./latency.ts";
import { aboveIn, countAbove, limitOf, tailOf } from "./latency.ts";
import type { Metric } from "./rule.ts";
import { HEALTHY, SLOW_FLOOR, SLOW_SHARE } from "./rule.ts";
import type { Threshold } from "./stable-band.ts";
import type { AzTally } from "./window-tally.ts";

/** One view of one window. */
export interface Measured {
  readonly counts: Readonly<Record<Metric, Counts>>;
  /** Null if the baseline contains no latency of stable. */
  readonly threshold: Threshold | null;
}

/** One metric in one AZ: requests and bad ones, by sub-window of the judged slice, and of the slice it is compared with. */
interface AzCounts {
  readonly slotN: readonly number[];
  readonly slotX: readonly number[];
  readonly stableN: number;
  readonly stableX: number;
  readonly slotted: boolean;
}

/** One AZ with the parts that all its views share. */
export interface CountedAz {
  readonly az: AzTally;
  /** The slow end of each slice. */
  readonly slow: { readonly judged: Tail; readonly compared: Tail };
  readonly errors: AzCounts;
  readonly ceiling: AzCounts;
}

/** @param band contains the ceiling and the regression thresholds that the AZ is measured with */
export function countAz(az: AzTally, band: Band, { thresholds }: Policy): CountedAz {
  const slow = { judged: tailOf(az.judged.latency, band), compared: tailOf(az.compared.latency, band) };
  return { az, slow, errors: errorsIn(az), ceiling: slowIn({ az, slow }, limitOf(thresholds.maxP99Ms)) };
}

/**
 * @param judged the AZs of the view
 * @param all every AZ of the window: stable in other AZs substitutes for an AZ without stable traffic
 * @param threshold the regression threshold of the view; null if it has none, and no regression is counted
 */
export function measure(
  judged: readonly CountedAz[],
  all: readonly CountedAz[],
  threshold: Threshold | null,
  { thresholds }: Policy,
): Measured {
  const regression = () => {
    if (threshold === null) return NOTHING;
    const limit = limitOf(threshold.limitMs);
    return countsOf(judged, all, healthyShare(threshold), (az) => slowIn(az, limit));
  };
  return {
    counts: {
      errors: countsOf(judged, all, HEALTHY * thresholds.max5xxRate, ({ errors }) => errors),
      ceiling: countsOf(judged, all, HEALTHY * SLOW_SHARE, ({ ceiling }) => ceiling),
      regression: regression(),
    },
    threshold,
  };
}

/** Share of a healthy canary's requests that are slower than the threshold: stable's share, or the assumed minimum. */
export function healthyShare({ above, timed }: Threshold): number {
  return Math.max(SLOW_FLOOR, above / timed);
}

function errorsIn({ judged, compared }: AzTally): AzCounts {
  return {
    slotN: judged.slots.map(({ requests }) => requests),
    slotX: judged.slots.map(({ errors }) => errors),
    stableN: compared.requests,
    stableX: compared.errors,
    slotted: judged.slotted,
  };
}

function slowIn({ az, slow }: Pick<CountedAz, "az" | "slow">, limit: (scale: number) => number): AzCounts {
  return {
    slotN: az.judged.slots.map(({ timed }) => timed),
    slotX: az.judged.slots.map(({ latency }) => countAbove(latency, limit)),
    stableN: az.compared.timed,
    stableX: aboveIn(slow.compared, limit(slow.compared.scale)),
    slotted: az.judged.slotted,
  };
}

function countsOf(
  judged: readonly CountedAz[],
  all: readonly CountedAz[],
  healthyShare: number,
  countsIn: (az: CountedAz) => AzCounts,
): Counts {
  const slotN = new Array<number>(SLOTS).fill(0);
  const slotX = new Array<number>(SLOTS).fill(0);
  const stable = { stableBad: 0, stableVariance: 0, comparedBad: 0, comparedRequests: 0 };
  let slotted = true;
  for (const az of judged) {
    const counts = countsIn(az);
    let azN = 0;
    let azX = 0;
    for (let k = 0; k < SLOTS; k++) {
      const n = counts.slotN[k]!;
      const x = counts.slotX[k]!;
      slotN[k]! += n;
      slotX[k]! += x;
      azN += n;
      azX += x;
    }
    slotted &&= counts.slotted;
    compareWithStable(stable, azN, azX, counts.stableN > 0 ? [counts] : all.map(countsIn));
  }
  let [n, x, s2, q2] = [0, 0, 0, 0];
  for (let k = 0; k < SLOTS; k++) {
    n += slotN[k]!;
    x += slotX[k]!;
    s2 += slotX[k]! ** 2;
    q2 += slotN[k]! ** 2;
  }
  if (n === 0) return NOTHING;
  if (!slotted) [s2, q2] = [x * x, n * n];
  return { requests: n, bad: x, badSquares: s2, requestSquares: q2, healthyBad: healthyShare * n, ...stable };
}

/**
 * Adds the bad requests that stable in `azs` predicts for `n` requests of which `x` were bad; each AZ is compared separately, so
 * that traffic shares may shift.
 */
function compareWithStable(
  sum: { stableBad: number; stableVariance: number; comparedBad: number; comparedRequests: number },
  n: number,
  x: number,
  azs: readonly AzCounts[],
): void {
  let allN = 0;
  let allX = 0;
  for (const { stableN, stableX } of azs) {
    allN += stableN;
    allX += stableX;
  }
  if (n === 0 || allN === 0) return;
  const share = n / allN;
  sum.stableBad += share * allX;
  sum.stableVariance += share * share * allX;
  sum.comparedBad += x;
  sum.comparedRequests += n;
}
