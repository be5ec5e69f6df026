/**
 * Stable's latencies over the last 12 windows, by AZ: the source of the regression threshold. Of each window only a band around
 * the p99s and their thresholds is kept, because no query leaves it while those stay put. When one of them leaves the band, the
 * windows are read again, and another band is kept.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { BucketBand, LatencyTail } from "./latency.ts";
import { ALL_BUCKETS, aboveIn, bucketMs, coarserBand, commonScale, firstAbove, inBand, p99Index, tailOf } from "./latency.ts";
import { MAX_RANGE_WINDOWS } from "./rule.ts";
import type { AzTally } from "./window-tally.ts";
import { tallyWindow } from "./window-tally.ts";

/**
 * Stable's latencies by AZ, in one band. The p99 of each AZ and its threshold are in the band, hence also those of several AZs
 * together.
 */
export interface StableBand extends BucketBand {
  readonly byAz: ReadonlyMap<string, LatencyTail>;
  /** The windows it sums, oldest first. */
  readonly windows: readonly StableWindow[];
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

/** The regression threshold of a scope, and its precision. */
export interface Threshold {
  /** The policy's ratio times the 99th percentile of stable over the windows of the band, milliseconds. */
  readonly limitMs: number;
  /** Stable's latencies in the band, and those above the threshold. */
  readonly timed: number;
  readonly above: number;
  /** The number of windows. */
  readonly windows: number;
}

/** Whether the kept band sums all `windows` but the last. */
export function coversAllButLast({ windows: kept }: StableBandMemory, windows: readonly ClosedWindow[]): boolean {
  return kept.length === windows.length - 1 && kept.every(({ index }, k) => index === windows[k]!.window.index);
}

/**
 * The kept band with one more window.
 * @param added the window's stable latencies, at the kept scale and in a band that contains the kept band
 * @returns null if a p99 or its threshold has left the band
 */
export function continueBand(
  kept: StableBandMemory,
  index: number,
  added: Iterable<[string, LatencyTail]>,
  ratio: number,
): StableBand | null {
  const { scale, low, high } = kept;
  const stableBand = sumOf(kept, [...kept.windows, stableWindow(index, added, kept)]);
  for (const tail of stableBand.byAz.values()) {
    const at = p99Index([tail]);
    if (at !== null && (at < low || at >= high || thresholdIndex(at, ratio, scale) > high)) return null;
  }
  return stableBand;
}

/** The band of `windows` from the windows themselves, with every bucket. */
export function stableBandOf(windows: readonly ClosedWindow[], traffic: Policy["traffic"]): StableBand {
  return stableBandFrom(
    windows.map((closed) => ({ index: closed.window.index, azs: tallyWindow(closed, traffic, "canary").azs })),
  );
}

/** The same from tallied windows, oldest first: the latencies of the slice that is compared with. */
export function stableBandFrom(windows: readonly { readonly index: number; readonly azs: readonly AzTally[] }[]): StableBand {
  const compared = windows.flatMap(({ azs }) => azs.flatMap((az) => az.compared.latency));
  const band = coarserBand(ALL_BUCKETS, commonScale(compared));
  const tailsOf = (azs: readonly AzTally[]) =>
    azs
      .filter(({ compared }) => compared.timed > 0)
      .map(({ az, compared }): [string, LatencyTail] => [az, tailOf(compared.latency, band)]);
  return sumOf(
    band,
    windows.map(({ index, azs }) => stableWindow(index, tailsOf(azs), band)),
  );
}

/** The part to keep for the next window: at most eleven windows, which are twelve with that one. */
export function keepStableBand(stableBand: StableBand, ratio: number): StableBandMemory {
  const band = bandToKeep(stableBand, ratio);
  const { scale, low, high } = band;
  const windows = stableBand.windows.slice(1 - MAX_RANGE_WINDOWS);
  if (band === stableBand) return { scale, low, high, windows };
  const narrowed = (azs: StableWindow["azs"]) =>
    Object.entries(azs).map(([az, tail]): [string, LatencyTail] => [az, { ...stableBand, ...tail }]);
  return { scale, low, high, windows: windows.map(({ index, azs }) => stableWindow(index, narrowed(azs), band)) };
}

/** The threshold for the given AZs, from a band of the given number of windows; null if it contains no latency of theirs. */
export function thresholdOf(stableBand: StableBand, azs: Iterable<string>, ratio: number, windows: number): Threshold | null {
  const tails = [...azs].flatMap((az) => stableBand.byAz.get(az) ?? []);
  const index = p99Index(tails);
  if (index === null) return null;
  const limitMs = ratio * bucketMs(index, stableBand.scale);
  const from = firstAbove(limitMs, stableBand.scale);
  const timed = tails.reduce((sum, tail) => sum + tail.total, 0);
  return { limitMs, timed, above: tails.reduce((sum, tail) => sum + aboveIn(tail, from), 0), windows };
}

/**
 * Half an octave around every p99 and its threshold, within which they can drift for some windows. A band that is only slightly
 * wider is kept.
 */
function bandToKeep(stableBand: StableBand, ratio: number): BucketBand {
  const { scale, low, high, byAz } = stableBand;
  const found = [...byAz.values()].map((tail) => p99Index([tail])).filter((index) => index !== null);
  if (found.length === 0) return stableBand;
  const octave = 1 << scale;
  const wanted = {
    scale,
    low: Math.max(low, Math.floor(Math.min(...found) - octave / 2)),
    high: Math.min(high, Math.ceil(thresholdIndex(Math.max(...found), ratio, scale) + octave / 2)),
  };
  return high - low <= wanted.high - wanted.low + octave ? stableBand : wanted;
}

/** The first bucket above `ratio` times the p99 in bucket `at`. */
function thresholdIndex(at: number, ratio: number, scale: number): number {
  return firstAbove(ratio * bucketMs(at, scale), scale);
}

function stableWindow(index: number, tails: Iterable<[string, LatencyTail]>, band: BucketBand): StableWindow {
  const azs: Record<string, Pick<LatencyTail, "total" | "above">> = {};
  for (const [az, tail] of tails) azs[az] = { total: tail.total, above: inBand(tail, band) };
  return { index, azs };
}

function sumOf({ scale, low, high }: BucketBand, windows: readonly StableWindow[]): StableBand {
  const byAz = new Map<string, LatencyTail & { total: number; above: number[] }>();
  for (const { azs } of windows) {
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
  return { scale, low, high, byAz, windows };
}
