/**
 * Reads latency histograms from their slow end. Everything that is judged (a 99th percentile, the number of requests slower than
 * a limit) is there, so only a few of a thousand buckets are read. The results equal those of `histogram.ts`.
 *
 * The counts are accumulated in a *tail*: for each bucket of a *band*, how many observations are in it or in slower ones.
 */
import type { LatencySparse } from "@aviary/shared/histogram.ts";
import { DEFAULT_SCALE } from "@aviary/shared/histogram.ts";
import { bucketOf, estimateOf, maxIndex, minIndex } from "@aviary/shared/histogram-buckets.ts";

/**
 * The part of a sparse histogram that is read. Its schema guarantees that `total` and `last` match the pairs; verifying it again
 * would mean reading every bucket.
 */
export type HistogramPart = Omit<LatencySparse, "zero">;

/** The common scale of all these histograms: the coarsest, and never finer than the default. */
export function commonScale(parts: Iterable<{ readonly scale: number }>): number {
  let scale = DEFAULT_SCALE;
  for (const part of parts) if (part.scale < scale) scale = part.scale;
  return scale;
}

/** The first bucket that counts as slower than `limitMs`: the first whose estimate is greater. */
export function firstAbove(limitMs: number, scale: number): number {
  const index = Math.max(bucketOf(limitMs, scale), minIndex(scale));
  return estimateOf(index, scale) <= limitMs ? index + 1 : index;
}

/** `firstAbove` for one limit, memoised by scale. */
export function limitBucket(limitMs: number): (scale: number) => number {
  const known: number[] = [];
  return (scale) => (known[scale] ??= firstAbove(limitMs, scale));
}

/** Counts observations slower than the limit across all parts, at bucket resolution. */
export function countSlower(parts: readonly HistogramPart[], limit: (scale: number) => number): number {
  let sum = 0;
  for (const { scale, pairs, last } of parts) {
    const from = limit(scale);
    for (let k = pairs.length - 2, index = last; k >= 0 && index >= from; k -= 2) {
      sum += pairs[k + 1]!;
      index -= pairs[k]!;
    }
  }
  return sum;
}

/** Adjacent buckets, `low` to `high` inclusive; no query concerns a single bucket outside of them. */
export interface BucketBand {
  readonly scale: number;
  readonly low: number;
  readonly high: number;
}

/** Every bucket of the default scale, and an empty one beyond, which is the first bucket slower than any limit. */
export const ALL_BUCKETS: BucketBand = { scale: DEFAULT_SCALE, low: minIndex(DEFAULT_SCALE), high: maxIndex(DEFAULT_SCALE) + 1 };

/** The same buckets at an equal or coarser scale. */
export function coarserBand({ scale, low, high }: BucketBand, to: number): BucketBand {
  return { scale: to, low: low >> (scale - to), high: high >> (scale - to) };
}

/**
 * The accumulated slow end of several histograms: for each bucket of a band, how many observations are in it or in a slower one.
 * Queries are then single lookups, and tails add up number by number.
 */
export interface LatencyTail extends BucketBand {
  /** All observations, including those outside the band. */
  readonly total: number;
  /** `above[k]`: in bucket `low + k` and all slower ones; zero past its end. */
  readonly above: readonly number[];
}

/** Scratch space of `tailOf`, which clears it first: summing here takes half the time of a new array. */
const counts = new Float64Array(ALL_BUCKETS.high - ALL_BUCKETS.low + 1);

/** @param band its scale is that of every part, or coarser */
export function tailOf(parts: readonly HistogramPart[], { scale, low, high }: BucketBand): LatencyTail {
  counts.fill(0, 0, high - low + 1);
  addUp(parts, scale, low, high);
  let [total, slowest] = [0, low - 1];
  for (const part of parts) {
    total += part.total;
    if (part.pairs.length > 0) slowest = Math.max(slowest, part.last >> (part.scale - scale));
  }
  const above = new Array<number>(Math.min(slowest, high) - low + 1);
  let sum = 0;
  for (let k = above.length - 1; k >= 0; k--) {
    sum += counts[k]!;
    above[k] = sum;
  }
  return { scale, low, high, total, above };
}

/**
 * Adds the counts of bucket `low + k` to `counts[k]`, and those beyond to `high`. All parts in one function: with one call per
 * part, V8 takes four times as long.
 */
function addUp(parts: readonly HistogramPart[], scale: number, low: number, high: number): void {
  for (const { scale: finer, pairs, last } of parts) {
    const shift = finer - scale;
    const from = low << shift;
    const beyondFrom = (high + 1) << shift;
    let k = pairs.length - 2;
    let index = last;
    let beyond = 0;
    for (; k >= 0 && index >= beyondFrom; k -= 2) {
      beyond += pairs[k + 1]!;
      index -= pairs[k]!;
    }
    counts[high - low]! += beyond;
    for (; k >= 0 && index >= from; k -= 2) {
      counts[(index >> shift) - low]! += pairs[k + 1]!;
      index -= pairs[k]!;
    }
  }
}

/** The tail restricted to a band within its own, of the same scale. */
export function inBand({ low, high, above }: LatencyTail, band: BucketBand): readonly number[] {
  return band.low === low && band.high === high ? above : above.slice(band.low - low, band.high - low + 1);
}

/** How many observations are in bucket `index`, which must be in the band, or in slower ones. */
export function aboveIn({ above, low }: LatencyTail, index: number): number {
  const at = index - low;
  return at < above.length ? above[at]! : 0;
}

/** Rank of a quantile, counted from the slowest observation, 1 to `total`. */
function rankFromTop(total: number, quantile: number): number {
  // As in histogram.quantile: quantile * total may be a few bits above the intended integer.
  return total - Math.ceil(quantile * total * (1 - 2 ** -51)) + 1;
}

/**
 * Index of the bucket with a quantile of all of these together; the tails have the same band.
 * @returns low - 1 if it is below the band (or in `zero`), `high` also if it is beyond; null without observations
 */
export function quantileIndex(tails: readonly LatencyTail[], quantile: number): number | null {
  const total = tails.reduce((sum, tail) => sum + tail.total, 0);
  return total === 0 ? null : rankIndex(tails, rankFromTop(total, quantile));
}

export function p99Index(tails: readonly LatencyTail[]): number | null {
  return quantileIndex(tails, 0.99);
}

/** Index of the bucket with an observation. @param rank counted from the slowest one, 1 to the number of observations */
export function rankIndex(tails: readonly LatencyTail[], rank: number): number {
  const longest = Math.max(...tails.map(({ above }) => above.length));
  // It is in the last bucket that, together with all slower ones, contains as many observations as its rank.
  let below = tails[0]!.low - 1;
  let beyond = below + 1 + longest;
  while (beyond - below > 1) {
    const middle = (below + beyond) >> 1;
    let sum = 0;
    for (const tail of tails) sum += aboveIn(tail, middle);
    if (sum >= rank) below = middle;
    else beyond = middle;
  }
  return below;
}

/** Milliseconds of a bucket; 0 for what was counted as zero. */
export function bucketMs(index: number, scale: number): number {
  return index < minIndex(scale) ? 0 : estimateOf(index, scale);
}

/** The 99th percentile of all of these together at a common scale, milliseconds; null if they are empty. */
export function p99Of(parts: readonly HistogramPart[], scale: number): number | null {
  const index = p99Index([tailOf(parts, coarserBand(ALL_BUCKETS, scale))]);
  return index === null ? null : bucketMs(index, scale);
}
