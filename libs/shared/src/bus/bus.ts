/**
 * The bus: an ordered log with subjects, plus small key-value buckets. Everything that crosses a process boundary in Aviary crosses here.
 *
 * Two implementations answer to this one interface: `nats.ts` (JetStream) and `memory.ts` (one process: `--embedded`, tests, simulation).
 * Both pass the one suite in `testing/bus-contract.ts`; where JetStream is stricter or stranger than one would like, the memory bus copies it.
 *
 * What is guaranteed
 * - A message is stored once: a publish with a message id that the stream has seen inside its duplicate window stores nothing and reports `duplicate`.
 * - `publish` resolves only after the stream has stored the message; it rejects with a fault of `runtime/faults.ts` (retryable or terminal).
 * - Messages of one stream have strictly growing sequences, and their store times never go back.
 * - `follow` delivers every stored message that matches, in order of sequence, none twice, none left out, across reconnects. Nothing is acknowledged.
 * - A slow follower slows its own reading and nobody else: the handler is synchronous, and `pause`/`resume` bound what is in flight.
 */
import type { BucketName, StreamName } from "./streams.ts";

export type Headers = Readonly<Record<string, string>>;

/** What to store. `id` becomes `Nats-Msg-Id`; without one a retry may store twice, so only tools leave it out. Bytes must stay as they are until it is stored. */
export interface Outgoing {
  readonly subject: string;
  readonly data: string | Uint8Array;
  readonly id?: string;
  readonly headers?: Headers;
}

/** The broker's word that it stored the message (or already had it). */
export interface Stored {
  readonly stream: string;
  readonly sequence: number;
  readonly duplicate: boolean;
}

/** A stored message. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  /** The broker's store time in milliseconds since the epoch: the only clock that a verdict knows. */
  readonly storedAt: number;
  readonly id: string | undefined;
  readonly data: Uint8Array;
  /** Read lazily: most messages are folded without looking at their headers. */
  header(name: string): string | undefined;
}

export interface FollowOptions {
  readonly stream: StreamName;
  /** Subject filters; empty means the whole stream. More than one needs nats-server 2.10 on the NATS bus: older servers are filtered on the client. */
  readonly subjects?: readonly string[];
  /** Where to begin: a sequence, a store time (a time to come is the end of the log as it is now), the last message of every subject and then on, all, or only what comes. */
  readonly from: { sequence: number } | { time: number } | "last-per-subject" | "all" | "new";
  /** Called in order, synchronously; must not throw. */
  readonly onMessage: (message: StoredMessage) => void;
  /** Called when reading stops for good (stream deleted, bus closed); reconnects are handled inside. */
  readonly onEnd?: (error: Error | undefined) => void;
}

export interface Follower {
  /** Resolves when all messages that were stored when `follow` was called have been delivered. */
  readonly caughtUp: Promise<void>;
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

export interface StreamState {
  readonly messages: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
}

/** A durable pull consumer as KEDA sees it. */
export interface DurableState {
  readonly pending: number;
  readonly ackPending: number;
}

/** One message taken from a durable consumer. Exactly one of the answers is given; a silent one comes again after the consumer's ack wait. */
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
  readonly storedAt: number;
}

/** A key-value bucket; `undefined` stands for absent and for deleted alike. */
export interface Bucket {
  get(key: string): Promise<BucketEntry | undefined>;
  put(key: string, value: string | Uint8Array): Promise<number>;
  /** Compare-and-set: writes only while the key is at `revision` (0: absent). Rejects with a terminal fault of code `conflict` otherwise. */
  update(key: string, value: string | Uint8Array, revision: number): Promise<number>;
  delete(key: string): Promise<void>;
  keys(): Promise<string[]>;
  /** Delivers what is there now, then every change; `undefined` value means deleted. */
  watch(onEntry: (key: string, entry: BucketEntry | undefined) => void): Promise<{ ready: Promise<void>; stop(): Promise<void> }>;
}

export type BusStatus = "connected" | "reconnecting" | "closed";

export interface Bus extends AsyncDisposable {
  readonly status: BusStatus;
  /** What the broker calls itself, for logs and `aviary status`: for example `nats-server 2.15.2` or `memory`. */
  readonly server: string;
  onStatus(listener: (status: BusStatus) => void): () => void;
  publish(message: Outgoing): Promise<Stored>;
  follow(options: FollowOptions): Promise<Follower>;
  /** The last message of one subject, read directly. */
  last(stream: StreamName, subject: string): Promise<StoredMessage | undefined>;
  streamState(stream: StreamName): Promise<StreamState>;
  /** The broker's clock now, milliseconds since the epoch: the store time of a message written for this purpose (older servers tell their time no other way). */
  brokerTime(): Promise<number>;
  bucket(name: BucketName): Promise<Bucket>;
  /** Creates or updates a durable pull consumer (explicit ack). `filter` is one subject. */
  ensureDurable(options: {
    stream: StreamName;
    name: string;
    filter: string;
    ackWaitMs: number;
    maxDeliver?: number;
  }): Promise<void>;
  durableState(stream: StreamName, name: string): Promise<DurableState>;
  /** Takes up to `max` messages now, waiting at most `waitMs` for the first. */
  take(stream: StreamName, durable: string, max: number, waitMs: number): Promise<Delivery[]>;
}
