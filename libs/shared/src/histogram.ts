/**
 * Base-2 exponential histogram of latencies in milliseconds: small, losslessly mergeable, with a bounded relative error.
 *
 * Use it as a namespace: `import * as histogram from "@aviary/shared/histogram.ts"`. A `Histogram` is plain data that these
 * functions modify in place; `clone` it to keep a copy. There are three equivalent forms:
 * - `Histogram`: dense counts in memory (collector probes, evaluator windows);
 * - `LatencyWire`: the form of http signals, the positive buckets of an OpenTelemetry exponential histogram;
 * - `LatencySparse`: short JSON for verdict records, where most buckets are empty.
 *
 * Buckets (OpenTelemetry metrics data model, "ExponentialHistogram"): at scale s, bucket i counts values in (2^(i/2^s),
 * 2^((i+1)/2^s)]. Scale 6, the default, has 64 buckets per octave, each 1.09% wide.
 * Range: 2^-10 ms (0.98 µs) to 2^27 ms (37 h), at most 37 * 2^s buckets (2,368 at scale 6). Values at or below the minimum,
 * including 0 and negative ones, are counted in `zero`; values above the maximum in the last bucket. The same applies to buckets
 * outside the range in a wire form. Both ends are octaves, so this commutes with a change of scale.
 * Counts are integers capped at 2^53 - 1, so that merging is always associative and commutative.
 *
 * Error: an estimate is the harmonic mean of the edges of its bucket, within (b-1)/(b+1) of any value in the bucket, b =
 * 2^(1/2^s): 0.542% at scale 6, twice that for each lower scale.
 */
import { z } from "zod";
import { bucketOf, estimateOf, MAX_BUCKETS, MAX_SCALE, maxIndex, minIndex } from "./histogram-buckets.ts";

export const DEFAULT_SCALE = 6;
const MAX_COUNT = Number.MAX_SAFE_INTEGER;

const scaleSchema = z.int().min(0).max(MAX_SCALE);
const countSchema = z.int().min(0);
const indexSchema = z.int().min(minIndex(MAX_SCALE)).max(maxIndex(MAX_SCALE));

/**
 * Wire form. `counts[k]` is the count of bucket `offset + k`; at most 9,472 buckets. Not compiled, because the enclosing schema
 * is.
 */
export const latencyWireSchema = z.object({
  scale: scaleSchema,
  zero: countSchema,
  offset: indexSchema,
  counts: z.array(countSchema).max(MAX_BUCKETS),
});
export type LatencyWire = z.infer<typeof latencyWireSchema>;

/**
 * Sparse form. `pairs` is [index, count, gap, count, gap, count, ...]; a gap is the distance from the previous index, at least 1.
 * `total` and `last` are redundant: a reader of the slow tail does not have to scan all pairs. The schema verifies them, so every
 * parsed form, and every result of `toSparse`, is consistent.
 */
export const latencySparseSchema = z
  .object({
    scale: scaleSchema,
    zero: countSchema,
    /** Number of observations including `zero`; at most 2^53 - 1. */
    total: countSchema,
    /** Index of the last bucket; 0 if there is none. */
    last: indexSchema,
    pairs: z.array(z.int()).max(2 * MAX_BUCKETS),
  })
  .superRefine((sparse, context) => {
    const problem = problemOf(sparse);
    if (problem !== null) context.addIssue({ code: "custom", message: problem });
  });
export type LatencySparse = z.infer<typeof latencySparseSchema>;

