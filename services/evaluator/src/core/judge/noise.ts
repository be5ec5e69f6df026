/** The noise model of the p-value, estimated from a reference of healthy windows. */
import type { Counts } from "./counts.ts";
import { EMPTY, withWindow } from "./counts.ts";

export interface Noise {
  /** Intra-class correlation of the counts between windows (rho). */
  readonly overdispersion: number;
  /** Mean number of bad requests per burst within a window (phi). */
  readonly burstFactor: number;
}

/** Prior weight of "no bursts". */
export const BURST_PRIOR = 2;
const MIN_OVERDISPERSION = 1e-6;
const MAX_OVERDISPERSION = 0.05;
/** Below this many effective windows a reference may raise the overdispersion above its default, but not lower it. */
const ENOUGH_WINDOWS = 24;

/** The assumption without a reference: rates vary by a quarter of the ceiling, no bursts. */
export function defaultNoise(ceiling: number): Noise {
  return { overdispersion: clamped(ceiling / 4), burstFactor: 1 };
}

/**
 * Learns from windows with requests; fewer than two yield the default.
 * @param windows healthy windows; only their requests, bad requests and squares are read
 * @param ceiling allowed share of bad requests, a ratio
 */
export function learnNoise(windows: readonly Counts[], ceiling: number): Noise {
  const seen = windows.filter((w) => w.requests > 0);
  const k = seen.length;
  if (k < 2) return defaultNoise(ceiling);
  let sum = EMPTY;
  for (const w of seen) sum = withWindow(sum, w, ceiling);
  const burstFactor = Math.max(1, (sum.burstObserved + BURST_PRIOR) / (sum.burstExpected + BURST_PRIOR));
  const rate = sum.bad / sum.requests;
  let squares = 0;
  for (const w of seen) squares += (w.bad - rate * w.requests) ** 2;
  const dispersion = ((squares * k) / (k - 1) + 1) / (sum.bad + 1);
  const effective = (sum.requests * sum.requests) / sum.requestSquares;
  const perWindow = sum.requestSquares / sum.requests;
  const doubt = Math.sqrt(2 / Math.max(effective - 1, 1) + burstFactor / (sum.bad + 1));
  const low = Math.max(0, (dispersion - burstFactor) / perWindow);
  const high = Math.max(0, (dispersion * (1 + doubt) - burstFactor) / perWindow);
  const raised = Math.max(ceiling / 4, low);
  return { overdispersion: clamped(effective >= ENOUGH_WINDOWS ? Math.min(raised, high) : raised), burstFactor };
}

function clamped(overdispersion: number): number {
  return Math.min(MAX_OVERDISPERSION, Math.max(MIN_OVERDISPERSION, overdispersion));
}
