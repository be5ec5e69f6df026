/**
 * The bus: an ordered log with subjects, plus small key-value buckets. Every message between processes passes through it.
 *
 * There are two implementations: `nats.ts` (JetStream) and `memory.ts` (one process: `--embedded`, tests, simulation).
 * Both pass the suite in `testing/bus-contract.ts`; where JetStream is stricter or unusual, the memory bus copies it.
 *
 * Guarantees
 * - A message is stored once: a publish whose message id the stream has seen within its duplicate window stores nothing and
 *   reports `duplicate`.
 * - `publish` resolves only after the stream has stored the message; it rejects with a fault of `runtime/faults.ts` (retryable or
 *   terminal).
 * - Sequences of one stream strictly increase, and its store times never decrease.
 * - `follow` delivers every stored message that matches, in order of sequence, exactly once, across reconnects. Nothing is
 *   acknowledged.
 * - A slow follower delays only itself: the handler is synchronous, and `pause`/`resume` bound the messages in flight.
 */
import type { BucketName, StreamName } from "./streams.ts";

export type Headers = Readonly<Record<string, string>>;

/**
 * The message to store. `id` becomes `Nats-Msg-Id`; without an id a retry may store the message twice, so only tools omit it. The
 * bytes must not change until the message is stored.
 */
export interface Outgoing {
  readonly subject: string;
  readonly data: string | Uint8Array;
  readonly id?: string;
  readonly headers?: Headers;
}

/** The broker's acknowledgement that it stored the message, or already had it. */
export interface Stored {
  readonly stream: string;
  readonly sequence: number;
  readonly duplicate: boolean;
}

/** A stored message. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  /** The broker's store time in milliseconds since the epoch: the only clock of a verdict. */
  readonly storedAtMs: number;
  readonly id: string | undefined;
  readonly data: Uint8Array;
  /** Decoded lazily: most messages are applied without reading their headers. */
  header(name: string): string | undefined;
}

export interface FollowOptions {
  readonly stream: StreamName;
  /**
   * Subject filters; empty selects the whole stream. With more than one, nats-server older than 2.10 is filtered on the client.
   */
  readonly subjects?: readonly string[];
  /**
   * The starting position: a sequence; a store time (one in the future is the current end of the log); the last message of every
   * subject and then everything new; all messages; or new messages only.
   */
  readonly from: { sequence: number } | { time: number } | "last-per-subject" | "all" | "new";
  /** Called in order and synchronously; must not throw. */
  readonly onMessage: (message: StoredMessage) => void;
  /** Called when reading ends permanently (stream deleted, bus closed); reconnects are handled internally. */
  readonly onEnd?: (error: Error | undefined) => void;
}

export interface Follower {
  /** Resolves when all messages that were stored at the time of the `follow` call have been delivered. */
  readonly caughtUp: Promise<void>;
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

export interface StreamState {
  /** When the stream was created, milliseconds since the epoch. A stream that was deleted and created again has another time. */
  readonly createdAtMs: number;
  readonly messages: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
}

/** A durable pull consumer, as KEDA reads it. */
export interface DurableState {
  readonly pending: number;
  readonly ackPending: number;
}

/**
 * A message taken from a durable consumer. Call exactly one of the acknowledgements; an unacknowledged message is redelivered
 * after the consumer's ack wait.
 */
export interface Delivery extends StoredMessage {
  readonly deliveryCount: number;
  ack(): Promise<void>;
  retry(afterMs: number): Promise<void>;
  reject(reason: string): Promise<void>;
}

export interface BucketEntry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
  /** The broker's store time of this revision, milliseconds since the epoch. */
  readonly storedAtMs: number;
}

/** A key-value bucket; `undefined` means absent or deleted. */
export interface Bucket {
  get(key: string): Promise<BucketEntry | undefined>;
  put(key: string, value: string | Uint8Array): Promise<number>;
  /**
   * Compare-and-set: writes only if the key is at `revision` (0: absent). Otherwise rejects with a terminal fault of code
   * `conflict`.
   */
  update(key: string, value: string | Uint8Array, revision: number): Promise<number>;
  delete(key: string): Promise<void>;
  keys(): Promise<string[]>;
  /** Delivers the current entries, then every change; an `undefined` value means deleted. */
  watch(onEntry: (key: string, entry: BucketEntry | undefined) => void): Promise<{ ready: Promise<void>; stop(): Promise<void> }>;
}

export type BusStatus = "connected" | "reconnecting" | "closed";

export interface Bus extends AsyncDisposable {
  readonly status: BusStatus;
  /** The broker's own description, for logs and `aviary status`, such as `nats-server 2.15.2` or `memory`. */
  readonly server: string;
  onStatus(listener: (status: BusStatus) => void): () => void;
  publish(message: Outgoing): Promise<Stored>;
  follow(options: FollowOptions): Promise<Follower>;
  /** Reads the last message of one subject directly. */
  last(stream: StreamName, subject: string): Promise<StoredMessage | undefined>;
  streamState(stream: StreamName): Promise<StreamState>;
  /**
   * The broker's current clock, milliseconds since the epoch; older servers expose it only as the store time of a message written
   * for this purpose.
   */
  brokerTime(): Promise<number>;
  bucket(name: BucketName): Promise<Bucket>;
  /** Creates or updates a durable pull consumer with explicit acknowledgement. `filter` is one subject. */
  ensureDurable(options: {
    stream: StreamName;
    name: string;
    filter: string;
    ackWaitMs: number;
    maxDeliver?: number;
  }): Promise<void>;
  durableState(stream: StreamName, name: string): Promise<DurableState>;
  /** Takes up to `max` messages, waiting at most `waitMs` for the first. */
  take(stream: StreamName, durable: string, max: number, waitMs: number): Promise<Delivery[]>;
}
