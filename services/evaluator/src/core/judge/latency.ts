/**
 * Latency histograms as the judge reads them: from their slow end. Everything that is judged (a 99th percentile, how many requests
 * are slower than a limit) lies there, so a few buckets of a thousand are looked at. The answers are those of `histogram.ts`.
 *
 * What is read is added up in a *tail*: for each bucket of a *band*, how many observations lie in it or in slower ones.
 */
import type { LatencySparse } from "@aviary/shared/histogram.ts";
import { DEFAULT_SCALE } from "@aviary/shared/histogram.ts";
import { bucketOf, estimateOf, maxIndex, minIndex } from "@aviary/shared/histogram-buckets.ts";

/**
 * What is read of a sparse histogram. That `total` and `last` agree with the pairs is taken from the schema, through which every
 * stored window has come; to look again would mean to read every bucket.
 */
export type Part = Omit<LatencySparse, "zero">;

/** The scale in which all of these can be added up: the coarsest, and never finer than the usual one. */
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

/** `firstAbove` for one limit: a function of the scale that works each answer out once. */
export function limitOf(limitMs: number): (scale: number) => number {
  const known: number[] = [];
  return (scale) => (known[scale] ??= firstAbove(limitMs, scale));
}

/** How many observations of all these were slower than a limit, to the resolution of the buckets. */
export function countAbove(parts: readonly Part[], limit: (scale: number) => number): number {
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

/** Some neighbouring buckets, `low` to `high`, both included: no question is about a single bucket outside of them. */
export interface Band {
  readonly scale: number;
  readonly low: number;
  readonly high: number;
}

/** Every bucket of the usual scale, and one beyond, which is empty: the first that is slower than any limit. */
export const EVERYTHING: Band = { scale: DEFAULT_SCALE, low: minIndex(DEFAULT_SCALE), high: maxIndex(DEFAULT_SCALE) + 1 };

/** The same buckets in a scale that is as coarse or coarser. */
export function coarser({ scale, low, high }: Band, to: number): Band {
  return { scale: to, low: low >> (scale - to), high: high >> (scale - to) };
}

/**
 * The slow end of some histograms, added up: how many observations lie in a bucket or in a slower one, for each bucket of a band.
 * What is asked of it is then one look, and tails add up number by number.
 */
export interface Tail extends Band {
  /** Observations in all, those outside the band included. */
  readonly total: number;
  /** `above[k]`: in bucket `low + k` and all slower ones. Past its end there is nothing. */
  readonly above: readonly number[];
}

/** Scratch of `tailOf`, which clears it first: numbers are added up here in half the time that a new array would take. */
const counts = new Float64Array(EVERYTHING.high - EVERYTHING.low + 1);

/** @param band its scale is that of every part, or a coarser one. */
export function tailOf(parts: readonly Part[], { scale, low, high }: Band): Tail {
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
 * Adds to `counts[k]` what lies in bucket `low + k`, and to the count of `high` what lies beyond. All parts in one function: with one
 * call for each of them V8 takes four times as long.
 */
function addUp(parts: readonly Part[], scale: number, low: number, high: number): void {
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

/** The numbers of a tail in a band within its own, of the same scale. */
export function inBand({ low, high, above }: Tail, band: Band): readonly number[] {
  return band.low === low && band.high === high ? above : above.slice(band.low - low, band.high - low + 1);
}

/** How many observations lie in the bucket `index`, which must be in the band, and in slower ones. */
export function aboveIn({ above, low }: Tail, index: number): number {
  const at = index - low;
  return at < above.length ? above[at]! : 0;
}

/** Rank of the 99th percentile, counted from the slowest observation, 1 to `total`. */
function rankFromTop(total: number): number {
  // As in histogram.quantile: 0.99 * total may come out a few bits above the integer that is meant.
  return total - Math.ceil(0.99 * total * (1 - 2 ** -51)) + 1;
}

/**
 * Index of the bucket that holds the 99th percentile of all of these together; the tails have the same band.
 * @returns low - 1 when it lies below the band (or in `zero`), `high` also when it lies beyond; null when there is no observation.
 */
export function p99Index(tails: readonly Tail[]): number | null {
  let total = 0;
  let longest = 0;
  for (const tail of tails) {
    total += tail.total;
    longest = Math.max(longest, tail.above.length);
  }
  if (total === 0) return null;
  const rank = rankFromTop(total);
  // It lies in the last bucket that, with all slower ones, holds as many as its rank.
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

/** The 99th percentile of all of these together in a scale that none is coarser than, milliseconds; null when they hold nothing. */
export function p99Of(parts: readonly Part[], scale: number): number | null {
  const index = p99Index([tailOf(parts, coarser(EVERYTHING, scale))]);
  return index === null ? null : bucketMs(index, scale);
}
