/**
 * Latency distributions as tables over the judge's own buckets: a simulated window is a histogram, drawn without drawing each
 * request.
 */
import { DEFAULT_SCALE } from "@aviary/shared/histogram.ts";
import { bucketOf, lowerEdge, MAX_VALUE_MS } from "@aviary/shared/histogram-buckets.ts";
import type { Random } from "../../libs/shared/src/testing/random.ts";
import { binomial } from "./distributions.ts";

export type Law =
  | { readonly kind: "lognormal"; readonly sigma: number }
  | { readonly kind: "pareto"; readonly alpha: number }
  /** Lognormal (0.4), with this share of the requests in a second, slow hump. */
  | { readonly kind: "bimodal"; readonly slow: number };

/** The slowdown factor, for this share of the requests. */
export interface Slowdown {
  readonly factor: number;
  readonly share: number;
}

/** All relevant percentiles are above this share of a healthy slice's requests; everything below is one bucket. */
const BELOW = 0.85;
/** Requests above this percentile are the slow ones, whose share may vary between windows. */
const SLOW_FROM = 0.95;
/** The rest of the slow end is one bucket. */
const REST = 1e-7;
const MEDIAN_MS = 40;

export interface Table {
  /** The first bucket that is drawn separately. */
  readonly cut: number;
  /** The buckets from `cut` to the slow ones, and those of the slow ones. */
  readonly middle: Segment;
  readonly slow: Segment;
}

/** Consecutive buckets. */
interface Segment {
  /** Probability of all of them. */
  readonly mass: number;
  /** Probability of each bucket, and of it and all above; relative to `mass`. */
  readonly share: Float64Array;
  readonly andAbove: Float64Array;
  /** Walker's alias table. */
  readonly keep: Float64Array;
  readonly alias: Int32Array;
}

/** Share of requests slower than `ms`. */
function slowerThan(law: Law, ms: number): number {
  if (law.kind === "pareto") return Math.min(1, (MEDIAN_MS / ms) ** law.alpha);
  if (law.kind === "lognormal") return upperNormal(Math.log(ms / MEDIAN_MS) / law.sigma);
  const slow = upperNormal(Math.log(ms / (6 * MEDIAN_MS)) / 0.2);
  return (1 - law.slow) * upperNormal(Math.log(ms / MEDIAN_MS) / 0.4) + law.slow * slow;
}

const tables = new Map<string, Table>();

/**
 * The table of a distribution; its cut is that of the distribution without slowdown, so that slices are comparable bucket by
 * bucket.
 */
export function tableOf(law: Law, { factor, share }: Slowdown = { factor: 1, share: 0 }): Table {
  const key = JSON.stringify([law, factor, share]);
  const known = tables.get(key);
  if (known !== undefined) return known;
  const table = makeTable(law, (ms) => (1 - share) * slowerThan(law, ms) + share * slowerThan(law, ms / factor));
  tables.set(key, table);
  return table;
}

function makeTable(law: Law, slower: (ms: number) => number): Table {
  const cut = percentileBucket(law, BELOW);
  const slowCut = percentileBucket(law, SLOW_FROM);
  const above: number[] = [];
  for (let at = cut; ; at++) {
    const beyond = lowerEdge(at, DEFAULT_SCALE) >= MAX_VALUE_MS ? 0 : slower(lowerEdge(at, DEFAULT_SCALE));
    if (at > slowCut && beyond <= REST) break;
    above.push(beyond);
  }
  const slowAt = slowCut - cut;
  return { cut, middle: segment(above.slice(0, slowAt), above[slowAt]!), slow: segment(above.slice(slowAt), 0) };
}

/** The bucket of a percentile of the distribution without slowdown. */
function percentileBucket(law: Law, percentile: number): number {
  let low = 1e-2;
  let high = MAX_VALUE_MS;
  while (high / low > 1.0001) {
    const middle = Math.sqrt(low * high);
    if (slowerThan(law, middle) > 1 - percentile) low = middle;
    else high = middle;
  }
  return bucketOf(low, DEFAULT_SCALE);
}

/** @param above probability of each bucket and all above @param beyond that of the first bucket after them */
function segment(above: readonly number[], beyond: number): Segment {
  const mass = above[0]! - beyond;
  const andAbove = Float64Array.from(above, (p) => (p - beyond) / mass);
  const share = andAbove.map((p, k) => p - (andAbove[k + 1] ?? 0));
  return { mass, share, andAbove, ...aliasTable(share) };
}

/** Walker 1977, in Vose's construction. */
function aliasTable(share: Float64Array): { keep: Float64Array; alias: Int32Array } {
  const size = share.length;
  const keep = share.map((p) => p * size);
  const alias = new Int32Array(size);
  const small: number[] = [];
  const large: number[] = [];
  for (let k = 0; k < size; k++) (keep[k]! < 1 ? small : large).push(k);
  while (small.length > 0 && large.length > 0) {
    const less = small.pop()!;
    const more = large.at(-1)!;
    alias[less] = more;
    keep[more]! -= 1 - keep[less]!;
    if (keep[more]! < 1) small.push(large.pop()!);
  }
  for (const k of [...small, ...large]) keep[k] = 1;
  return { keep, alias };
}

/**
 * Counts per bucket, from the cut on, of `n` requests; the others are below.
 * @param times factor on the share of slow requests in this window: 1, or a random one
 */
export function drawSlow(random: Random, { middle, slow }: Table, n: number, times: number): number[] {
  const slowShare = Math.min(1, slow.mass * times);
  const slowCount = binomial(random, n, slowShare);
  const middleCount = binomial(random, n - slowCount, Math.min(1, middle.mass / (1 - slow.mass)));
  return [...drawSegment(random, middle, middleCount), ...drawSegment(random, slow, slowCount)];
}

function drawSegment(random: Random, { share, andAbove, keep, alias }: Segment, requests: number): number[] {
  const counts = new Array<number>(share.length).fill(0);
  let left = requests;
  // One by one for few requests, bucket by bucket for many.
  if (left < 6 * share.length) {
    for (; left > 0; left--) {
      const u = random() * share.length;
      const k = Math.floor(u);
      counts[u - k < keep[k]! ? k : alias[k]!]!++;
    }
    return counts;
  }
  for (let k = 0; left > 0; k++) {
    const here = k === share.length - 1 ? left : binomial(random, left, share[k]! / andAbove[k]!);
    counts[k] = here;
    left -= here;
  }
  return counts;
}

/** P(Z > z): the complementary error function as a Chebyshev fit, 1.2e-7 relative (Numerical Recipes, 6.2.2 of the third edition). */
function upperNormal(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.5 * x);
  const fit = FIT.reduceRight((sum, coefficient) => sum * t + coefficient, 0);
  const half = 0.5 * t * Math.exp(-x * x + fit);
  return z >= 0 ? half : 1 - half;
}

const FIT = [
  -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277,
];
