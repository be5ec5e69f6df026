/** Invariants 3 and 12: a checkpoint never points past a pending effect, and it contains the whole state. */
import type { StoredRecord } from "../history.ts";
import { START_MS } from "../kernel.ts";
import { expectedOf } from "../replay-result.ts";
import type { InvariantCheck } from "./check.ts";
import { seconds } from "./check.ts";

/** As seen by a reader of the format: where the reducer continues, and its time. */
function positionOf(text: string): { readonly replayFrom: number; readonly nowMs: number } {
  const replayFrom = Number(/"replay_from":(\d+)/.exec(text)?.[1]);
  const nowMs = Number(/"nowMs":(\d+)/.exec(text)?.[1]);
  return { replayFrom, nowMs };
}

const textOf = (value: string | Uint8Array): string => (typeof value === "string" ? value : Buffer.from(value).toString());

export const checkpointsFollowEffects: InvariantCheck = ({ finished, replayed }) => {
  const { history } = finished;
  const doneAt = new Map<string, number>();
  for (const { stream, id, order } of history.stored) {
    if (stream === "INPUTS" || id === undefined) continue;
    if (!doneAt.has(id)) doneAt.set(id, order);
  }
  for (const { bucket, value, order } of history.puts)
    if (bucket === "lane" && !doneAt.has(value as string)) doneAt.set(value as string, order);
  for (const { bucket, value, order, atMs, node } of history.puts) {
    if (bucket !== "checkpoint") continue;
    const { replayFrom, nowMs } = positionOf(textOf(value));
    const undone = replayed.expected.find(
      (effect) =>
        (effect.sequence < replayFrom || (effect.byDeadline && effect.atMs < nowMs)) &&
        (doneAt.get(effect.id) ?? Number.POSITIVE_INFINITY) > order,
    );
    if (undone !== undefined) {
      const when = seconds(undone.atMs - START_MS);
      const what = `${node} wrote a checkpoint that continues at input ${replayFrom}, and the ${undone.kind} of ${when} was not performed yet`;
      return { invariant: "3", what, atMs: atMs - START_MS };
    }
  }
  return undefined;
};

/** Inputs applied after a checkpoint: more than two windows. Applying all of them would cost as much as the simulation. */
const REPLAYED_INPUTS = 80;

/** Restores one checkpoint of the history and applies the log after it: nothing that follows may differ. */
export const restartIsReplay: InvariantCheck = ({ product, finished, replayed }) => {
  const { history, plan, config } = finished;
  const checkpoints = history.puts.filter(({ bucket }) => bucket === "checkpoint");
  const gaps = gapsOf(history.stored);
  // A checkpoint written while signals were missing reveals the most.
  const inGap = checkpoints.filter(({ order }) => gaps.some(({ from, to }) => order > from && order < to));
  const pool = inGap.length > 0 ? inGap : checkpoints;
  const chosen = pool[(plan.seed * 7) % Math.max(1, pool.length)];
  if (chosen === undefined) return undefined;
  const atMs = chosen.atMs - START_MS;
  const state = product.decodeCheckpoint(textOf(chosen.value), config);
  if (state === undefined) return { invariant: "12", what: "a checkpoint cannot be restored", atMs };
  const { sequence, nowMs } = state;
  const behind = replayed.inputs.filter((input) => input.kind !== "clock" && input.sequence > sequence).slice(0, REPLAYED_INPUTS);
  const again: string[] = [];
  let lastSequence = sequence;
  for (const input of behind) {
    if (input.kind === "clock") continue;
    const { effects } = product.reduce(state, input);
    if (effects.length > 0) again.push(...expectedOf(effects, input.sequence, input.storedAtMs).map(({ text }) => text));
    lastSequence = input.sequence;
  }
  const whole = replayed.expected
    .filter(
      (effect) => effect.sequence > sequence && effect.sequence <= lastSequence && !(effect.byDeadline && effect.atMs < nowMs),
    )
    .map(({ text }) => text);
  const at = whole.findIndex((text, index) => text !== again[index]);
  if (at < 0 && again.length === whole.length) return undefined;
  const place = at < 0 ? whole.length : at;
  const actual = cut(again[place], whole[place]);
  const wanted = cut(whole[place], again[place]);
  const what = `restored from the checkpoint of ${seconds(atMs)}, the reducer yields ${actual} instead of ${wanted} without interruption`;
  return { invariant: "12", what, atMs };
};

/** Ranges of the broker's history in which a collector's signal was missing that arrived later. */
function gapsOf(stored: readonly StoredRecord[]): { readonly from: number; readonly to: number }[] {
  const gaps: { from: number; to: number }[] = [];
  const arrived = new Map<string, { readonly seq: number; readonly order: number }[]>();
  for (const { data, order } of stored) {
    const [, boot, seq] = /^\{"v":1,"id":"([^"]+)\.(\d+)"/.exec(data) ?? [];
    if (boot === undefined) continue;
    const earlier = arrived.get(boot) ?? [];
    const first = earlier.find((other) => other.seq > Number(seq));
    if (first !== undefined) gaps.push({ from: first.order, to: order });
    earlier.push({ seq: Number(seq), order });
    arrived.set(boot, earlier);
  }
  return gaps;
}

/** The part of `text` that differs from `other`. */
function cut(text: string | undefined, other: string | undefined): string {
  if (text === undefined) return "nothing";
  let at = 0;
  while (other !== undefined && at < text.length && text[at] === other[at]) at += 1;
  return `…${text.slice(Math.max(0, at - 40), at + 80)}…`;
}
