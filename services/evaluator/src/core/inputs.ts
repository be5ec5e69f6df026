/** Everything that can reach the fold: a closed list. Sequences and store times are the broker's. */
import type { Control } from "@aviary/shared/contract/control.ts";
import type { DeadReason } from "@aviary/shared/contract/dead.ts";
import type { Signal } from "@aviary/shared/contract/signal.ts";
import type { CanaryRef } from "@aviary/shared/contract/subjects.ts";

export interface SignalInput {
  readonly kind: "signal";
  readonly sequence: number;
  readonly storedAt: number;
  /** Identity already checked against the subject. */
  readonly signal: Signal;
  /** Key of the gateway that sent it, where the reader knows it: putting it together takes as long as folding the signal. */
  readonly gateway?: string;
}

export interface ControlInput {
  readonly kind: "control";
  readonly sequence: number;
  readonly storedAt: number;
  readonly fleet: string;
  readonly canary: CanaryRef;
  readonly control: Control;
}

/** A message that no schema accepts: it changes nothing but what is said about it. */
export interface UnreadableInput {
  readonly kind: "unreadable";
  readonly sequence: number;
  readonly storedAt: number;
  readonly subject: string;
  readonly reason: DeadReason;
  readonly text: string;
  readonly excerpt: string;
}

/** The broker's clock has passed `at`, and everything stored up to `at` has been given: deadlines before it may fire. */
export interface ClockInput {
  readonly kind: "clock";
  readonly at: number;
}

/** The log no longer holds what lies between the checkpoint and `sequence`. */
export interface LogGapInput {
  readonly kind: "log-gap";
  readonly sequence: number;
  readonly storedAt: number;
}

export type Input = SignalInput | ControlInput | UnreadableInput | ClockInput | LogGapInput;
