/**
 * The input and output of the judge. The judge reads closed windows only: preconditions (staleness, skew, disk, Doctor) are
 * evaluated in `conditions.ts`, and `verdict.ts` combines the two.
 */
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import type { Outcome, Reference } from "@aviary/shared/contract/verdict.ts";
import type { Noise } from "./noise.ts";
import type { RuleVersion } from "./rule-version.ts";

/** The judge's memory of a run between windows: JSON, so that a checkpoint can contain it. Opaque outside the judge. */
export type JudgeMemory = { readonly [key: string]: JudgeMemoryValue };
export type JudgeMemoryValue =
  | null
  | boolean
  | number
  | string
  | readonly JudgeMemoryValue[]
  | { readonly [key: string]: JudgeMemoryValue };

/** The run, as seen by the judge. */
export interface JudgedRun {
  /** How many windows of this run were judged before: the last of `windows` is number `judged + 1`. */
  readonly judged: number;
  /** The previous call's `memory`; null for the first window of a run. */
  readonly memory: JudgeMemory | null;
  /** Learned before the run and frozen at its start; null for a new fleet. */
  readonly reference: Reference | null;
  /** Whether the fleet has a stable slice. */
  readonly hasStable: boolean;
  /** The version of the rule; the current one if absent. */
  readonly rule?: RuleVersion;
}

export interface ModeOutcome {
  readonly verdict: Outcome;
  /** Why it is not a pass: empty for a pass. Most important first. */
  readonly reasons: readonly Reason[];
  /** Below a limit, but notable. */
  readonly warnings: readonly Reason[];
  /** The evidence required for promotion exists now. The reducer also requires consecutive passes, and keeps the result. */
  readonly promotable: boolean;
  readonly concerns: { readonly errors: Outcome; readonly latency: Outcome; readonly queue: Outcome };
}

/** The noise that a window was judged with. */
export interface JudgedNoise extends Noise {
  /** Windows that it was estimated from; 0 without a reference. */
  readonly referenceWindows: number;
}

export interface JudgeOutcome {
  readonly literal: ModeOutcome;
  readonly twoKey: ModeOutcome;
  /** Consecutive windows, ending with this one, whose 5xx rate or p99 was over its ceiling. */
  readonly consecutiveOver: number;
  /** The smallest p-value over all window ranges and metrics; null if none could be computed. */
  readonly pValue: number | null;
  readonly noise: JudgedNoise | null;
  /** The version of the rule that decided. */
  readonly rule: RuleVersion;
  /** Indexes of the last windows that left the sums of the run because stable accounts for them, oldest first. */
  readonly leftOut: readonly number[];
  readonly memory: JudgeMemory;
}

/** The outcome of the configured mode. */
export function inForce(outcome: JudgeOutcome, mode: "two-key" | "literal"): ModeOutcome {
  return mode === "literal" ? outcome.literal : outcome.twoKey;
}
