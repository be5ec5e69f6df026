/** Counts of one metric: of one window, and summed over a window range. All values are integers or sums of ratios of integers. */

/** One metric of one view in one window. */
export interface Counts {
  /** Requests, and the bad ones among them. */
  readonly n: number;
  readonly x: number;
  /** Sums over the window's sub-windows of (bad requests)^2 and of requests^2. Without sub-windows: x^2 and n^2. */
  readonly s2: number;
  readonly q2: number;
  /** Expected bad requests of a healthy service. */
  readonly mu: number;
  /** Bad requests expected of the canary at stable's rate, and the variance of that figure; over the part covered by stable. */
  readonly e: number;
  readonly v: number;
  /** Bad requests and requests of the part covered by stable. */
  readonly xe: number;
  readonly ne: number;
}

export const NOTHING: Counts = { n: 0, x: 0, s2: 0, q2: 0, mu: 0, e: 0, v: 0, xe: 0, ne: 0 };

/** A window range, summed. */
export interface WindowRange {
  readonly windows: number;
  readonly n: number;
  readonly x: number;
  readonly mu: number;
  /** Sum of n^2: how unevenly the requests are distributed over the windows. */
  readonly q: number;
  /**
   * Burst statistics over the windows with sub-windows: observed, expected for independent failures, and the variance of that.
   */
  readonly a: number;
  readonly single: number;
  readonly spread: number;
  readonly e: number;
  readonly v: number;
  readonly xe: number;
  readonly ne: number;
  /** Its worst window: the one with the most bad requests above the ceiling. */
  readonly worstN: number;
  readonly worstX: number;
  readonly worstMu: number;
}

export const EMPTY: WindowRange = {
  windows: 0,
  n: 0,
  x: 0,
  mu: 0,
  q: 0,
  a: 0,
  single: 0,
  spread: 0,
  e: 0,
  v: 0,
  xe: 0,
  ne: 0,
  worstN: 0,
  worstX: 0,
  worstMu: 0,
};

/** The window range with one more window, older or newer. @param ceiling allowed share of bad requests */
export function withWindow(sum: WindowRange, w: Counts, ceiling: number): WindowRange {
  const m = w.q2 > 0 ? (w.n * w.n) / w.q2 : 1;
  const slotted = m > 1;
  const worse = w.n > 0 && (sum.worstN === 0 || w.x - ceiling * w.n > sum.worstX - ceiling * sum.worstN);
  return {
    windows: sum.windows + 1,
    n: sum.n + w.n,
    x: sum.x + w.x,
    mu: sum.mu + w.mu,
    q: sum.q + w.n * w.n,
    a: sum.a + (slotted ? w.s2 - (w.x * w.x) / m : 0),
    single: sum.single + (slotted ? w.x * (1 - 1 / m) : 0),
    spread: sum.spread + (slotted ? ((2 * w.x * (w.x - 1)) / m) * (1 - 1 / m) : 0),
    e: sum.e + w.e,
    v: sum.v + w.v,
    xe: sum.xe + w.xe,
    ne: sum.ne + w.ne,
    worstN: worse ? w.n : sum.worstN,
    worstX: worse ? w.x : sum.worstX,
    worstMu: worse ? w.mu : sum.worstMu,
  };
}

/** The window range without its worst window, as required by the persistence key. */
export function withoutWorst(sum: WindowRange): {
  readonly n: number;
  readonly x: number;
  readonly mu: number;
  readonly q: number;
} {
  return {
    n: sum.n - sum.worstN,
    x: sum.x - sum.worstX,
    mu: sum.mu - sum.worstMu,
    q: sum.q - sum.worstN * sum.worstN,
  };
}
