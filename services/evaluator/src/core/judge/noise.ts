/**
 * The noise model of the p-value, learned from a reference of healthy windows: `rho`, the overdispersion (intra-class correlation
 * of the counts between windows), and `phi`, the burst factor (bad requests per burst within a window).
 */
import type { Counts } from "./counts.ts";
import { EMPTY, withWindow } from "./counts.ts";

export interface Noise {
  readonly rho: number;
  readonly phi: number;
}

/** Prior weight of "no bursts". */
export const BURST_PRIOR = 2;
const LEAST_RHO = 1e-6;
const MOST_RHO = 0.05;
/** Below this many effective windows a reference may raise rho above its default, but not lower it. */
const ENOUGH_WINDOWS = 24;

/** The assumption without a reference: rates vary by a quarter of the ceiling, no bursts. */
export function defaultNoise(ceiling: number): Noise {
  return { rho: clamped(ceiling / 4), phi: 1 };
}

/**
 * Learns from windows with n > 0; fewer than two yield the default.
 * @param windows healthy windows; only `n`, `x`, `s2`, `q2` are read
 * @param ceiling allowed share of bad requests, a ratio
 */
export function learnNoise(windows: readonly Counts[], ceiling: number): Noise {
  const seen = windows.filter((w) => w.requests > 0);
  const k = seen.length;
  if (k < 2) return defaultNoise(ceiling);
  let sum = EMPTY;
  for (const w of seen) sum = withWindow(sum, w, ceiling);
  const phi = Math.max(1, (sum.burstObserved + BURST_PRIOR) / (sum.burstExpected + BURST_PRIOR));
  const rate = sum.bad / sum.requests;
  let squares = 0;
  for (const w of seen) squares += (w.bad - rate * w.requests) ** 2;
  const dispersion = ((squares * k) / (k - 1) + 1) / (sum.bad + 1);
  const effective = (sum.requests * sum.requests) / sum.requestSquares;
  const perWindow = sum.requestSquares / sum.requests;
  const doubt = Math.sqrt(2 / Math.max(effective - 1, 1) + phi / (sum.bad + 1));
  const low = Math.max(0, (dispersion - phi) / perWindow);
  const high = Math.max(0, (dispersion * (1 + doubt) - phi) / perWindow);
  const raised = Math.max(ceiling / 4, low);
  return { rho: clamped(effective >= ENOUGH_WINDOWS ? Math.min(raised, high) : raised), phi };
}

function clamped(rho: number): number {
  return Math.min(MOST_RHO, Math.max(LEAST_RHO, rho));
}
