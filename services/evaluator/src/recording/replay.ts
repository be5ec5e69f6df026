/** Replays recorded messages through the reducer, with the disturbances that must not change a verdict. */
import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../core/checkpoint.ts";
import { reduce } from "../core/reducer.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import { createState, type State } from "../core/state.ts";
import { createInputReader } from "../io/inputs.ts";

export interface Replay {
  /** Applies one message of the event log. */
  apply(message: StoredMessage): void;
  /** Advances the broker's clock, which fires the deadlines up to `atMs`. */
  advanceClock(atMs: number): void;
  /** Continues from a copy of the state, as an evaluator does after a restart. */
  restart(): void;
  readonly state: State;
  readonly verdicts: VerdictRecord[];
  /** The number of applied messages. */
  readonly messageCount: number;
}

/**
 * Collects the verdicts of the messages that are applied. @param initial the state before the first message; default the
 * beginning of a log
 */
export function createReplay(config: ResolvedConfig, initial: State = createState(config)): Replay {
  const parseInput = createInputReader();
  const verdicts: VerdictRecord[] = [];
  let state = initial;
  let messages = 0;
  const collect = (effects: ReturnType<typeof reduce>["effects"]): void => {
    for (const effect of effects) if (effect.kind === "verdict") verdicts.push(effect.record);
  };
  return {
    apply: (message) => {
      messages += 1;
      collect(reduce(state, parseInput(message)).effects);
    },
    advanceClock: (atMs) => collect(reduce(state, { kind: "clock", atMs: atMs }).effects),
    restart: () => {
      const restored = decodeCheckpoint(encodeCheckpoint(state), config);
      if (restored === undefined) throw new Error("cannot decode a checkpoint that was just encoded");
      state = restored;
    },
    get state() {
      return state;
    },
    verdicts,
    get messageCount() {
      return messages;
    },
  };
}

export interface VerdictDifference {
  readonly index: number;
  readonly expected: VerdictRecord | undefined;
  readonly found: VerdictRecord | undefined;
}

/** The first verdict that is not the same byte for byte. */
export function firstDifference(
  expected: readonly VerdictRecord[],
  found: readonly VerdictRecord[],
): VerdictDifference | undefined {
  const length = Math.max(expected.length, found.length);
  for (let index = 0; index < length; index++) {
    if (JSON.stringify(expected[index]) !== JSON.stringify(found[index]))
      return { index, expected: expected[index], found: found[index] };
  }
  return undefined;
}
