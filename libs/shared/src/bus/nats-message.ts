/** JetStream messages as delivered by the bus, decoded as lazily as possible. */

import type { StoredMsg } from "@nats-io/jetstream";
import type { Msg } from "@nats-io/nats-core";
import type { StoredMessage } from "./bus.ts";

/** The metadata in the reply subject of a delivery. */
export interface DeliveryFacts {
  readonly deliveryCount: number;
  readonly streamSequence: number;
  readonly consumerSequence: number;
  /** Store time, milliseconds since the epoch, rounded down. */
  readonly storedAtMs: number;
  /** Messages that the consumer has left after this one. */
  readonly pending: number;
}

/**
 * Parses `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<nanoseconds>.<pending>`, or the longer form with
 * domain and account hash in front and an optional random token at the end
 * (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-15.md).
 * Scans from the left without splitting, because it runs once per message.
 * @throws RangeError if it is not such a subject
 */
export function parseDelivery(reply: string): DeliveryFacts {
  const numbers = reply.startsWith("$JS.ACK.") ? behind(reply, 8, 2) : -1;
  const facts =
    numbers < 0 ? undefined : (readNumbers(reply, numbers, true) ?? readNumbers(reply, behind(reply, numbers, 2), false));
  if (facts === undefined) throw new RangeError(`not a JetStream delivery reply subject: ${reply}`);
  return facts;
}

/** The offset after the given number of tokens, or -1. */
function behind(reply: string, from: number, tokens: number): number {
  let start = from;
  for (let skip = tokens; skip > 0; skip -= 1) {
    start = reply.indexOf(".", start) + 1;
    if (start === 0) return -1;
  }
  return start;
}

/** The five numbers; undefined if there are fewer, or if they must be the last tokens and are not. */
function readNumbers(reply: string, start: number, last: boolean): DeliveryFacts | undefined {
  const afterCount = reply.indexOf(".", start);
  const afterStream = reply.indexOf(".", afterCount + 1);
  const afterConsumer = reply.indexOf(".", afterStream + 1);
  const afterTime = reply.indexOf(".", afterConsumer + 1);
  const inOrder = start >= 0 && start < afterCount && afterCount < afterStream && afterStream < afterConsumer;
  if (!inOrder || afterConsumer >= afterTime) return undefined;
  const afterPending = reply.indexOf(".", afterTime + 1);
  if (last && afterPending >= 0) return undefined;
  return {
    deliveryCount: digits(reply, start, afterCount),
    streamSequence: digits(reply, afterCount + 1, afterStream),
    consumerSequence: digits(reply, afterStream + 1, afterConsumer),
    // Nanoseconds exceed the precision of a double; without their last six digits they are milliseconds, rounded down.
    storedAtMs: digits(reply, afterConsumer + 1, afterTime - 6),
    pending: digits(reply, afterTime + 1, afterPending < 0 ? reply.length : afterPending),
  };
}

function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let index = from; index < to; index += 1) value = value * 10 + (text.charCodeAt(index) - 48);
  return value;
}

/** A message from a consumer. A class, so that subject, headers and body are decoded only when read. */
export class ConsumedMessage implements StoredMessage {
  readonly sequence: number;
  readonly storedAtMs: number;
  protected readonly source: Msg;

  constructor(source: Msg, facts: DeliveryFacts) {
    this.source = source;
    this.sequence = facts.streamSequence;
    this.storedAtMs = facts.storedAtMs;
  }

  get subject(): string {
    return this.source.subject;
  }

  get data(): Uint8Array {
    return this.source.data;
  }

  get id(): string | undefined {
    return this.header("Nats-Msg-Id");
  }

  header(name: string): string | undefined {
    const headers = this.source.headers;
    return headers?.has(name) ? headers.get(name) : undefined;
  }
}

/** A message read directly from the stream. Store times are ISO-8601 with nanoseconds, rounded down as for a delivery. */
export function fromDirectRead(message: StoredMsg): StoredMessage {
  const header = (name: string): string | undefined => (message.header.has(name) ? message.header.get(name) : undefined);
  return {
    subject: message.subject,
    sequence: message.seq,
    storedAtMs: parseBrokerTime(message.timestamp),
    id: header("Nats-Msg-Id"),
    data: message.data,
    header,
  };
}

/** An ISO-8601 time with up to nine decimals as milliseconds since the epoch, rounded down. */
export function parseBrokerTime(text: string): number {
  return Date.parse(text.replace(/(\.\d{3})\d*/, "$1"));
}
