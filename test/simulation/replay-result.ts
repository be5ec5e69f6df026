/** The expected records: a pure reduction of the broker's log, from the first message, without interruption. */
import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import type { Effect } from "../../services/evaluator/src/core/effects.ts";
import type { Input } from "../../services/evaluator/src/core/inputs.ts";
import type { StoredRecord } from "./history.ts";
import { START_MS } from "./kernel.ts";
import type { Product } from "./product.ts";
import type { Finished } from "./world.ts";

export interface Expected {
  readonly kind: Effect["kind"];
  /** Its id, or for a lane record its text. */
  readonly id: string;
  readonly text: string;
  /** Its broker time, milliseconds since the epoch. */
  readonly atMs: number;
  /** The input that caused it; Infinity: the clock at the end. */
  readonly sequence: number;
  /** True if a deadline before that input decided it, not the input itself. */
  readonly byDeadline: boolean;
}

export interface ReplayResult {
  readonly inputs: readonly Input[];
  readonly expected: readonly Expected[];
}

export function inputsOf(product: Product, stored: readonly StoredRecord[]): Input[] {
  const read = product.createInputReader();
  const inputs: Input[] = [];
  for (const record of stored) {
    if (record.stream !== "INPUTS") continue;
    const { sequence, atMs, subject, id, data } = record;
    const message: StoredMessage = {
      subject,
      sequence,
      storedAtMs: atMs,
      id,
      data: Buffer.from(data),
      header: (name) => (name === "Nats-Msg-Id" ? id : undefined),
    };
    inputs.push(read(message));
  }
  return inputs;
}

export function expectedOf(effects: readonly Effect[], sequence: number, storedAtMs: number): Expected[] {
  return effects.flatMap((effect): Expected[] => {
    const made = (id: string, text: string, at: string): Expected => {
      const atMs = Date.parse(at);
      return { kind: effect.kind, id, text, atMs, sequence, byDeadline: atMs < storedAtMs };
    };
    switch (effect.kind) {
      case "verdict":
        return [made(effect.record.body.id, JSON.stringify(effect.record), effect.record.body.at)];
      case "incident":
        return [made(effect.incident.id, JSON.stringify(effect.incident), effect.incident.at)];
      case "dead":
        return [made(effect.id, JSON.stringify(effect.letter), effect.letter.stored_at)];
      case "lane": {
        const text = JSON.stringify(effect.record);
        return [made(text, text, effect.record.at)];
      }
      default:
        return [];
    }
  });
}

/** Reduces the whole log of a finished simulation. */
export function replayAll(product: Product, finished: Finished): ReplayResult {
  const inputs = inputsOf(product, finished.history.stored);
  const state = product.createState(finished.config);
  const expected: Expected[] = [];
  for (const input of inputs) {
    const { effects } = product.reduce(state, input);
    if (effects.length > 0 && input.kind !== "clock") expected.push(...expectedOf(effects, input.sequence, input.storedAtMs));
  }
  const endMs = START_MS + finished.endMs;
  expected.push(...expectedOf(product.reduce(state, { kind: "clock", atMs: endMs }).effects, Number.POSITIVE_INFINITY, endMs));
  return { inputs, expected };
}