/** The inconsistency in a sparse form, or null. */
function problemOf({ scale, zero, total, last, pairs }: LatencySparse): string | null {
  if (pairs.length % 2 !== 0) return "the pairs end in half a pair, expected [index, count, gap, count, ...]";
  let index = 0;
  let sum = zero;
  for (let k = 0; k < pairs.length; k += 2) {
    const [step, times] = [pairs[k]!, pairs[k + 1]!];
    if (times < 1 || (k > 0 && step < 1)) return `a gap of ${step} and a count of ${times} in the pairs, expected at least 1`;
    index += step;
    sum += times;
  }
  if (pairs.length > 0 && (pairs[0]! < minIndex(scale) || index > maxIndex(scale))) {
    return `buckets ${pairs[0]} to ${index}, expected ${minIndex(scale)} to ${maxIndex(scale)} at scale ${scale}`;
  }
  if (index !== last) return `last is ${last}, but the pairs end at bucket ${index}`;
  if (Math.min(sum, MAX_COUNT) !== total) return `total is ${total}, but zero and the pairs add up to ${sum}`;
  return null;
}

/** Dense counts. Create it with `create` and read it with the functions below. */
export interface Histogram {
  scale: number;
  /** Observations at or below 2^-10 ms. */
  zero: number;
  /** First and last bucket index with a count; `first > last` if there is none. */
  first: number;
  last: number;
  /** Bucket index of `bins[0]`. */
  base: number;
  /** Integer counts; grown in steps of 64 buckets. */
  bins: Float64Array;
}

const NO_FIRST = MAX_BUCKETS;
const NO_LAST = -MAX_BUCKETS;

/**
 * An empty histogram.
 * @param scale 0 to 8; an octave has 2^scale buckets
 * @throws RangeError if the scale is not an integer from 0 to 8
 */
export function create(scale: number = DEFAULT_SCALE): Histogram {
  return { scale: checkedScale(scale), zero: 0, first: NO_FIRST, last: NO_LAST, base: 0, bins: new Float64Array(0) };
}

/** Clears `h` for reuse and keeps its memory. Resets the scale, which merging coarser data may have lowered. */
export function clear(h: Histogram, scale: number = DEFAULT_SCALE): void {
  h.scale = checkedScale(scale);
  h.zero = 0;
  if (h.first <= h.last) h.bins.fill(0, h.first - h.base, h.last - h.base + 1);
  h.first = NO_FIRST;
  h.last = NO_LAST;
}

/** An independent copy. */
export function clone(h: Histogram): Histogram {
  return { ...h, bins: h.bins.slice() };
}

/** Whether the histogram is empty. */
export function isEmpty(h: Histogram): boolean {
  return count(h) === 0;
}

/** Number of observations including zeros; at most 2^53 - 1. */
export function count(h: Histogram): number {
  let sum = h.zero;
  for (let k = h.first - h.base; k <= h.last - h.base; k++) sum += h.bins[k]!;
  return Math.min(sum, MAX_COUNT);
}

/**
 * Adds `times` observations of `valueMs`.
 * @throws RangeError if the value is NaN or infinite, or if `times` is not an integer from 0 to 2^53 - 1
 */
export function insert(h: Histogram, valueMs: number, times: number = 1): void {
  if (!Number.isFinite(valueMs))
    throw new RangeError(`histogram.insert: the value is ${valueMs}, expected a finite number of ms`);
  if (!Number.isSafeInteger(times) || times < 0) {
    throw new RangeError(`histogram.insert: the count is ${times}, expected an integer from 0 to 2^53 - 1`);
  }
  if (times > 0) addBucket(h, bucketOf(valueMs, h.scale), times);
}

/** Adds `from` to `into`; `from` is unchanged. With different scales the result has the lower one, still lossless. */
export function merge(into: Histogram, from: Histogram): void {
  const shift = alignScales(into, from.scale);
  into.zero = saturated(into.zero + from.zero);
  addCounts(into, shift, {
    offset: from.first,
    counts: from.bins,
    start: from.first - from.base,
    end: from.last - from.base + 1,
  });
}

/**
 * Adds a wire form to `into`; allocates only if the bucket range grows or the wire form has a lower scale.
 * The wire form must have been validated with `latencyWireSchema`.
 */
