/**
 * The four keys of the two-key rule. A stretch of windows fails the run when all four turn: its rate reaches the ceiling, luck does
 * not explain it, it is steady rather than one window, and the environment does not explain it.
 */
import type { WindowRange } from "./counts.ts";
import { withoutWorst } from "./counts.ts";
import type { Noise } from "./noise.ts";
import { BURST_PRIOR } from "./noise.ts";
import { midPValue, tail } from "./p-value.ts";
import type { Metric } from "./rule.ts";
import { ALPHA_REST, compareRate, FAST, LEAST_BAD, STEADY } from "./rule.ts";

/** Rate key: does the pooled rate reach the ceiling? */
export function rateKey(s: { readonly n: number; readonly x: number }, ceiling: number): boolean {
  return s.n > 0 && compareRate(s.x, s.n, ceiling) >= 0;
}

/** How many bad requests come at once: what was learned, or what this stretch shows beyond its own chance, whichever is more. */
export function burstFactor(s: WindowRange, noise: Noise): number {
  return Math.max(noise.phi, 1, (s.a - Math.sqrt(Math.max(s.spread, 0)) + BURST_PRIOR) / (s.single + BURST_PRIOR));
}

/**
 * Probability that a healthy service shows this stretch or worse by luck.
 * @param baseline relative variance of the mean itself; 0 unless the mean was measured on stable.
 */
export function pValueOf(s: Pick<WindowRange, "n" | "x" | "mu" | "q">, noise: Noise, bursts: number, baseline: number): number {
  return midPValue(s.x, s.mu, (bursts - 1) / s.mu + (noise.rho * s.q) / (s.n * s.mu) + baseline);
}

/** Luck key: a healthy service shows this at most once in 1 / `level`, and there are enough bad requests to speak of. */
export function significanceKey(s: WindowRange, luckiness: number, level: number): boolean {
  return luckiness <= level && s.x >= LEAST_BAD;
}

/** Steady key: still suspicious without its worst window; a single window needs eight times the ceiling instead. */
export function persistenceKey(s: WindowRange, noise: Noise, bursts: number, baseline: number, ceiling: number): boolean {
  if (s.windows === 1) return compareRate(s.x, s.n, ceiling, FAST) >= 0;
  const rest = withoutWorst(s);
  if (rest.n <= 0 || rest.x <= 0 || compareRate(rest.x, rest.n, ceiling, STEADY) < 0) return false;
  return pValueOf(rest, noise, bursts, baseline) <= ALPHA_REST;
}

/** What is asked where stable suffers as well. */
export interface Comparison {
  /** The canary must be clearly worse than this many times stable. */
  readonly times: 1 | 2;
  /** Probability that chance makes so many bad requests of that; 1 when there are no more of them anyway. */
  readonly chance: number;
  /** The largest such probability with which the canary is clearly worse. */
  readonly most: number;
}

/**
 * Where stable suffers (70 % of the ceiling), the canary must be clearly more than twice as bad; in a regression, clearly worse at all.
 * @returns null when there is nothing to compare with: nothing bad on stable, less than that, or no stable.
 */
export function comparison(s: WindowRange, metric: Metric, ceiling: number): Comparison | null {
  if (s.e <= 0) return null;
  const c = s.v / (s.e * s.e);
  // Up to the mean there is no excess, and no need for the figure: with a relative variance of at most 1 it is over a third.
  const excess = (times: number) => (c <= 1 && s.xe <= times * s.e ? 1 : tail(s.xe, times * s.e, c));
  if (metric === "regression" && s.e < ceiling * s.ne) return { times: 1, chance: excess(1), most: 0.001 };
  if (metric !== "regression" && s.e < 0.7 * ceiling * s.ne) return null;
  return { times: 2, chance: excess(2), most: 0.05 };
}

/** Environment key: true unless stable explains the stretch. */
export function environmentKey(s: WindowRange, metric: Metric, ceiling: number): boolean {
  const asked = comparison(s, metric, ceiling);
  return asked === null || asked.chance <= asked.most;
}
