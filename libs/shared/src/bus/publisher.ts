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
import { type Fault, retryable, terminal } from "../runtime/faults.ts";
import type { Headers, Outgoing, Stored } from "./bus.ts";

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
  readonly deadline: number;
  attempts: number;
  sendAgainAt: number;
  refusal: string;
}

const MAX_WINDOW = 1024;
const SWEEP_MS = 100;
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 2000;
/** JetStream error codes: https://github.com/nats-io/nats-server/blob/main/server/errors.json */
const WRONG_LAST_SEQUENCE = new Set([10071, 10164]);
const DUPLICATE_IN_PROCESS = 10158;

/** Creates a publisher on one connection. The owner reports the state of the connection with `setConnected`. */
export function createPublisher(connection: NatsConnection, options: PublisherOptions = {}): PipelinedPublisher {
  const window = Math.min(Math.max(options.window ?? 512, 1), MAX_WINDOW);
  const ackTimeoutMs = options.ackTimeoutMs ?? 2000;
  const maxAttempts = options.maxAttempts ?? 10;
  const timeoutMs = options.timeoutMs ?? 15_000;
  const maxWaiting = options.maxWaiting ?? 65_536;
  const clock = options.clock ?? systemClock;

  const inbox = `${createInbox()}.`;
  const inFlight = new Map<string, Pending>();
  let waiting: Pending[] = [];
  let waitingHead = 0;
  let readyListeners: (() => void)[] = [];
  let counter = 0;
  let connected = true;
  let closed: Fault | undefined;
  let sweeping = false;
  let resent = 0;

  const subscription = connection.subscribe(`${inbox}*`, {
    callback: (error, message) => {
      if (error === null) onAnswer(message);
      else
        close(terminal("publish_denied", `the broker does not let this user read answers on ${inbox}*: ${error.message}`, error));
    },
  });

  function onAnswer(message: Msg): void {
    const pending = inFlight.get(message.subject.slice(inbox.length));
    if (pending === undefined) return;
    const answer = readAnswer(message);
    if (answer.kind === "stored") settle(pending, () => pending.resolve(answer.stored));
    else if (answer.kind === "refused") settle(pending, () => pending.reject(answer.fault));
    else {
      const ceilingMs = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(pending.attempts, 10));
      pending.refusal = answer.reason;
      pending.sendAgainAt = clock.monotonicMs() + ceilingMs / 2 + (Math.random() * ceilingMs) / 2;
    }
  }

  function settle(pending: Pending, answer: () => void): void {
    inFlight.delete(pending.token);
    answer();
    fill();
  }

  function fill(): void {
    while (connected && inFlight.size < window && waitingHead < waiting.length) {
      const next = waiting[waitingHead] as Pending;
      waitingHead += 1;
      inFlight.set(next.token, next);
      send(next);
    }
    if (waitingHead < waiting.length) {
      if (waitingHead < 4096) return;
      waiting = waiting.slice(waitingHead);
      waitingHead = 0;
      return;
    }
    waiting = [];
    waitingHead = 0;
    if (readyListeners.length === 0 || inFlight.size >= window) return;
    const listeners = readyListeners;
    readyListeners = [];
    for (const listener of listeners) listener();
  }

  function send(pending: Pending): void {
    pending.attempts += 1;
    pending.sendAgainAt = clock.monotonicMs() + ackTimeoutMs;
    const reply = inbox + pending.token;
    try {
      connection.publish(pending.subject, pending.data, pending.headers ? { reply, headers: pending.headers } : { reply });
    } catch (cause) {
      inFlight.delete(pending.token);
      pending.reject(terminal("publish_invalid", `cannot publish on ${pending.subject}: ${(cause as Error).message}`, cause));
    }
  }

  function sweep(): void {
    sweeping = false;
    const now = clock.monotonicMs();
    for (const pending of inFlight.values()) {
      if (now >= pending.deadline) {
        inFlight.delete(pending.token);
        pending.reject(outOfTime(pending));
      } else if (connected && now >= pending.sendAgainAt) {
        if (pending.attempts < maxAttempts) {
          resent += 1;
          send(pending);
        } else {
          inFlight.delete(pending.token);
          pending.reject(
            retryable(
              "publish_timeout",
              `${pending.subject} was not stored after ${pending.attempts} attempts: ${pending.refusal}`,
            ),
          );
        }
      }
    }
    while (waitingHead < waiting.length && now >= (waiting[waitingHead] as Pending).deadline) {
      const late = waiting[waitingHead] as Pending;
      waitingHead += 1;
      late.reject(outOfTime(late));
    }
    fill();
    keepSweeping();
  }

  function outOfTime(pending: Pending): Fault {
    const why = connected ? pending.refusal : "not connected to the broker";
    return retryable("publish_timeout", `${pending.subject} was not stored within ${timeoutMs} ms: ${why}`);
  }

  function keepSweeping(): void {
    if (sweeping || closed !== undefined || (inFlight.size === 0 && waitingHead >= waiting.length)) return;
    sweeping = true;
    clock.setTimer(SWEEP_MS, sweep);
  }

  function close(fault: Fault): void {
    if (closed !== undefined) return;
    closed = fault;
    subscription.unsubscribe();
    const unanswered = [...inFlight.values(), ...waiting.slice(waitingHead)];
    inFlight.clear();
    waiting = [];
    waitingHead = 0;
    for (const pending of unanswered) pending.reject(fault);
    for (const listener of readyListeners) listener();
    readyListeners = [];
  }

  return {
    publish(message) {
      if (closed !== undefined) return Promise.reject(closed);
      if (waiting.length - waitingHead >= maxWaiting) {
        return Promise.reject(
          retryable("publish_overload", `${maxWaiting} messages are already waiting; slow down or retry later`),
        );
      }
      return new Promise((resolve, reject) => {
        counter += 1;
        const pending: Pending = {
          token: counter.toString(36),
          subject: message.subject,
          data: typeof message.data === "string" ? Buffer.from(message.data) : message.data,
          headers: encodeHeaders(message.id, message.headers),
          resolve,
          reject,
          deadline: clock.monotonicMs() + timeoutMs,
          attempts: 0,
          sendAgainAt: 0,
          refusal: "no response from the broker",
        };
        if (connected && inFlight.size < window && waitingHead >= waiting.length) {
          inFlight.set(pending.token, pending);
          send(pending);
        } else waiting.push(pending);
        keepSweeping();
      });
    },
    ready() {
      if (closed !== undefined) return Promise.reject(closed);
      if (inFlight.size < window && waitingHead >= waiting.length) return Promise.resolve();
      return new Promise((resolve) => readyListeners.push(resolve));
    },
    setConnected(now) {
      if (connected === now) return;
      connected = now;
      if (!connected) return;
      for (const pending of inFlight.values()) {
        pending.attempts -= 1;
        resent += 1;
        send(pending);
      }
      fill();
    },
    close,
    get resent() {
      return resent;
    },
  };
}

