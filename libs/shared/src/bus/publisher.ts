/**
 * The pipelined publisher: many messages in flight, each acknowledged by the stream, none lost and (with an id) none stored
 * twice.
 *
 *     publish ─▶ waiting ─▶ in flight ─ack─▶ stored
 *                   ▲           │ no response in time, 503, 429, connection lost
 *                   │           ▼
 *                 limit      sent again under the same Nats-Msg-Id, until attempts or time run out ─▶ retryable fault
 *
 * One wildcard inbox receives all acknowledgements; its last token, a counter in base 36, identifies the message. One timer,
 * which runs only while messages are unacknowledged, serves them all. This makes it several times cheaper than one request per
 * message.
 *
 * After a failure, messages in flight together may be stored in another order. Await each publish if order matters.
 * A message without an id may be stored twice if its first acknowledgement is lost.
 */
import { createInbox, type Msg, type MsgHdrs, type NatsConnection } from "@nats-io/nats-core";
import { type Clock, systemClock } from "../runtime/clock.ts";
import { backoffMs, type Fault, retryable, terminal } from "../runtime/faults.ts";
import type { Outgoing, Stored } from "./bus.ts";
import { createFifo, type Fifo } from "./fifo.ts";
import { encodeHeaders } from "./publish-headers.ts";
import { readResponse } from "./publish-response.ts";

export interface PublisherOptions {
  /** Maximum number of messages in flight, 1 to 1024. Beyond that nats-server may drop what it cannot queue. */
  readonly window?: number;
  /** A message is sent again after this long without an acknowledgement. */
  readonly ackTimeoutMs?: number;
  /** Maximum number of attempts per message; those lost with a connection do not count. */
  readonly maxAttempts?: number;
  /** From `publish` to the fault, regardless of what happens in between. */
  readonly timeoutMs?: number;
  /** Maximum number of messages waiting for the window; the next one is rejected with the fault `publish_overload`. */
  readonly maxWaiting?: number;
  readonly clock?: Clock;
}

export interface PipelinedPublisher {
  /** Resolves when the stream has stored the message. */
  publish(message: Outgoing): Promise<Stored>;
  /** Resolves as soon as no message waits for the window: back-pressure for the producer. */
  ready(): Promise<void>;
  /**
   * Called by the owner of the connection. Nothing is sent while it is down, and messages in flight are sent again when it is
   * back.
   */
  setConnected(connected: boolean): void;
  /** Rejects all unacknowledged messages, and all later ones, with `fault`. */
  close(fault: Fault): void;
  /** Number of messages sent more than once, for metrics. */
  readonly resent: number;
}

interface Pending {
  readonly token: string;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: MsgHdrs | undefined;
  readonly resolve: (stored: Stored) => void;
  readonly reject: (fault: Fault) => void;
  /** On the monotonic clock, like `retryAtMs`. */
  readonly deadlineMs: number;
  attempts: number;
  retryAtMs: number;
  lastFailure: string;
}

interface Publishing {
  readonly connection: NatsConnection;
  readonly limits: Required<Omit<PublisherOptions, "clock">>;
  readonly clock: Clock;
  /** The inbox of all acknowledgements, without the token at its end. */
  readonly inbox: string;
  readonly inFlight: Map<string, Pending>;
  readonly waiting: Fifo<Pending>;
  readyListeners: (() => void)[];
  connected: boolean;
  closed: Fault | undefined;
  sweeping: boolean;
  resent: number;
}

const MAX_WINDOW = 1024;
const SWEEP_MS = 100;
const RETRY = { baseMs: 100, ceilingMs: 2_000 };
/** Creates a publisher on one connection. The owner reports the state of the connection with `setConnected`. */
export function createPublisher(connection: NatsConnection, options: PublisherOptions = {}): PipelinedPublisher {
  const publishing: Publishing = {
    connection,
    limits: {
      window: Math.min(Math.max(options.window ?? 512, 1), MAX_WINDOW),
      ackTimeoutMs: options.ackTimeoutMs ?? 2000,
      maxAttempts: options.maxAttempts ?? 10,
      timeoutMs: options.timeoutMs ?? 15_000,
      maxWaiting: options.maxWaiting ?? 65_536,
    },
    clock: options.clock ?? systemClock,
    inbox: `${createInbox()}.`,
    inFlight: new Map(),
    waiting: createFifo(),
    readyListeners: [],
    connected: true,
    closed: undefined,
    sweeping: false,
    resent: 0,
  };
  const subscription = connection.subscribe(`${publishing.inbox}*`, {
    callback: (error, message) => {
      if (error === null) onResponse(publishing, message);
      else {
        const text = `this user has no permission to read responses on ${publishing.inbox}*: ${error.message}`;
        close(terminal("publish_denied", text, error));
      }
    },
  });
  const close = (fault: Fault): void => {
    if (publishing.closed === undefined) subscription.unsubscribe();
    closePublishing(publishing, fault);
  };
  let counter = 0;

  return {
    publish(message) {
      counter += 1;
      return publish(publishing, message, counter.toString(36));
    },
    ready() {
      if (publishing.closed !== undefined) return Promise.reject(publishing.closed);
      if (hasRoom(publishing)) return Promise.resolve();
      return new Promise((resolve) => publishing.readyListeners.push(resolve));
    },
    setConnected: (connected) => setConnected(publishing, connected),
    close,
    get resent() {
      return publishing.resent;
    },
  };
}

/** Whether a message would be sent at once. */
function hasRoom({ inFlight, limits, waiting }: Publishing): boolean {
  return inFlight.size < limits.window && waiting.size === 0;
}

