/** Draws from distributions, with a seeded generator of uniform numbers. */
import type { Random } from "../../libs/shared/src/testing/random.ts";

/** Standard normal, by the polar method of Marsaglia. */
export function normal(random: Random): number {
  for (;;) {
    const u = 2 * random() - 1;
    const v = 2 * random() - 1;
    const s = u * u + v * v;
    if (s > 0 && s < 1) return u * Math.sqrt((-2 * Math.log(s)) / s);
  }
}

/** Gamma with mean `shape` and scale 1: Marsaglia and Tsang 2000. */
export function gamma(random: Random, shape: number): number {
  if (shape < 1) return gamma(random, shape + 1) * random() ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(random()) < 0.5 * x * x + d * (1 - v + Math.log(v))) return d * v;
  }
}

/** A rate with this mean whose counts have this intra-class correlation (rho): Beta, with a + b = 1 / rho - 1. */
export function betaRate(random: Random, mean: number, correlation: number): number {
  if (correlation <= 0 || mean <= 0 || mean >= 1) return mean;
  const sum = 1 / correlation - 1;
  const a = gamma(random, mean * sum);
  const b = gamma(random, (1 - mean) * sum);
  return a / (a + b);
}

/** A geometric number (1, 2, 3, ...) with this mean. */
export function geometric(random: Random, mean: number): number {
  return mean <= 1 ? 1 : 1 + Math.floor(Math.log(random()) / Math.log1p(-1 / mean));
}

/** A binomial number: how many of `n` occur, each with probability `p`. */
export function binomial(random: Random, n: number, p: number): number {
  if (n <= 0 || p <= 0) return 0;
  if (p >= 1) return n;
  if (p > 0.5) return n - binomial(random, n, 1 - p);
  return n * p < 10 ? byInversion(random, n, p) : byRejection(random, n, p);
}

function byInversion(random: Random, n: number, p: number): number {
  const odds = p / (1 - p);
  let left = random();
  let chance = Math.exp(n * Math.log1p(-p));
  for (let x = 0; x < n; x++) {
    if (left < chance) return x;
    left -= chance;
    chance *= (odds * (n - x)) / (x + 1);
    // Rounding can leave a remainder that no count receives.
    if (chance < 1e-18 && x > n * p) return x;
  }
  return n;
}

/** Transformed rejection with squeeze, BTRS of Hörmann 1993, for n p of at least 10. */
function byRejection(random: Random, n: number, p: number): number {
  const spread = Math.sqrt(n * p * (1 - p));
  const b = 1.15 + 2.53 * spread;
  const a = -0.0873 + 0.0248 * b + 0.01 * p;
  const c = n * p + 0.5;
  const inner = 0.92 - 4.2 / b;
  const odds = p / (1 - p);
  const mode = Math.floor((n + 1) * p);
  for (;;) {
    const u = random() - 0.5;
    const v = random();
    const edge = 0.5 - Math.abs(u);
    const k = Math.floor(((2 * a) / edge + b) * u + c);
    if (edge >= 0.07 && v <= inner) return k;
    if (k < 0 || k > n) continue;
    const height = Math.log((v * (2.83 + 5.1 / b) * spread) / (a / (edge * edge) + b));
    const bound =
      (mode + 0.5) * Math.log((mode + 1) / (odds * (n - mode + 1))) +
      (n + 1) * Math.log((n - mode + 1) / (n - k + 1)) +
      (k + 0.5) * Math.log((odds * (n - k + 1)) / (k + 1)) +
      stirling(mode) +
      stirling(n - mode) -
      stirling(k) -
      stirling(n - k);
    if (height <= bound) return k;
  }
}

/** ln k! - ((k + 1/2) ln(k + 1) - (k + 1) + ln(2 pi) / 2). */
function stirling(k: number): number {
  if (k < SMALL.length) return SMALL[k]!;
  const r = 1 / ((k + 1) * (k + 1));
  return (1 / 12 - (1 / 360 - r / 1260) * r) / (k + 1);
}

const SMALL = Array.from({ length: 10 }, (_, k) => {
  let factorial = 0;
  for (let j = 2; j <= k; j++) factorial += Math.log(j);
  return factorial - ((k + 0.5) * Math.log(k + 1) - (k + 1) + 0.5 * Math.log(2 * Math.PI));
});
