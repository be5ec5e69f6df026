/**
 * The bus within one process, for `--embedded`, tests and simulation. The semantics of JetStream without network and disk.
 *
 * Deterministic: a publish is stored before the call returns, and followers are notified in tasks passed to `defer` (microtasks
 * by default), in store order. Time comes only from the clock.
 */
import { type Clock, systemClock } from "../runtime/clock.ts";
import { retryable, terminal } from "../runtime/faults.ts";
import type { Bucket, BucketEntry, Bus, BusStatus, StoredMessage } from "./bus.ts";
import { createMemoryDurable, type MemoryDurable } from "./memory-durable.ts";
import { followMemory, type MemoryFollower } from "./memory-follow.ts";
import { createMemoryStream, type MemoryStream, type MemoryStreamShape } from "./memory-stream.ts";
import { BUCKET_NAMES, type BucketName, LOCAL_MAX_BYTES, type StreamName, topology } from "./streams.ts";
import { matches, matchesAny } from "./subject-match.ts";

export interface MemoryBusOptions {
  readonly clock?: Clock;
  /** Runs a task later, by default as a microtask. A simulation passes its own queue. */
  readonly defer?: (task: () => void) => void;
  /** Byte limits of individual streams, where they differ from those of a local fleet. */
  readonly maxBytes?: Partial<Readonly<Record<StreamName, number>>>;
}

/** The default of nats-server. */
const MAX_PAYLOAD_BYTES = 1024 * 1024;
const BUCKET_SHAPE: MemoryStreamShape = {
  subjects: [],
  maxAgeMs: 0,
  maxBytes: -1,
  maxMessagesPerSubject: 1,
  duplicateWindowMs: 0,
};
const DELETED = "KV-Operation";