export function mergeWire(into: Histogram, wire: LatencyWire): void {
  const shift = alignScales(into, wire.scale);
  into.zero = saturated(into.zero + wire.zero);
  addCounts(into, shift, { offset: wire.offset, counts: wire.counts, start: 0, end: wire.counts.length });
}

/** Adds a sparse form, which must have been validated with `latencySparseSchema`, to `into`. */
export function mergeSparse(into: Histogram, sparse: LatencySparse): void {
  const shift = alignScales(into, sparse.scale);
  into.zero = saturated(into.zero + sparse.zero);
  const { pairs, last } = sparse;
  if (pairs.length === 0) return;
  // Grow once for the whole range: growing per bucket would copy repeatedly.
  reserve(into, pairs[0]! >> shift, last >> shift);
  const { bins, base } = into;
  for (let k = 0, index = 0; k < pairs.length; k += 2) {
    index += pairs[k]!;
    const at = (index >> shift) - base;
    bins[at] = saturated(bins[at]! + pairs[k + 1]!);
  }
}

/**
 * Lowers the scale in place by merging adjacent buckets. Lossless: the result equals inserting the same values at that scale.
 * @throws RangeError if `scale` is higher than the current one, or below 0
 */
export function downscale(h: Histogram, scale: number): void {
  if (checkedScale(scale) > h.scale) {
    throw new RangeError(`histogram.downscale: cannot go from scale ${h.scale} up to ${scale}, choose ${h.scale} or lower`);
  }
  if (scale === h.scale) return;
  const { bins, base, first, last } = h;
  const shift = h.scale - scale;
  Object.assign(h, { ...create(scale), zero: h.zero });
  addCounts(h, shift, { offset: first, counts: bins, start: first - base, end: last - base + 1 });
}

/**
 * Estimates a quantile in ms: the estimate (see above) of the bucket with the observation of rank ceil(q * count), within 0.542%
 * of that observation at scale 6. 0 for an observation in `zero`.
 * @param q 0 (smallest) to 1 (largest)
 * @returns null if the histogram is empty
 * @throws RangeError if q is not between 0 and 1
 */
export function quantile(h: Histogram, q: number): number | null {
  if (!(q >= 0 && q <= 1)) throw new RangeError(`histogram.quantile: q is ${q}, expected a number from 0 to 1`);
  const total = count(h);
  if (total === 0) return null;
  // q * total may be a few bits above the intended integer (0.07 * 100), which must not shift the rank by one.
  const rank = Math.max(1, Math.ceil(q * total * (1 - 2 ** -51)));
  let seen = h.zero;
  if (seen >= rank) return 0;
  let index = h.first;
  for (; index < h.last; index++) {
    seen += h.bins[index - h.base]!;
    if (seen >= rank) break;
  }
  return estimateOf(index, h.scale);
}

/**
 * The number of observations slower than `valueMs`, at bucket resolution: a bucket counts if its estimate is greater than the
 * value. The effective threshold is therefore the nearest bucket edge, at most 0.545% from `valueMs` at scale 6 (219.98 ms for
 * 220 ms). This is consistent with `quantile`: quantile(h, q) > valueMs if and only if the observation of that rank is counted.
 * @throws RangeError if the value is NaN or infinite
 */
export function countAbove(h: Histogram, valueMs: number): number {
  if (!Number.isFinite(valueMs)) {
    throw new RangeError(`histogram.countAbove: the value is ${valueMs}, expected a finite number of ms`);
  }
  if (valueMs < 0) return count(h);
  let index = Math.max(bucketOf(valueMs, h.scale), minIndex(h.scale));
  if (estimateOf(index, h.scale) <= valueMs) index++;
  let sum = 0;
  for (let k = Math.max(index, h.first) - h.base; k <= h.last - h.base; k++) sum += h.bins[k]!;
  return Math.min(sum, MAX_COUNT);
}