type Answer = { kind: "stored"; stored: Stored } | { kind: "again"; reason: string } | { kind: "refused"; fault: Fault };

interface PubAck {
  readonly stream?: string;
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { readonly code: number; readonly err_code?: number; readonly description?: string };
}

/** The stream's response to one message; conditions that may pass are `again`. */
function readAnswer(message: Msg): Answer {
  // Only the server itself responds without a body: the subject has no subscriber (503).
  if (message.data.length === 0) return { kind: "again", reason: "no stream has this subject, or JetStream is not up yet" };
  let ack: PubAck;
  try {
    ack = JSON.parse(message.string()) as PubAck;
  } catch {
    return { kind: "again", reason: "the response is not JSON" };
  }
  if (ack.error === undefined && ack.stream !== undefined && ack.seq !== undefined) {
    return { kind: "stored", stored: { stream: ack.stream, sequence: ack.seq, duplicate: ack.duplicate === true } };
  }
  const { code = 0, err_code: detail = 0, description = "the response is not a publish acknowledgement" } = ack.error ?? {};
  if (code === 0 || code === 429 || code >= 500 || detail === DUPLICATE_IN_PROCESS) return { kind: "again", reason: description };
  if (WRONG_LAST_SEQUENCE.has(detail)) return { kind: "refused", fault: terminal("conflict", description) };
  return { kind: "refused", fault: terminal("publish_refused", `the stream rejected the message: ${description} (${detail})`) };
}

/**
 * Headers in wire format, encoded once: the client's own header type validates and copies at every send.
 * The format is one line per header after `NATS/1.0` (https://docs.nats.io/reference/reference-protocols/nats-protocol#hpub).
 */
function encodeHeaders(id: string | undefined, headers: Headers | undefined): MsgHdrs | undefined {
  if (id === undefined && headers === undefined) return undefined;
  let text = "NATS/1.0\r\n";
  if (id !== undefined) text += headerLine("Nats-Msg-Id", id);
  if (headers !== undefined) for (const name of Object.keys(headers)) text += headerLine(name, headers[name] as string);
  const bytes = Buffer.from(`${text}\r\n`);
  return { encode: () => bytes } as unknown as MsgHdrs;
}

function headerLine(name: string, value: string): string {
  if (/[\r\n]/.test(value) || /[\r\n:]/.test(name))
    throw terminal("publish_invalid", `header ${JSON.stringify(name)} contains a line break or colon`);
  return `${name}: ${value}\r\n`;
}
