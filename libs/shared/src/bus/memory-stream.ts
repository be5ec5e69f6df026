/** One stream of the memory bus: messages with increasing sequences, limits of age and size, and the ids of recent messages. */
import type { Headers, Outgoing, Stored, StoredMessage, StreamState } from "./bus.ts";
import type { StreamShape } from "./streams.ts";
import { matchesAny } from "./subject-match.ts";

export interface MemoryMessage extends StoredMessage {
  readonly bytes: number;
}

/** The relevant part of a `StreamShape`; storage and replicas have no meaning here. */
export type MemoryStreamShape = Pick<
  StreamShape,
  "subjects" | "maxAgeMs" | "maxBytes" | "maxMessagesPerSubject" | "duplicateWindowMs"
>;

export interface MemoryStream {
  readonly name: string;
  readonly shape: MemoryStreamShape;
  /** Stores a message and notifies the listeners; a known id stores nothing. */
  append(message: Outgoing): Stored;
  /** The message at `sequence`, unless a limit or an acknowledgement removed it. */
  at(sequence: number): MemoryMessage | undefined;
  lastOf(subject: string): MemoryMessage | undefined;
  /** Sequences of the last message of every subject the filters select, ascending. */
  lastPerSubject(filters: readonly string[]): number[];
  remove(sequence: number): void;
  state(): StreamState;
  onAppend(listener: () => void): () => void;
}

/** Approximate overhead per message on disk in JetStream, counted so that byte limits mean the same in both implementations. */
const OVERHEAD_BYTES = 30;
const ENCODER = new TextEncoder();

/**
 * Creates an empty stream. `now` is the broker's clock, milliseconds since the epoch; store times never decrease, even if that
 * clock does.
 */
export function createMemoryStream(name: string, shape: MemoryStreamShape, now: () => number): MemoryStream {
  const messages = new Map<number, MemoryMessage>();
  const createdAtMs = Math.floor(now());
  /**
   * The sequence of the oldest message; tracked separately, because finding the first key of a map that loses its oldest entries
   * is slow.
   */
  let first = 1;
  let last = 0;
  let bytes = 0;
  let lastStoredAt = 0;
  const lastSequences = new Map<string, number>();
  /** Ids in order of arrival, oldest first. */
  const seen = new Map<string, { readonly sequence: number; readonly at: number }>();
  const listeners = new Set<() => void>();

  function remove(sequence: number): void {
    const message = messages.get(sequence);
    if (message === undefined) return;
    messages.delete(sequence);
    bytes -= message.bytes;
    if (lastSequences.get(message.subject) === sequence) forgetLast(message.subject, sequence);
    while (first <= last && !messages.has(first)) first += 1;
  }

  function forgetLast(subject: string, sequence: number): void {
    lastSequences.delete(subject);
    for (let earlier = sequence - 1; earlier >= first; earlier -= 1) {
      if (messages.get(earlier)?.subject !== subject) continue;
      lastSequences.set(subject, earlier);
      return;
    }
  }

  function applyAge(): void {
    if (shape.maxAgeMs === 0) return;
    const oldest = now() - shape.maxAgeMs;
    for (let message = messages.get(first); message !== undefined && message.storedAtMs <= oldest; message = messages.get(first))
      remove(first);
  }

  function applyLimits(previous: number | undefined): void {
    if (shape.maxMessagesPerSubject === 1 && previous !== undefined) remove(previous);
    while (shape.maxBytes >= 0 && bytes > shape.maxBytes && messages.size > 1) remove(first);
  }

  function knownId(id: string, atMs: number): number | undefined {
    for (const [oldId, entry] of seen) {
      if (entry.at + shape.duplicateWindowMs > atMs) break;
      seen.delete(oldId);
    }
    return seen.get(id)?.sequence;
  }

  return {
    name,
    shape,
    at(sequence) {
      applyAge();
      return messages.get(sequence);
    },
    append(outgoing) {
      const storedAtMs = Math.max(Math.floor(now()), lastStoredAt);
      const known = outgoing.id === undefined ? undefined : knownId(outgoing.id, storedAtMs);
      if (known !== undefined) return { stream: name, sequence: known, duplicate: true };
      lastStoredAt = storedAtMs;
      applyAge();
      last += 1;
      const message = makeMessage(outgoing, last, storedAtMs);
      const previous = lastSequences.get(message.subject);
      messages.set(last, message);
      bytes += message.bytes;
      lastSequences.set(message.subject, last);
      if (message.id !== undefined) seen.set(message.id, { sequence: last, at: storedAtMs });
      applyLimits(previous);
      for (const listener of [...listeners]) listener();
      return { stream: name, sequence: message.sequence, duplicate: false };
    },
    lastOf(subject) {
      applyAge();
      const sequence = lastSequences.get(subject);
      return sequence === undefined ? undefined : messages.get(sequence);
    },
    lastPerSubject(filters) {
      applyAge();
      const sequences: number[] = [];
      for (const [subject, sequence] of lastSequences) if (matchesAny(filters, subject)) sequences.push(sequence);
      return sequences.sort((a, b) => a - b);
    },
    remove,
    state() {
      applyAge();
      // As in JetStream: a stream that was never written has 0 and 0, an emptied one starts after its last message.
      return { createdAtMs, messages: messages.size, firstSequence: last === 0 ? 0 : first, lastSequence: last };
    },
    onAppend(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function makeMessage(outgoing: Outgoing, sequence: number, storedAtMs: number): MemoryMessage {
  // A copy, as on a real broker: the sender may reuse its buffer.
  const data = typeof outgoing.data === "string" ? ENCODER.encode(outgoing.data) : outgoing.data.slice();
  const headers: Headers = outgoing.headers ?? {};
  let bytes = OVERHEAD_BYTES + outgoing.subject.length + data.length + (outgoing.id?.length ?? 0);
  for (const name of Object.keys(headers)) bytes += name.length + (headers[name] as string).length + 4;
  const header = (name: string): string | undefined => (name === "Nats-Msg-Id" ? outgoing.id : headers[name]);
  return { subject: outgoing.subject, sequence, storedAtMs, id: outgoing.id, data, header, bytes };
}