function publish(publishing: Publishing, message: Outgoing, token: string): Promise<Stored> {
  const { closed, limits, waiting, inFlight, clock } = publishing;
  if (closed !== undefined) return Promise.reject(closed);
  if (waiting.size >= limits.maxWaiting) {
    const text = `${limits.maxWaiting} messages are already waiting; publish more slowly, or retry later`;
    return Promise.reject(retryable("publish_overload", text));
  }
  return new Promise((resolve, reject) => {
    const pending: Pending = {
      token,
      subject: message.subject,
      data: typeof message.data === "string" ? Buffer.from(message.data) : message.data,
      headers: encodeHeaders(message.id, message.headers),
      resolve,
      reject,
      deadlineMs: clock.monotonicMs() + limits.timeoutMs,
      attempts: 0,
      retryAtMs: 0,
      lastFailure: "no response from the broker",
    };
    if (publishing.connected && hasRoom(publishing)) {
      inFlight.set(token, pending);
      send(publishing, pending);
    } else waiting.push(pending);
    keepSweeping(publishing);
  });
}

function send({ connection, clock, limits, inbox, inFlight }: Publishing, pending: Pending): void {
  pending.attempts += 1;
  pending.retryAtMs = clock.monotonicMs() + limits.ackTimeoutMs;
  const reply = inbox + pending.token;
  try {
    connection.publish(pending.subject, pending.data, pending.headers ? { reply, headers: pending.headers } : { reply });
  } catch (cause) {
    inFlight.delete(pending.token);
    pending.reject(terminal("publish_invalid", `cannot publish on ${pending.subject}: ${(cause as Error).message}`, cause));
  }
}

function onResponse(publishing: Publishing, message: Msg): void {
  const { inFlight, inbox, clock } = publishing;
  const pending = inFlight.get(message.subject.slice(inbox.length));
  if (pending === undefined) return;
  const response = readResponse(message);
  if (response.kind === "retry") {
    pending.lastFailure = response.reason;
    pending.retryAtMs = clock.monotonicMs() + backoffMs(pending.attempts, RETRY, Math.random);
    return;
  }
  inFlight.delete(pending.token);
  if (response.kind === "stored") pending.resolve(response.stored);
  else pending.reject(response.fault);
  fill(publishing);
}

/** Sends waiting messages while the window has room; then producers that wait for room continue. */
function fill(publishing: Publishing): void {
  const { inFlight, limits, waiting } = publishing;
  while (publishing.connected && inFlight.size < limits.window && waiting.size > 0) {
    const next = waiting.shift() as Pending;
    inFlight.set(next.token, next);
    send(publishing, next);
  }
  if (publishing.readyListeners.length === 0 || !hasRoom(publishing)) return;
  const listeners = publishing.readyListeners;
  publishing.readyListeners = [];
  for (const listener of listeners) listener();
}

/** Resends what was not acknowledged in time, and rejects what has run out of attempts or time. */
function sweep(publishing: Publishing): void {
  const { inFlight, waiting, clock, limits } = publishing;
  publishing.sweeping = false;
  const nowMs = clock.monotonicMs();
  for (const pending of inFlight.values()) {
    if (nowMs >= pending.deadlineMs) reject(publishing, pending, outOfTime(publishing, pending));
    else if (publishing.connected && nowMs >= pending.retryAtMs) {
      if (pending.attempts >= limits.maxAttempts) reject(publishing, pending, outOfAttempts(pending));
      else {
        publishing.resent += 1;
        send(publishing, pending);
      }
    }
  }
  for (let first = waiting.first; first !== undefined && nowMs >= first.deadlineMs; first = waiting.first) {
    waiting.shift();
    first.reject(outOfTime(publishing, first));
  }
  fill(publishing);
  keepSweeping(publishing);
}

function keepSweeping(publishing: Publishing): void {
  const { sweeping, closed, inFlight, waiting, clock } = publishing;
  if (sweeping || closed !== undefined || (inFlight.size === 0 && waiting.size === 0)) return;
  publishing.sweeping = true;
  clock.setTimer(SWEEP_MS, () => sweep(publishing));
}

function reject({ inFlight }: Publishing, pending: Pending, fault: Fault): void {
  inFlight.delete(pending.token);
  pending.reject(fault);
}

function outOfAttempts({ subject, attempts, lastFailure }: Pending): Fault {
  return retryable("publish_timeout", `${subject} was not stored after ${attempts} attempts: ${lastFailure}`);
}

function outOfTime({ connected, limits }: Publishing, { subject, lastFailure }: Pending): Fault {
  const why = connected ? lastFailure : "not connected to the broker";
  return retryable("publish_timeout", `${subject} was not stored within ${limits.timeoutMs} ms: ${why}`);
}

/** After a reconnect everything in flight is sent again, without counting the attempt that the connection lost. */
function setConnected(publishing: Publishing, connected: boolean): void {
  if (publishing.connected === connected) return;
  publishing.connected = connected;
  if (!connected) return;
  for (const pending of publishing.inFlight.values()) {
    pending.attempts -= 1;
    publishing.resent += 1;
    send(publishing, pending);
  }
  fill(publishing);
}

function closePublishing(publishing: Publishing, fault: Fault): void {
  if (publishing.closed !== undefined) return;
  publishing.closed = fault;
  const { inFlight, waiting } = publishing;
  const unanswered = [...inFlight.values(), ...waiting.clear()];
  inFlight.clear();
  for (const pending of unanswered) pending.reject(fault);
  for (const listener of publishing.readyListeners) listener();
  publishing.readyListeners = [];
}
