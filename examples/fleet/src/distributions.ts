/** Random samples for the example fleet: arrival intervals and latencies. */
import type { Random } from "@aviary/shared/testing/random.ts";

/** The time to the next arrival of a Poisson process, in the unit of `mean`. */
export function exponential(random: Random, mean: number): number {
  return -Math.log(1 - random()) * mean;
}

/** Lognormal with the given median; `sigma` 0.5 puts the 99th percentile at 3.2 medians. Box-Muller. */
export function sampleLognormal(random: Random, median: number, sigma: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return median * Math.exp(sigma * normal);
}
