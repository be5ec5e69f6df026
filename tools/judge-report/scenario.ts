/** Simulated traffic as plain data: a scenario can be sent to a worker, and its JSON text is part of its seed. */

export interface Scenario {
  readonly traffic: Traffic;
  /** Share of the canary's requests that fail, window by window; the last value repeats. */
  readonly rate: readonly number[];
  /** Windows of a run; 12 (an hour) by default. */
  readonly windows?: number;
  /** Rates vary between windows with this intra-class correlation (rho), on both slices. */
  readonly overdispersion?: number;
  /** Failures occur in bursts, on both slices. */
  readonly burst?: Burst;
  /** The stable slice beside the canary. */
  readonly stable?: Stable;
  /** For this many seconds of one window the canary fails at this rate: at any time, or within one sub-window. */
  readonly spike?: { readonly rate: number; readonly seconds: number; readonly withinSlot?: boolean };
  /**
   * For several consecutive windows both slices fail at this rate, differing by up to this share: from window `at` on, counted from
   * 0, or at a random position.
   */
  readonly incident?: { readonly rate: number; readonly windows: number; readonly unequal: number; readonly at?: number };
  /** AZs of equal traffic; `rates` replaces `rate` in each, and `stableRates` stable's. One AZ by default. */
  readonly azs?: { readonly rates: readonly number[]; readonly stableRates: readonly number[] };
  /** The judge's knowledge before the run. */
  readonly knowledge: Knowledge;
}

/** Requests per window on the canary. */
export type Traffic =
  | { readonly kind: "steady"; readonly requests: number }
  /** Up to six times `requests` and back within the hour, at a random phase. */
  | { readonly kind: "daily"; readonly requests: number }
  | { readonly kind: "alternating"; readonly low: number; readonly high: number }
  /** None in the first windows of the run, then steady. */
  | { readonly kind: "idle"; readonly windows: number; readonly requests: number }
  /** Irregular counts around `requests` (lognormal, coefficient of variation 90%): a small load balancer. */
  | { readonly kind: "irregular"; readonly requests: number }
  /** The canary's share of `requests` rises through 5%, 10%, 20%, 40%, 60% and 80%, two windows each; stable has the rest. */
  | { readonly kind: "ramp"; readonly requests: number };

export interface Burst {
  /** Mean number of failures per burst; geometric. */
  readonly size: number;
  /** The duration of a burst in seconds; 0: simultaneous. */
  readonly seconds: number;
}

export interface Stable {
  /** Multiple of the canary's requests. A ramp gives stable the remainder. */
  readonly times: number;
  readonly rate: number;
}

export type Knowledge =
  /** No reference: the defaults. */
  | "nothing"
  /** The figures themselves. */
  | { readonly overdispersion: number; readonly burstFactor: number }
  /**
   * A reference of this many healthy windows, each with `times` the canary's requests, at the given healthy rate; one of them, at
   * a random position, fails at the rate `incident`.
   */
  | { readonly windows: number; readonly times: number; readonly rate: number; readonly incident?: number };

export const WINDOWS = 12;
export const WINDOW_SECONDS = 300;

const RAMP = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8] as const;

/** The value of window `t` in a list whose last value repeats. */
export function at(list: readonly number[], t: number): number {
  return list[Math.min(Math.max(t, 0), list.length - 1)]!;
}

/** The canary's share of a ramp in window `t`, counted from 0. */
export function rampShare(t: number): number {
  return at(RAMP, t >> 1);
}
