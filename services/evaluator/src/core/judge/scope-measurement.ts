/** Derives the counts of a scope (the whole canary, or one of its AZs) from the tallies of one window. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { SLOTS } from "@aviary/shared/contract/policy.ts";
import type { Counts } from "./counts.ts";
import { NOTHING } from "./counts.ts";
import type { BucketBand, LatencyTail } from "./latency.ts";
import { aboveIn, countSlower, limitBucket, tailOf } from "./latency.ts";
import type { TailName, Thresholds } from "./regression-limits.ts";
import { healthyShare } from "./regression-limits.ts";
import type { SeriesName } from "./rule.ts";
import { HEALTHY_SHARE, SLOW_SHARE } from "./rule.ts";
import type { AzTally } from "./window-tally.ts";

/** One scope of one window. */
export interface ScopeMeasurement {
  readonly counts: Readonly<Record<SeriesName, Counts>>;
  readonly limits: Thresholds;
}

/** One metric in one AZ: requests and bad ones, by sub-window of the judged slice, and of the slice it is compared with. */
interface AzCounts {
  readonly slotRequests: readonly number[];
  readonly slotBad: readonly number[];
  readonly stableRequests: number;
  readonly stableBad: number;
  readonly slotted: boolean;
}

/** One AZ with the parts that all its scopes share. */
export interface CountedAz {
  readonly az: AzTally;
  /** The slow end of each slice. */
  readonly slow: { readonly judged: LatencyTail; readonly compared: LatencyTail };
  readonly errors: AzCounts;
  readonly ceiling: AzCounts;
}

/** @param band contains the ceiling and the regression thresholds that the AZ is measured with */
export function countAz(az: AzTally, band: BucketBand, { thresholds }: Policy): CountedAz {
  const slow = { judged: tailOf(az.judged.latency, band), compared: tailOf(az.compared.latency, band) };
  const ceiling = limitBucket(thresholds.maxP99Ms);
  return { az, slow, errors: errorsIn(az), ceiling: slowIn({ az, slow }, ceiling, ceiling) };
}

/**
 * @param judged the AZs of the scope
 * @param all every AZ of the window: stable in other AZs substitutes for an AZ without stable traffic
 * @param limits the regression thresholds of the scope; without one, its tail is not counted
 */
export function measureScope(
  judged: readonly CountedAz[],
  all: readonly CountedAz[],
  limits: Thresholds,
  { thresholds }: Policy,
): ScopeMeasurement {
  const slowerThanStable = (tail: TailName) => {
    const threshold = limits[tail];
    if (threshold === null) return NOTHING;
    const slow = [limitBucket(threshold.limitMs), limitBucket(threshold.stableLimitMs)] as const;
    return countsOf(judged, all, healthyShare(tail, threshold), (az) => slowIn(az, ...slow));
  };
  return {
    counts: {
      errors: countsOf(judged, all, HEALTHY_SHARE * thresholds.max5xxRate, ({ errors }) => errors),
      ceiling: countsOf(judged, all, HEALTHY_SHARE * SLOW_SHARE, ({ ceiling }) => ceiling),
      regression: slowerThanStable("regression"),
      body: slowerThanStable("body"),
    },
    limits,
  };
}

function errorsIn({ judged, compared }: AzTally): AzCounts {
  return {
    slotRequests: judged.slots.map(({ requests }) => requests),
    slotBad: judged.slots.map(({ errors }) => errors),
    stableRequests: compared.requests,
    stableBad: compared.errors,
    slotted: judged.slotted,
  };
}

type LimitBucket = (scale: number) => number;

function slowIn({ az, slow }: Pick<CountedAz, "az" | "slow">, limit: LimitBucket, stableLimit: LimitBucket): AzCounts {
  return {
    slotRequests: az.judged.slots.map(({ timed }) => timed),
    slotBad: az.judged.slots.map(({ latency }) => countSlower(latency, limit)),
    stableRequests: az.compared.timed,
    stableBad: aboveIn(slow.compared, stableLimit(slow.compared.scale)),
    slotted: az.judged.slotted,
  };
}

/** Sums parts of a scope, each compared with its own stable part, or with all of them if it has none. */
export function countsOf<Part>(
  judged: readonly Part[],
  all: readonly Part[],
  healthyShare: number,
  countsIn: (part: Part) => AzCounts,
): Counts {
  const slotRequests = new Array<number>(SLOTS).fill(0);
  const slotBad = new Array<number>(SLOTS).fill(0);
  const compared = { stableBad: 0, stableVariance: 0, comparedBad: 0, comparedRequests: 0, stableRequests: 0 };
  let slotted = true;
  for (const az of judged) {
    const counts = countsIn(az);
    let azRequests = 0;
    let azBad = 0;
    for (let k = 0; k < SLOTS; k++) {
      slotRequests[k]! += counts.slotRequests[k]!;
      slotBad[k]! += counts.slotBad[k]!;
      azRequests += counts.slotRequests[k]!;
      azBad += counts.slotBad[k]!;
    }
    slotted &&= counts.slotted;
    compareWithStable(compared, azRequests, azBad, counts.stableRequests > 0 ? [counts] : all.map(countsIn));
  }
  let [requests, bad, badSquares, requestSquares] = [0, 0, 0, 0];
  for (let k = 0; k < SLOTS; k++) {
    requests += slotRequests[k]!;
    bad += slotBad[k]!;
    badSquares += slotBad[k]! ** 2;
    requestSquares += slotRequests[k]! ** 2;
  }
  if (requests === 0) return NOTHING;
  if (!slotted) [badSquares, requestSquares] = [bad * bad, requests * requests];
  return { requests, bad, badSquares, requestSquares, healthyBad: healthyShare * requests, ...compared };
}

/**
 * Adds the bad requests that stable in `azs` predicts for `requests` of which `bad` were bad; each AZ is compared separately, so
 * that traffic shares may shift.
 */
function compareWithStable(
  sum: { -readonly [key in "stableBad" | "stableVariance" | "comparedBad" | "comparedRequests" | "stableRequests"]: number },
  requests: number,
  bad: number,
  azs: readonly AzCounts[],
): void {
  let allRequests = 0;
  let allBad = 0;
  for (const { stableRequests, stableBad } of azs) {
    allRequests += stableRequests;
    allBad += stableBad;
  }
  if (requests === 0 || allRequests === 0) return;
  const share = requests / allRequests;
  sum.stableBad += share * allBad;
  sum.stableVariance += share * share * allBad;
  sum.comparedBad += bad;
  sum.comparedRequests += requests;
  sum.stableRequests += allRequests;
}
