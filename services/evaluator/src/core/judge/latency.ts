/**
 * Latency histograms as the judge reads them: from their slow end. Everything that is judged (a 99th percentile, how many requests
 * are slower than a limit) lies there, so a few buckets of a thousand are looked at. The answers are those of `histogram.ts`.
 */
import type { LatencySparse } from "@aviary/shared/histogram.ts";
import { DEFAULT_SCALE } from "@aviary/shared/histogram.ts";
import { bucketOf, estimateOf, minIndex } from "@aviary/shared/histogram-buckets.ts";

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

/** A limit in milliseconds, as a function from scale to the first bucket that counts as slower. */
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

/** Dense counts of the buckets from `cut` on; of those below only the sum is known, within `total`. */
export interface Top {
  readonly scale: number;
  readonly cut: number;
  /** Grows as it is needed. */
  counts: number[];
  /** Observations in all. */
  total: number;
}

/** @param cut index of the first bucket that is kept apart; all buckets when absent. */
export function emptyTop(scale: number, cut: number = minIndex(scale)): Top {
  return { scale, cut, counts: [], total: 0 };
}

/** Adds a histogram to `top`, or takes out one that was added before (`sign` -1). The scale of `part` is that of `top` or finer. */
export function addPart(top: Top, part: Part, sign: 1 | -1): void {
  const { scale, pairs, last, total } = part;
  const shift = scale - top.scale;
  top.total += sign * total;
  if (pairs.length > 0) reserve(top, (last >> shift) - top.cut + 1);
  const { counts, cut } = top;
  for (let k = pairs.length - 2, index = last; k >= 0; k -= 2) {
    const at = (index >> shift) - cut;
    if (at < 0) return;
    counts[at]! += sign * pairs[k + 1]!;
    index -= pairs[k]!;
  }
}

function reserve(top: Top, length: number): void {
  const missing = length - top.counts.length;
  if (missing > 0) top.counts = top.counts.concat(new Array<number>(missing + 64).fill(0));
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
  let total = 0;
  let longest = 0;
  for (const top of tops) {
    total += top.total;
    longest = Math.max(longest, top.counts.length);
  }
  if (total === 0) return null;
  const { cut } = tops[0]!;
  let left = rankFromTop(total);
  for (let k = longest - 1; k >= 0; k--) {
    // Beyond the end of an array is no place to read in a loop: V8 then takes its slow way.
    for (const { counts } of tops) if (k < counts.length) left -= counts[k]!;
    if (left <= 0) return cut + k;
  }
  return cut - 1;
}

/** Milliseconds of a bucket; 0 for what was counted as zero. */
export function bucketMs(index: number, scale: number): number {
  return index < minIndex(scale) ? 0 : estimateOf(index, scale);
}

/** How many observations of all these lie in the buckets from `from` on, which must not be below the cut. */
export function topAbove(tops: readonly Top[], from: number): number {
  let sum = 0;
  for (const { counts, cut } of tops) for (let k = from - cut; k < counts.length; k++) sum += counts[k]!;
  return sum;
}

/** The 99th percentile of all of these together, milliseconds; null when they hold nothing. */
export function p99Of(parts: readonly Part[]): number | null {
  const [first] = parts;
  if (first === undefined) return null;
  const scale = commonScale(parts);
  const largest = parts.reduce((p, q) => (q.total > p.total ? q : p), first);
  // Theirs is seldom much below that of the largest; when it is, every bucket is looked at.
  const likely = (ownP99Index(largest) >> (largest.scale - scale)) - ((1 << scale) >> 2);
  for (const cut of [Math.max(likely, minIndex(scale)), minIndex(scale)]) {
    const top = emptyTop(scale, cut);
    for (const part of parts) addPart(top, part, 1);
    const index = p99Index([top]);
    if (index === null) return null;
    if (index >= cut) return bucketMs(index, scale);
  }
  return 0;
}

/** The bucket of a histogram's own 99th percentile; below the range when that is in `zero`. */
function ownP99Index({ scale, pairs, last, total }: Part): number {
  let left = rankFromTop(total);
  for (let k = pairs.length - 2, index = last; k >= 0; k -= 2) {
    left -= pairs[k + 1]!;
    if (left <= 0) return index;
    index -= pairs[k]!;
  }
  return minIndex(scale) - 1;
}
