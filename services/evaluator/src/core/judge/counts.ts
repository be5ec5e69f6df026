/**
 * Counts of one metric: of one window, and summed over a window range. All values are integers or sums of ratios of integers.
 * Letters in parentheses are those of the formulas in the comments and in docs/judge.md.
 */

/** One metric of one scope in one window. */
export interface Counts {
  /** Requests (n). */
  readonly requests: number;
  /** Bad requests (x). */
  readonly bad: number;
  /** Sum of x² over the sub-windows (s2); x² of the window if sub-windows are unknown. */
  readonly badSquares: number;
  /** Sum of n² over the sub-windows (q2); n² of the window if sub-windows are unknown. */
  readonly requestSquares: number;
  /** Expected bad requests of a healthy service (mu). */
  readonly healthyBad: number;
  /** Expected bad requests of the canary at stable's rate (e), over the part that can be compared with stable. */
  readonly stableBad: number;
  /** Variance of `stableBad` (v). */
  readonly stableVariance: number;
  /** Bad requests of the part that can be compared with stable (xe). */
  readonly comparedBad: number;
  /** Requests of that part (ne). */
  readonly comparedRequests: number;
  /** Stable's requests that it is compared with (ns). */
  readonly stableRequests: number;
  /** Set if stable accounts for the window: it adds nothing to any sum. */
  readonly leftOut?: true;
}

export const NOTHING: Counts = {
  requests: 0,
  bad: 0,
  badSquares: 0,
  requestSquares: 0,
  healthyBad: 0,
  stableBad: 0,
  stableVariance: 0,
  comparedBad: 0,
  comparedRequests: 0,
  stableRequests: 0,
};

/** A window range, summed. */
export interface WindowRange {
  readonly windows: number;
  readonly requests: number;
  readonly bad: number;
  readonly healthyBad: number;
  /** Sum of n² over the windows (q): how unevenly the requests are distributed. */
  readonly requestSquares: number;
  /** Observed burst statistic (a) over the windows with sub-windows. */
  readonly burstObserved: number;
  /** The burst statistic expected for independent failures. */
  readonly burstExpected: number;
  /** Variance of `burstExpected`. */
  readonly burstVariance: number;
  readonly stableBad: number;
  readonly stableVariance: number;
  readonly comparedBad: number;
  readonly comparedRequests: number;
  readonly stableRequests: number;
  /** The windows with requests. */
  readonly activeWindows: number;
  /** Its worst window: the one with the most bad requests above the ceiling. */
  readonly worstRequests: number;
  readonly worstBad: number;
  readonly worstHealthyBad: number;
}

export const EMPTY: WindowRange = {
  windows: 0,
  requests: 0,
  bad: 0,
  healthyBad: 0,
  requestSquares: 0,
  burstObserved: 0,
  burstExpected: 0,
  burstVariance: 0,
  stableBad: 0,
  stableVariance: 0,
  comparedBad: 0,
  comparedRequests: 0,
  stableRequests: 0,
  activeWindows: 0,
  worstRequests: 0,
  worstBad: 0,
  worstHealthyBad: 0,
};

/** The window range with one more window, older or newer. @param ceiling allowed share of bad requests */
export function withWindow(sum: WindowRange, w: Counts, ceiling: number): WindowRange {
  return withWindows(sum, [w], ceiling);
}

/** The window range with several more windows, in this order. */
export function withWindows(sum: WindowRange, windows: readonly Counts[], ceiling: number): WindowRange {
  const total = { ...sum };
  // In place: a new object per window takes most of the time of a sum.
  for (const window of windows) addWindow(total, window, ceiling);
  return total;
}

function addWindow(sum: { -readonly [key in keyof WindowRange]: number }, w: Counts, ceiling: number): void {
  sum.windows += 1;
  if (w.leftOut === true) return;
  const m = w.requestSquares > 0 ? (w.requests * w.requests) / w.requestSquares : 1;
  if (w.requests > 0 && (sum.worstRequests === 0 || w.bad - ceiling * w.requests > sum.worstBad - ceiling * sum.worstRequests)) {
    sum.worstRequests = w.requests;
    sum.worstBad = w.bad;
    sum.worstHealthyBad = w.healthyBad;
  }
  sum.requests += w.requests;
  sum.bad += w.bad;
  sum.healthyBad += w.healthyBad;
  sum.requestSquares += w.requests * w.requests;
  if (m > 1) {
    sum.burstObserved += w.badSquares - (w.bad * w.bad) / m;
    sum.burstExpected += w.bad * (1 - 1 / m);
    sum.burstVariance += ((2 * w.bad * (w.bad - 1)) / m) * (1 - 1 / m);
  }
  sum.stableBad += w.stableBad;
  sum.stableVariance += w.stableVariance;
  sum.comparedBad += w.comparedBad;
  sum.comparedRequests += w.comparedRequests;
  sum.stableRequests += w.stableRequests;
  sum.activeWindows += w.requests > 0 ? 1 : 0;
}

/** The window range without its worst window, as required by the persistence key. */
export function withoutWorst(sum: WindowRange): Pick<WindowRange, "requests" | "bad" | "healthyBad" | "requestSquares"> {
  return {
    requests: sum.requests - sum.worstRequests,
    bad: sum.bad - sum.worstBad,
    healthyBad: sum.healthyBad - sum.worstHealthyBad,
    requestSquares: sum.requestSquares - sum.worstRequests * sum.worstRequests,
  };
}
