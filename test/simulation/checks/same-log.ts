/**
 * Invariant 5: the published records are what the log yields, byte for byte, in order, without duplicates or omissions, whichever
 * replica published them.
 */
import { START_MS } from "../kernel.ts";
import type { Case, InvariantCheck, Violation } from "./check.ts";
import { seconds } from "./check.ts";

/** A deadline of the last moments may not have fired yet. */
const LAST_MOMENTS_MS = 5_000;

export const sameVerdicts: InvariantCheck = ({ finished, replayed, verdicts }) => {
  const expected = replayed.expected.filter(({ kind }) => kind === "verdict");
  const seen = new Set<string>();
  for (const [index, { body, text, storedAtMs, node }] of verdicts.entries()) {
    const atMs = storedAtMs - START_MS;
    if (seen.has(body.id)) return { invariant: "5", what: `${node} published verdict ${body.id} (of ${body.at}) twice`, atMs };
    seen.add(body.id);
    const wanted = expected[index];
    if (wanted?.text === text) continue;
    const known = expected.findIndex((other) => other.text === text);
    if (known > index) {
      const lost = known - index;
      return { invariant: "5", what: `${lost} verdicts are missing before ${body.id} (of ${body.at}) from ${node}`, atMs };
    }
    return { invariant: "5", what: `${node} published ${difference(text, wanted?.text)}`, atMs };
  }
  const missing = expected[verdicts.length];
  if (missing !== undefined && missing.atMs < START_MS + finished.endMs - LAST_MOMENTS_MS) {
    return {
      invariant: "5",
      what: `the verdict of ${seconds(missing.atMs - START_MS)} was never published`,
      atMs: finished.endMs,
    };
  }
  return undefined;
};

function difference(text: string, wanted: string | undefined): string {
  if (wanted === undefined) return `a verdict that the log does not yield: ${text.slice(0, 200)}`;
  let at = 0;
  while (text[at] === wanted[at]) at += 1;
  const from = Math.max(0, at - 60);
  return `a verdict that the log does not yield: …${text.slice(from, at + 60)}… instead of …${wanted.slice(from, at + 60)}…`;
}

/** The same for incidents, dead letters, lane records and the demand. */
export const sameEffects: InvariantCheck = ({ finished, replayed }) => {
  const lastMs = START_MS + finished.endMs - LAST_MOMENTS_MS;
  for (const [kind, stream] of [
    ["incident", "INCIDENTS"],
    ["dead", "DEAD"],
  ] as const) {
    const stored = finished.history.stored.filter((record) => record.stream === stream && record.node.startsWith("evaluator"));
    const published = new Set(stored.map(({ id }) => id));
    if (published.size < stored.length)
      return { invariant: "5", what: `a message of ${stream} is stored twice`, atMs: finished.endMs };
    const expected = replayed.expected.filter((effect) => effect.kind === kind);
    const missing = expected.find(({ id, atMs }) => !published.has(id) && atMs < lastMs);
    if (missing !== undefined)
      return { invariant: "5", what: `never published: ${missing.text.slice(0, 200)}`, atMs: missing.atMs - START_MS };
    const known = new Set(expected.map(({ id }) => id));
    const extra = stored.find(({ id }) => !known.has(id!));
    if (extra !== undefined)
      return {
        invariant: "5",
        what: `published, but not yielded by the log: ${extra.data.slice(0, 200)}`,
        atMs: extra.atMs - START_MS,
      };
  }
  return lastLane(finished, replayed);
};

function lastLane(finished: Case["finished"], replayed: Case["replayed"]): Violation | undefined {
  if (finished.demand === undefined) return undefined;
  const lastMs = START_MS + finished.endMs - LAST_MOMENTS_MS;
  const records = replayed.expected.filter(({ kind }) => kind === "lane");
  const put = finished.history.puts.findLast(({ bucket }) => bucket === "lane");
  const place = records.findIndex(({ text }) => text === put?.value);
  const atMs = finished.endMs;
  if (put !== undefined && place < 0)
    return { invariant: "5", what: `a lane record that the log does not yield: ${String(put.value)}`, atMs };
  const next = records[place + 1];
  if (next !== undefined && next.atMs < lastMs)
    return { invariant: "5", what: `the lane record of ${next.atMs} was never written`, atMs };
  const depth = put === undefined ? 0 : (JSON.parse(put.value as string) as { depth: number }).depth;
  if (finished.demand === depth) return undefined;
  return { invariant: "5", what: `KEDA reads ${finished.demand} waiting jobs, the lane record has ${depth}`, atMs };
}