/** Creates a bus with all streams and buckets, empty. */
export function createMemoryBus(options: MemoryBusOptions = {}): Bus {
  const clock = options.clock ?? systemClock;
  const defer = options.defer ?? queueMicrotask;
  const now = (): number => clock.now();
  const definitions = topology({ maxBytes: { ...LOCAL_MAX_BYTES, ...options.maxBytes } }).streams;
  const streams = new Map(
    definitions.map((definition) => [definition.name, createMemoryStream(definition.name, definition, now)]),
  );
  const workQueues = new Set(
    definitions.filter((definition) => definition.retention === "workqueue").map((definition) => definition.name),
  );
  const buckets = new Map<BucketName, Bucket>();
  const durables = new Map<string, MemoryDurable>();
  const followers = new Set<MemoryFollower>();
  const listeners = new Set<(status: BusStatus) => void>();
  let status: BusStatus = "connected";

  function open(): void {
    if (status === "closed") throw terminal("bus_closed", "the memory bus is closed");
  }

  const streamOf = (name: StreamName): MemoryStream => streams.get(name) as MemoryStream;

  function durableOf(stream: StreamName, name: string): MemoryDurable {
    const durable = durables.get(`${stream}/${name}`);
    if (durable === undefined) throw terminal("durable_missing", `the durable ${stream}/${name} does not exist`);
    return durable;
  }

  function follow(stream: MemoryStream, request: Parameters<typeof followMemory>[1]): MemoryFollower {
    const follower = followMemory(
      stream,
      {
        ...request,
        onEnd: (error) => {
          followers.delete(follower);
          request.onEnd?.(error);
        },
      },
      defer,
    );
    followers.add(follower);
    return follower;
  }

  for (const name of BUCKET_NAMES) buckets.set(name, createBucket(createMemoryStream(name, BUCKET_SHAPE, now), open, follow));

  return {
    get status() {
      return status;
    },
    server: "memory",
    onStatus(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async publish(message) {
      open();
      if (message.data.length > MAX_PAYLOAD_BYTES) {
        throw terminal(
          "publish_invalid",
          `a message on ${message.subject} has ${message.data.length} bytes; the maximum is ${MAX_PAYLOAD_BYTES}`,
        );
      }
      for (const stream of streams.values())
        if (matchesAny(stream.shape.subjects, message.subject)) return stream.append(message);
      throw retryable("publish_timeout", `${message.subject} was not stored: no stream has this subject`);
    },
    async follow(request) {
      open();
      if (workQueues.has(request.stream))
        throw terminal("broker_refused", `${request.stream} is a work queue, which cannot be followed; take messages from it`);
      return follow(streamOf(request.stream), request);
    },
    async last(stream, subject) {
      open();
      return streamOf(stream).lastOf(subject);
    },
    async streamState(stream) {
      open();
      return streamOf(stream).state();
    },
    async brokerTime() {
      open();
      return Math.floor(clock.now());
    },
    async bucket(name) {
      open();
      return buckets.get(name) as Bucket;
    },
    async ensureDurable({ stream, name, filter, ackWaitMs, maxDeliver = -1 }) {
      open();
      const existing = durables.get(`${stream}/${name}`);
      if (workQueues.has(stream)) {
        const rival = [...durables].find(
          ([key, other]) => key !== `${stream}/${name}` && key.startsWith(`${stream}/`) && overlap(other.filter, filter),
        );
        if (rival !== undefined)
          throw terminal(
            "broker_refused",
            `${rival[0]} already consumes ${rival[1].filter}: a work queue has one consumer per subject`,
          );
      }
      if (existing === undefined)
        durables.set(
          `${stream}/${name}`,
          createMemoryDurable(streamOf(stream), workQueues.has(stream), clock, { filter, ackWaitMs, maxDeliver }),
        );
      else existing.configure({ filter, ackWaitMs, maxDeliver });
    },
    async durableState(stream, name) {
      open();
      return durableOf(stream, name).state();
    },
    async take(stream, durable, max, waitMs) {
      open();
      return durableOf(stream, durable).take(max, waitMs);
    },
    async [Symbol.asyncDispose]() {
      if (status === "closed") return;
      status = "closed";
      for (const follower of [...followers]) follower.end(undefined);
      for (const listener of [...listeners]) listener("closed");
    },
  };
}

/** Whether two filters can select the same subject; exact for the filters in use, where one contains the other. */
function overlap(a: string, b: string): boolean {
  return matches(a, b) || matches(b, a);
}

function createBucket(
  stream: MemoryStream,
  open: () => void,
  follow: (stream: MemoryStream, request: Parameters<typeof followMemory>[1]) => MemoryFollower,
): Bucket {
  const isDeleted = (message: StoredMessage): boolean => message.header(DELETED) !== undefined;
  const present = (key: string): StoredMessage | undefined => {
    const message = stream.lastOf(key);
    return message === undefined || isDeleted(message) ? undefined : message;
  };
  const entryOf = (message: StoredMessage): BucketEntry => ({
    key: message.subject,
    value: message.data,
    revision: message.sequence,
    storedAtMs: message.storedAtMs,
  });

  return {
    async get(key) {
      open();
      const message = present(key);
      return message === undefined ? undefined : entryOf(message);
    },
    async put(key, value) {
      open();
      return stream.append({ subject: key, data: value }).sequence;
    },
    async update(key, value, revision) {
      open();
      const current = present(key)?.sequence ?? 0;
      // A deletion marker has a revision too, and JetStream accepts either for "absent".
      const marker = current === 0 ? stream.lastOf(key)?.sequence : undefined;
      if (revision !== current && revision !== marker)
        throw terminal("conflict", `${stream.name}/${key} is at revision ${current}, not ${revision}`);
      return stream.append({ subject: key, data: value }).sequence;
    },
    async delete(key) {
      open();
      stream.append({ subject: key, data: "", headers: { [DELETED]: "DEL" } });
    },
    async keys() {
      open();
      return stream
        .lastPerSubject([])
        .map((sequence) => stream.at(sequence))
        .filter((message) => message !== undefined && !isDeleted(message))
        .map((message) => (message as StoredMessage).subject)
        .sort();
    },
    async watch(onEntry) {
      open();
      const known = new Set<string>();
      const follower = follow(stream, {
        from: "last-per-subject",
        onMessage: (message) => {
          const key = message.subject;
          if (!isDeleted(message)) {
            known.add(key);
            onEntry(key, entryOf(message));
          } else if (known.delete(key)) onEntry(key, undefined);
        },
      });
      return { ready: follower.caughtUp, stop: () => follower.stop() };
    },
  };
}