/** The wire form, without empty buckets at either end. */
export function toWire(h: Histogram): LatencyWire {
  let { first, last } = h;
  while (first <= last && h.bins[first - h.base] === 0) first++;
  while (last >= first && h.bins[last - h.base] === 0) last--;
  if (first > last) return { scale: h.scale, zero: h.zero, offset: 0, counts: [] };
  return { scale: h.scale, zero: h.zero, offset: first, counts: Array.from(h.bins.subarray(first - h.base, last - h.base + 1)) };
}

/** A new histogram at the scale of the wire form, which must have been validated with `latencyWireSchema`. */
export function fromWire(wire: LatencyWire): Histogram {
  const h = create(wire.scale);
  mergeWire(h, wire);
  return h;
}

/** The sparse form: only buckets with a count. */
export function toSparse(h: Histogram): LatencySparse {
  const pairs: number[] = [];
  let previous = 0;
  let sum = h.zero;
  for (let index = h.first; index <= h.last; index++) {
    const times = h.bins[index - h.base]!;
    if (times === 0) continue;
    pairs.push(index - previous, times);
    previous = index;
    sum += times;
  }
  return { scale: h.scale, zero: h.zero, total: Math.min(sum, MAX_COUNT), last: previous, pairs };
}

/** A new histogram at the scale of the sparse form, which must have been validated with `latencySparseSchema`. */
export function fromSparse(sparse: LatencySparse): Histogram {
  const h = create(sparse.scale);
  mergeSparse(h, sparse);
  return h;
}

/** Counts of consecutive buckets: those of `counts` from `start` to `end` (exclusive); the first is bucket `offset`. */
interface BucketRange {
  readonly offset: number;
  readonly counts: ArrayLike<number>;
  readonly start: number;
  readonly end: number;
}

function addCounts(h: Histogram, shift: number, { offset, counts, start, end }: BucketRange): void {
  if (start >= end) return;
  const first = offset >> shift;
  const last = (offset + (end - start) - 1) >> shift;
  if (first < minIndex(h.scale) || last > maxIndex(h.scale)) {
    for (let k = start; k < end; k++) addBucket(h, (offset + k - start) >> shift, counts[k]!);
    return;
  }
  reserve(h, first, last);
  const { bins, base } = h;
  for (let k = start, index = offset; k < end; k++, index++) {
    const at = (index >> shift) - base;
    bins[at] = saturated(bins[at]! + counts[k]!);
  }
}

function addBucket(h: Histogram, index: number, times: number): void {
  if (index < minIndex(h.scale)) {
    h.zero = saturated(h.zero + times);
    return;
  }
  const inRange = Math.min(index, maxIndex(h.scale));
  reserve(h, inRange, inRange);
  const at = inRange - h.base;
  h.bins[at] = saturated(h.bins[at]! + times);
}

/** Allocates buckets `first` to `last`, both within the range. */
function reserve(h: Histogram, first: number, last: number): void {
  if (first >= h.first && last <= h.last) return;
  const low = Math.min(first, h.first);
  const high = Math.max(last, h.last);
  if (low < h.base || high >= h.base + h.bins.length) {
    const base = low & ~63;
    const bins = new Float64Array((high | 63) + 1 - base);
    if (h.first <= h.last) bins.set(h.bins.subarray(h.first - h.base, h.last - h.base + 1), h.first - base);
    h.base = base;
    h.bins = bins;
  }
  h.first = low;
  h.last = high;
}

/** Lowers `h` to `scale` if that is coarser; returns the number of scales by which the other side is finer. */
function alignScales(h: Histogram, scale: number): number {
  if (scale < h.scale) downscale(h, scale);
  return scale - h.scale;
}

function saturated(sum: number): number {
  return sum < MAX_COUNT ? sum : MAX_COUNT;
}

function checkedScale(scale: number): number {
  if (Number.isInteger(scale) && scale >= 0 && scale <= MAX_SCALE) return scale;
  throw new RangeError(`histogram: the scale is ${scale}, expected an integer from 0 to ${MAX_SCALE}`);
}
