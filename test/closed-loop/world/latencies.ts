/**
 * True latencies: lognormal with median 40 ms and sigma 0.4, so that the 99th percentile of a healthy Mac is 101 ms. A Mac's
 * requests are drawn into a few classes, which are finer at the slow end, where percentiles are judged.
 */
import * as histogram from "@aviary/shared/histogram.ts";
import type { Random } from "@aviary/shared/testing/random.ts";
import { binomial } from "../../../tools/judge-report/distributions.ts";

const MEDIAN_MS = 40;
const SIGMA = 0.4;

/** Standard normal quantiles of the classes' edges, and the share of requests above each (tables of the normal distribution). */
const EDGES: readonly (readonly [z: number, above: number])[] = [
  [1.6449, 0.05],
  [1.8808, 0.03],
  [2.0537, 0.02],
  [2.1701, 0.015],
  [2.3263, 0.01],
  [2.4324, 0.0075],
  [2.5758, 0.005],
  [2.6521, 0.004],
  [2.7478, 0.003],
  [2.8782, 0.002],
  [3.0902, 0.001],
  [3.2905, 0.0005],
];
/** The class below the first edge, as two values. */
const BODY_Z: readonly number[] = [-0.6, 0.7];

const latencyAt = (z: number, factor: number): number => factor * MEDIAN_MS * Math.exp(SIGMA * z);

/** A request above this latency is slow for its user: 15% over a healthy Mac's 99th percentile. */
export const SLOW_MS = 1.15 * latencyAt(2.3263, 1);

/** P(Z > z), Abramowitz and Stegun 26.2.17, absolute error below 7.5e-8. */
function upperNormal(z: number): number {
  if (z < 0) return 1 - upperNormal(-z);
  const t = 1 / (1 + 0.231_641_9 * z);
  const series = t * (0.319_381_53 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * series;
}

/** True share of requests slower than `ms`, for a Mac whose latencies are multiplied by `factor`. */
export function slowerThan(ms: number, factor: number): number {
  return upperNormal(Math.log(ms / (factor * MEDIAN_MS)) / SIGMA);
}

export interface DrawnLatencies {
  readonly wire: histogram.LatencyWire;
  /** Requests slower than the policy's ceiling. */
  readonly overCeiling: number;
}

/** Cleared for every draw, to reuse its memory. */
const latencies = histogram.create();

/** Draws the latencies of `n` requests. */
export function drawLatencies(random: Random, n: number, factor: number, ceilingMs: number): DrawnLatencies {
  histogram.clear(latencies);
  let overCeiling = 0;
  const add = (z: number, count: number): void => {
    const ms = latencyAt(z, factor);
    histogram.insert(latencies, ms, count);
    if (ms > ceilingMs) overCeiling += count;
  };
  let left = binomial(random, n, EDGES[0]![1]);
  let above = EDGES[0]![1];
  const body = n - left;
  const lower = Math.floor(0.6 * body);
  add(BODY_Z[0]!, lower);
  // With a factor, the bulk of the distribution reaches the ceilings too, so a share of it is drawn at its upper end.
  const upper = body - lower;
  const reaching = binomial(random, upper, 0.25);
  add(BODY_Z[1]!, upper - reaching);
  add(1.25, reaching);
  for (let index = 0; index < EDGES.length && left > 0; index++) {
    const [z] = EDGES[index]!;
    const next = EDGES[index + 1];
    const here = next === undefined ? left : binomial(random, left, (above - next[1]) / above);
    add(next === undefined ? z + 0.15 : (z + next[0]) / 2, here);
    left -= here;
    above = next?.[1] ?? 0;
  }
  return { wire: histogram.toWire(latencies), overCeiling };
}
