/** What traffic is simulated, as plain data: a scenario can be sent to a worker, and its text is part of its seed. */

export interface Scenario {
  readonly traffic: Traffic;
  /** Share of the canary's requests that fail, window by window; the last value stays. */
  readonly rate: readonly number[];
  /** Windows of a run; 12 when absent: an hour. */
  readonly windows?: number;
  /** Rates differ between windows by as much as this intra-class correlation, on both slices. */
  readonly rho?: number;
  /** Failures come in bursts, on both slices. */
  readonly burst?: Burst;
  /** The stable slice beside the canary. */
  readonly stable?: Stable;
  /** For so many seconds of one window the canary fails at this rate: at any moment, or within one slot. */
  readonly spike?: { readonly rate: number; readonly seconds: number; readonly withinSlot?: boolean };
  /** For some windows in a row both slices fail at this rate, unequally by up to this part. */
  readonly incident?: { readonly rate: number; readonly windows: number; readonly unequal: number };
  /** AZs of equal traffic; `rates` replaces `rate` in each, and `stableRates` stable's. One AZ when absent. */
  readonly azs?: { readonly rates: readonly number[]; readonly stableRates: readonly number[] };
  /** What the judge knows before the run. */
  readonly knows: Knowledge;
}

/** Requests a window on the canary. */
export type Traffic =
  | { readonly kind: "steady"; readonly n: number }
  /** Up to six times `n` and back within the hour, starting anywhere. */
  | { readonly kind: "daily"; readonly n: number }
  | { readonly kind: "alternating"; readonly low: number; readonly high: number }
  /** Irregular counts around `n` (lognormal, 90 % apart): a small load balancer. */
  | { readonly kind: "irregular"; readonly n: number }
  /** The canary's share of `n` rises 5, 10, 20, 40, 60, 80 %, two windows each; stable has the rest. */
  | { readonly kind: "ramp"; readonly n: number };

export interface Burst {
  /** Mean number of failures at once; geometric. */
  readonly size: number;
  /** Within how many seconds they come; 0: at one moment. */
  readonly seconds: number;
}

export interface Stable {
  /** Times the canary's requests. A ramp gives stable what the canary has not. */
  readonly times: number;
  readonly rate: number;
}

export type Knowledge =
  /** No reference: the defaults. */
  | "nothing"
  /** The figures themselves. */
  | { readonly rho: number; readonly phi: number }
  /** A reference of so many healthy windows, each with `times` the canary's requests; at the healthy rate given. */
  | { readonly windows: number; readonly times: number; readonly rate: number };

export const WINDOWS = 12;
export const WINDOW_SECONDS = 300;

const RAMP = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8] as const;

/** The value of window `t` of a list whose last value stays. */
export function at(list: readonly number[], t: number): number {
  return list[Math.min(Math.max(t, 0), list.length - 1)]!;
}

/** The canary's share of a ramp in window `t`, counted from 0. */
export function rampShare(t: number): number {
  return at(RAMP, t >> 1);
}
