/**
 * Stable's latencies over the last 12 windows, by AZ: the source of the regression thresholds. Of each window only a band around
 * the quantiles and their thresholds is kept, because no query leaves it while those stay put. When one of them leaves the band,
 * the windows are read again, and another band is kept.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { QuantileCounts } from "./drift.ts";
import type { BucketBand, LatencyTail } from "./latency.ts";
import {
  ALL_BUCKETS,
  aboveIn,
  bucketMs,
  coarserBand,
  commonScale,
  firstAbove,
  inBand,
  quantileIndex,
  tailOf,
} from "./latency.ts";
import type { Margin, TailName, Threshold } from "./regression-limits.ts";
import { limitMsOf, TAIL_NAMES, TAILS } from "./regression-limits.ts";
import { MAX_RANGE_WINDOWS } from "./rule.ts";
import type { AzTally } from "./window-tally.ts";
import { tallyWindow } from "./window-tally.ts";

/**
 * Stable's latencies by AZ, in one band. The quantiles of each AZ and their thresholds are in the band, hence also those of several
 * AZs together.
 */
export interface StableBand extends BucketBand {
  readonly byAz: ReadonlyMap<string, LatencyTail>;
  /** The windows that it covers, oldest first. */
  readonly windows: readonly StableWindow[];
  /** The number of them that it sums: all but those left out. */
  readonly summed: number;
}

/** Stable's latencies in one window, by AZ; empty for a rejected window. */
export type StableWindow = {
  /** The index of the window in its run. */
  readonly index: number;
  readonly azs: { readonly [az: string]: Pick<LatencyTail, "total" | "above"> };
};

/** The stored form: the band, and the tails of the last windows in it. */
export type StableBandMemory = {
  readonly scale: number;
  readonly low: number;
  readonly high: number;
  readonly windows: readonly StableWindow[];
};

/** Whether the kept band covers all `windows` but the last. */
export function coversAllButLast({ windows: kept }: StableBandMemory, windows: readonly ClosedWindow[]): boolean {
  return kept.length === windows.length - 1 && kept.every(({ index }, k) => index === windows[k]!.window.index);
}

/**
 * The kept band with one more window.
 * @param added the window's stable latencies, at the kept scale and in a band that contains the kept band
 * @param leftOut indexes of windows that are not summed
 * @returns null if a quantile or its threshold has left the band
 */
export function continueBand(
  kept: StableBandMemory,
  index: number,
  added: Iterable<[string, LatencyTail]>,
  margin: Margin,
  leftOut: ReadonlySet<number>,
): StableBand | null {
  const { low, high } = kept;
  const stableBand = sumOf(kept, [...kept.windows, stableWindow(index, added, kept)], leftOut);
  for (const tail of stableBand.byAz.values()) {
    for (const { at, limit } of queriesOf(tail, margin)) {
      if (Math.min(at, limit) < low || at >= high || limit > high) return null;
    }
  }
  return stableBand;
}

/** The band of `windows` from the windows themselves, with every bucket. */
export function stableBandOf(
  windows: readonly ClosedWindow[],
  traffic: Policy["traffic"],
  leftOut: ReadonlySet<number>,
): StableBand {
  return stableBandFrom(
    windows.map((closed) => ({ index: closed.window.index, azs: tallyWindow(closed, traffic, "canary").azs })),
    leftOut,
  );
}

/** The same from tallied windows, oldest first: the latencies of the slice that is compared with. */
export function stableBandFrom(
  windows: readonly { readonly index: number; readonly azs: readonly AzTally[] }[],
  leftOut: ReadonlySet<number> = new Set(),
): StableBand {
  const compared = windows.flatMap(({ azs }) => azs.flatMap((az) => az.compared.latency));
  const band = coarserBand(ALL_BUCKETS, commonScale(compared));
  const tailsOf = (azs: readonly AzTally[]) =>
    azs
      .filter(({ compared }) => compared.timed > 0)
      .map(({ az, compared }): [string, LatencyTail] => [az, tailOf(compared.latency, band)]);
  return sumOf(
    band,
    windows.map(({ index, azs }) => stableWindow(index, tailsOf(azs), band)),
    leftOut,
  );
}

/**
 * The part to keep for the next window: at most eleven windows, which are twelve with that one.
 * @param fixedMs latencies that stay in the band, milliseconds: the quantiles of the reference
 */
