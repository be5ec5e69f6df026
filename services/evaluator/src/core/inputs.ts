/** All inputs of the reducer: a closed list. Sequences and store times are the broker's. */
import type { Control } from "@aviary/shared/contract/control.ts";
import type { DeadReason } from "@aviary/shared/contract/dead.ts";
import type { Signal } from "@aviary/shared/contract/signal.ts";
import type { CanaryRef } from "@aviary/shared/contract/subjects.ts";

export interface SignalInput {
  readonly kind: "signal";
  readonly sequence: number;
  readonly storedAtMs: number;
  /** Identity already verified against the subject. */
  readonly signal: Signal;
  /** Key of the sending gateway, if known by the reader: building it takes as long as applying the signal. */
  readonly gateway?: string;
}

export interface ControlInput {
  readonly kind: "control";
  readonly sequence: number;
  readonly storedAtMs: number;
  readonly fleet: string;
  readonly canary: CanaryRef;
  readonly control: Control;
}

/** A message that fails validation: it only produces a dead letter. */
export interface UnreadableInput {
  readonly kind: "unreadable";
  readonly sequence: number;
  readonly storedAtMs: number;
  readonly subject: string;
  readonly reason: DeadReason;
  readonly text: string;
  readonly excerpt: string;
}

/** The broker's clock has passed `atMs`, and every message stored up to `atMs` was delivered: earlier deadlines may fire. */
export interface ClockInput {
  readonly kind: "clock";
  readonly atMs: number;
}

/** The log no longer contains the messages between the checkpoint and `sequence`. */
export interface LogGapInput {
  readonly kind: "log-gap";
  readonly sequence: number;
  readonly storedAtMs: number;
}

export type Input = SignalInput | ControlInput | UnreadableInput | ClockInput | LogGapInput;
