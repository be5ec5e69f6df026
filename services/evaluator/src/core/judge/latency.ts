/**
 * Latency histograms as the judge reads them: from their slow end. Everything that is judged (a 99th percentile, how many requests
 * are slower than a limit) lies there, so a few buckets of a thousand are looked at. The answers are those of `histogram.ts`.
 */
import type { LatencySparse } from "@aviary/shared/histogram.ts";
import { DEFAULT_SCALE } from "@aviary/shared/histogram.ts";
import { bucketOf, estimateOf, MAX_SCALE, maxIndex, minIndex } from "@aviary/shared/histogram-buckets.ts";

/** One sparse histogram that was checked. */
export interface Part {
  readonly scale: number;
  readonly pairs: readonly number[];
  /** Index of its last bucket. */
  readonly last: number;
  /** Observations, those in `zero` included. */
  readonly total: number;
}

/** The largest count of one slot that is believed. */
export const MOST = 2 ** 31 - 1;

/** Checks a histogram in one pass. @returns what is wrong with it when it is a string. */
export function readPart({ scale, zero, pairs }: LatencySparse): Part | string {
  if (!Number.isInteger(scale) || scale < 0 || scale > MAX_SCALE) return `a histogram of scale ${scale}`;
  if (!Number.isInteger(zero) || zero < 0 || pairs.length % 2 !== 0) return "a broken histogram";
  if (pairs.length === 0) return zero <= MOST ? { scale, pairs, last: 0, total: zero } : `${zero} latencies in one slot`;
  let last = pairs[0]!;
  let total = pairs[1]!;
  if (!(total >= 1)) return `a histogram with a count of ${total}`;
  // This loop is most of the judge's time. A fraction anywhere shows in the end: with every number at least 1, cutting fractions
  // off makes the sum smaller, or leaves it no integer.
  let whole = (total | 0) + (last | 0);
  for (let k = 2; k < pairs.length; k += 2) {
    const step = pairs[k]!;
    const times = pairs[k + 1]!;
    if (!(step >= 1 && times >= 1)) return `a histogram with a gap of ${step} and a count of ${times}`;
    last += step;
    total += times;
    whole = (whole + (times | 0) + (step | 0)) | 0;
  }
  if (!(pairs[0]! >= minIndex(scale) && last <= maxIndex(scale)))
    return `a histogram of scale ${scale} with buckets ${pairs[0]} to ${last}`;
  if (zero + total > MOST) return `${zero + total} latencies in one slot`;
  const integers = whole === ((last + total) | 0) && Number.isInteger(last + total);
  return integers ? { scale, pairs, last, total: zero + total } : "a histogram with a fraction as a count";
}

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

/** How many observations of all these were slower than `limitMs`, to the resolution of the buckets. */
export function countAbove(parts: readonly Part[], limitMs: number): number {
  let sum = 0;
  for (const { scale, pairs, last } of parts) {
    const from = firstAbove(limitMs, scale);
    for (let k = pairs.length - 2, index = last; k >= 0 && index >= from; k -= 2) {
      sum += pairs[k + 1]!;
      index -= pairs[k]!;
    }
  }
  return sum;
}

/** Dense counts of the buckets from `cut` on, and how many observations lie below. */
export interface Top {
  readonly scale: number;
  readonly cut: number;
  readonly counts: Float64Array;
  /** Observations in all. */
  total: number;
  /** Position in `counts` from which on there is nothing. */
  end: number;
}

/** @param cut index of the first bucket that is kept apart; all buckets when absent. */
export function emptyTop(scale: number, cut: number = minIndex(scale)): Top {
  return { scale, cut, counts: new Float64Array(maxIndex(scale) + 1 - cut), total: 0, end: 0 };
}

/**
 * Adds a histogram to `top`, or takes out one that was added before (`sign` -1).
 * @param atMost how many of its slowest observations are enough; the total grows by all of them.
 */
export function addPart(top: Top, part: Part, sign: 1 | -1, atMost: number = Number.POSITIVE_INFINITY): void {
  const shift = part.scale - top.scale;
  top.total += sign * part.total;
  if (part.pairs.length > 0) top.end = Math.max(top.end, (part.last >> shift) - top.cut + 1);
  let left = atMost;
  for (let k = part.pairs.length - 2, index = part.last; k >= 0 && left > 0; k -= 2) {
    const at = (index >> shift) - top.cut;
    if (at < 0) return;
    const times = part.pairs[k + 1]!;
    top.counts[at]! += sign * times;
    left -= times;
    index -= part.pairs[k]!;
  }
}

/** Rank of the 99th percentile, counted from the slowest observation, 1 to `total`. */
function rankFromTop(total: number): number {
  // As in histogram.quantile: 0.99 * total may come out a few bits above the integer that is meant.
  return total - Math.ceil(0.99 * total * (1 - 2 ** -51)) + 1;
}

/**
 * Index of the bucket that holds the 99th percentile of all of these together; the tops have the same scale and cut.
 * @returns cut - 1 when it lies below the cut (or in `zero`); null when there is no observation.
 */
export function p99Index(tops: readonly Top[]): number | null {
  const total = tops.reduce((sum, top) => sum + top.total, 0);
  if (total === 0) return null;
  const rank = rankFromTop(total);
  const [first] = tops;
  let seen = 0;
  for (let k = Math.max(...tops.map(({ end }) => end)) - 1; k >= 0; k--) {
    for (let i = 0; i < tops.length; i++) seen += tops[i]!.counts[k]!;
    if (seen >= rank) return first!.cut + k;
  }
  return first!.cut - 1;
}

/** Milliseconds of a bucket; 0 for what was counted as zero. */
export function bucketMs(index: number, scale: number): number {
  return index < minIndex(scale) ? 0 : estimateOf(index, scale);
}

/** How many observations of all these lie in the buckets from `from` on, which must not be below the cut. */
export function topAbove(tops: readonly Top[], from: number): number {
  let sum = 0;
  for (const { counts, cut, end } of tops) for (let k = from - cut; k < end; k++) sum += counts[k]!;
  return sum;
}

/** The 99th percentile of all of these together, milliseconds; null when they hold nothing. */
export function p99Of(parts: readonly Part[]): number | null {
  const total = parts.reduce((sum, part) => sum + part.total, 0);
  if (total === 0) return null;
  const top = emptyTop(commonScale(parts));
  const rank = rankFromTop(total);
  for (const part of parts) addPart(top, part, 1, rank);
  return bucketMs(p99Index([top])!, top.scale);
}