export function keepStableBand(stableBand: StableBand, margin: Margin, fixedMs: readonly number[] = []): StableBandMemory {
  const band = bandToKeep(stableBand, margin, fixedMs);
  const { scale, low, high } = band;
  const windows = stableBand.windows.slice(1 - MAX_RANGE_WINDOWS);
  if (band === stableBand) return { scale, low, high, windows };
  const narrowed = (azs: StableWindow["azs"]) =>
    Object.entries(azs).map(([az, tail]): [string, LatencyTail] => [az, { ...stableBand, ...tail }]);
  return { scale, low, high, windows: windows.map(({ index, azs }) => stableWindow(index, narrowed(azs), band)) };
}

/**
 * The threshold of a tail for the given AZs, from the windows of the band; null if it contains no latency of theirs.
 * @param sliceRatio how much slower than stable's the canary's gateways are by themselves, at least 1
 */
export function thresholdOf(
  stableBand: StableBand,
  azs: Iterable<string>,
  tail: TailName,
  margin: Margin,
  sliceRatio = 1,
): Threshold | null {
  const tails = [...azs].flatMap((az) => stableBand.byAz.get(az) ?? []);
  const { quantile, slack } = TAILS[tail];
  const index = quantileIndex(tails, quantile);
  if (index === null) return null;
  const limitMs = limitMsOf(bucketMs(index, stableBand.scale), margin);
  const from = firstAbove(limitMs / slack, stableBand.scale);
  return {
    limitMs: sliceRatio * limitMs,
    stableLimitMs: limitMs / slack,
    timed: tails.reduce((sum, one) => sum + one.total, 0),
    above: tails.reduce((sum, one) => sum + aboveIn(one, from), 0),
    windows: stableBand.summed,
  };
}

/** Stable in the given AZs against the bucket of a quantile, which is in the band. */
export function quantileCounts(stableBand: StableBand, azs: Iterable<string>, quantileMs: number): QuantileCounts {
  const next = firstAbove(quantileMs, stableBand.scale);
  const tails = [...azs].flatMap((az) => stableBand.byAz.get(az) ?? []);
  const sum = (index: number) => tails.reduce((total, tail) => total + aboveIn(tail, index), 0);
  const timed = tails.reduce((total, tail) => total + tail.total, 0);
  return { timed, windows: stableBand.summed, above: sum(next), from: sum(next - 1) };
}

/**
 * A quarter of an octave around every quantile and its threshold, within which they can drift for some windows. A band that is
 * only slightly wider is kept.
 */
function bandToKeep(stableBand: StableBand, margin: Margin, fixedMs: readonly number[]): BucketBand {
  const { scale, low, high, byAz } = stableBand;
  const found = [...byAz.values()].flatMap((tail) => queriesOf(tail, margin));
  if (found.length === 0) return stableBand;
  const queries = [...found.flatMap(({ at, limit }) => [at, limit]), ...fixedMs.map((ms) => firstAbove(ms, scale) - 1)];
  const octave = 1 << scale;
  const wanted = {
    scale,
    low: Math.max(low, Math.floor(Math.min(...queries) - octave / 4)),
    high: Math.min(high, Math.ceil(Math.max(...queries) + octave / 4)),
  };
  return high - low <= wanted.high - wanted.low + octave / 2 ? stableBand : wanted;
}

/** The buckets of the quantiles of an AZ, and the first bucket above stable's limit of each. */
function queriesOf(tail: LatencyTail, margin: Margin): { readonly at: number; readonly limit: number }[] {
  return TAIL_NAMES.flatMap((name) => {
    const { quantile, slack } = TAILS[name];
    const at = quantileIndex([tail], quantile);
    if (at === null) return [];
    return { at, limit: firstAbove(limitMsOf(bucketMs(at, tail.scale), margin) / slack, tail.scale) };
  });
}

function stableWindow(index: number, tails: Iterable<[string, LatencyTail]>, band: BucketBand): StableWindow {
  const azs: Record<string, Pick<LatencyTail, "total" | "above">> = {};
  for (const [az, tail] of tails) azs[az] = { total: tail.total, above: inBand(tail, band) };
  return { index, azs };
}

function sumOf({ scale, low, high }: BucketBand, windows: readonly StableWindow[], leftOut: ReadonlySet<number>): StableBand {
  const byAz = new Map<string, LatencyTail & { total: number; above: number[] }>();
  const summed = windows.filter(({ index }) => !leftOut.has(index));
  for (const { azs } of summed) {
    for (const az in azs) {
      const { total, above } = azs[az]!;
      const sum = byAz.get(az);
      if (sum === undefined) {
        byAz.set(az, { scale, low, high, total, above: [...above] });
        continue;
      }
      sum.total += total;
      while (sum.above.length < above.length) sum.above.push(0);
      for (let k = 0; k < above.length; k++) sum.above[k]! += above[k]!;
    }
  }
  return { scale, low, high, byAz, windows, summed: summed.length };
}
