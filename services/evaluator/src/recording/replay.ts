/** The fold over recorded messages: once, twice, with duplicates, and interrupted at messages of one's choice. */
import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../core/checkpoint.ts";
import { reduce } from "../core/reducer.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import { createState, type State } from "../core/state.ts";
import { createInputReader } from "../io/inputs.ts";

export interface Refold {
  take(message: StoredMessage): void;
  /** Fires the deadlines that the broker's clock has passed at `atMs`, when no message does. */
  clock(atMs: number): void;
  /** Folds on from a copy of the state, as an evaluator does that died here and was started again. */
  crash(): void;
  readonly state: State;
  readonly verdicts: VerdictRecord[];
  readonly messages: number;
}

/** A fold that collects verdicts. @param from the state to begin with; the beginning of a log unless told */
export function refold(setup: ResolvedConfig, from: State = createState(setup)): Refold {
  const read = createInputReader();
  const verdicts: VerdictRecord[] = [];
  let state = from;
  let messages = 0;
  const keep = (effects: ReturnType<typeof reduce>["effects"]): void => {
    for (const effect of effects) if (effect.kind === "verdict") verdicts.push(effect.record);
  };
  return {
    take: (message) => {
      messages += 1;
      keep(reduce(state, read(message)).effects);
    },
    clock: (atMs) => keep(reduce(state, { kind: "clock", at: atMs }).effects),
    crash: () => {
      const again = decodeCheckpoint(encodeCheckpoint(state), setup);
      if (again === undefined) throw new Error("a checkpoint that was just written could not be read");
      state = again;
    },
    get state() {
      return state;
    },
    verdicts,
    get messages() {
      return messages;
    },
  };
}

export interface Difference {
  readonly index: number;
  readonly expected: VerdictRecord | undefined;
  readonly found: VerdictRecord | undefined;
}

/** The first verdict in which two folds differ, byte for byte; undefined when there is none. */
export function firstDifference(expected: readonly VerdictRecord[], found: readonly VerdictRecord[]): Difference | undefined {
  const length = Math.max(expected.length, found.length);
  for (let index = 0; index < length; index++) {
    if (JSON.stringify(expected[index]) !== JSON.stringify(found[index]))
      return { index, expected: expected[index], found: found[index] };
  }
  return undefined;
}
