/**
 * What goes into the judge and what comes out of it. The judge sees closed windows and nothing else: preconditions
 * (staleness, skew, disk, Doctor) are decided beside it, in `conditions.ts`, and the two meet in `verdict.ts`.
 */
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import type { Outcome, Reference } from "@aviary/shared/contract/verdict.ts";

/**
 * What the judge remembers of a run between windows: JSON, so that a checkpoint can hold it. Its owner is the judge; everybody
 * else only carries it.
 */
export type JudgeMemory = { readonly [key: string]: JudgeMemoryValue };
export type JudgeMemoryValue =
  | null
  | boolean
  | number
  | string
  | readonly JudgeMemoryValue[]
  | { readonly [key: string]: JudgeMemoryValue };

/** The run as the judge sees it. */
export interface JudgedRun {
  /** How many windows of this run have been judged before: the last window of `windows` is number `judged + 1`. */
  readonly judged: number;
  /** What the previous call returned as `memory`; null for the first window of a run. */
  readonly memory: JudgeMemory | null;
  /** Learned before the run and frozen at its start; null on a brand-new fleet. */
  readonly reference: Reference | null;
  /** Does the fleet have a stable slice at all? */
  readonly hasStable: boolean;
}

export interface ModeOutcome {
  readonly verdict: Outcome;
  /** Why it is not a pass: empty on a pass. Most important first. */
  readonly reasons: readonly Reason[];
  /** Below a limit but worth seeing. */
  readonly warnings: readonly Reason[];
  /** The evidence that promotion asks for exists now. The fold adds the count of pass windows and makes it sticky. */
  readonly promotable: boolean;
  readonly concerns: { readonly errors: Outcome; readonly latency: Outcome; readonly queue: Outcome };
}

export interface JudgeOutcome {
  readonly literal: ModeOutcome;
  readonly twoKey: ModeOutcome;
  /** Consecutive windows, ending with this one, whose 5xx rate or p99 was over its ceiling. */
  readonly consecutiveOver: number;
  /** Smallest probability of luck over all stretches and metrics; null when nothing could be computed. */
  readonly luck: number | null;
  readonly noise: { readonly rho: number; readonly phi: number; readonly reference_windows: number } | null;
  readonly memory: JudgeMemory;
}

/** The outcome of the mode in force. */
export function inForce(outcome: JudgeOutcome, mode: "two-key" | "literal"): ModeOutcome {
  return mode === "literal" ? outcome.literal : outcome.twoKey;
}
