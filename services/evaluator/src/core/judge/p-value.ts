/**
 * Tails of the negative binomial distribution with mean `mu` and variance mu + c mu^2: how probable a number of bad requests is
 * for a service with a given mean. `c` is the relative variance that noise adds to pure counting; it must be greater than 0.
 */
import { incompleteBeta, neighborMean } from "./beta.ts";

/** Pure counting (Poisson) is the limit c -> 0; below this value no threshold here distinguishes the two. */
const MIN_RELATIVE_VARIANCE = 1e-12;

/** P(Y >= x), a probability. `x` may be any real number; at or below 0 the result is 1. */
export function upperTail(x: number, mu: number, c: number): number {
  if (x <= 0) return 1;
  if (!(mu > 0)) return 0;
  const relative = Math.max(c, MIN_RELATIVE_VARIANCE);
  const spread = mu * relative;
  return incompleteBeta(spread / (1 + spread), 1 / (1 + spread), x, 1 / relative);
}

/** P(Y <= x), a probability, without the cancellation of 1 - tail. */
export function lowerTail(x: number, mu: number, c: number): number {
  if (x < 0) return 0;
  if (!(mu > 0)) return 1;
  const relative = Math.max(c, MIN_RELATIVE_VARIANCE);
  const spread = mu * relative;
  return incompleteBeta(1 / (1 + spread), spread / (1 + spread), 1 / relative, x + 1);
}

/** P(Y > x) + P(Y = x) / 2: the mid-p value, which keeps its level for small and large counts. */
export function midPValue(x: number, mu: number, c: number): number {
  if (x <= 0) return (1 + upperTail(x + 1, mu, c)) / 2;
  if (!(mu > 0)) return 0;
  const relative = Math.max(c, MIN_RELATIVE_VARIANCE);
  const spread = mu * relative;
  return neighborMean(spread / (1 + spread), 1 / (1 + spread), x, 1 / relative);
}
