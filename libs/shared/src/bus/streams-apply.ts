/** Streams, buckets and durables on a NATS server: read the current state, compare, and apply the differences. */
import {
  AckPolicy,
  type ConsumerInfo,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamInfo,
} from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { millis, type NatsConnection, nanos } from "@nats-io/nats-core";
import { formatBytes } from "../runtime/bytes.ts";
import { terminal } from "../runtime/faults.ts";
import { busFault } from "./nats-fault.ts";
import {
  type ActualTopology,
  type BucketDefinition,
  type Difference,
  type DurableDefinition,
  diffStreams,
  type StreamDefinition,
  type StreamShape,
  type Topology,
} from "./streams.ts";

const BUCKET_PREFIX = "KV_";

/** The current state of the broker. Reads every stream and, for the streams in `wanted`, the durables listed there. */
export async function readTopology(connection: NatsConnection, wanted: Topology): Promise<ActualTopology> {
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const streams: (StreamShape & { readonly name: string })[] = [];
    const buckets: ActualTopology["buckets"][number][] = [];
    const durables: DurableDefinition[] = [];
    for await (const info of manager.streams.list()) {
      const { name } = info.config;
      if (name.startsWith(BUCKET_PREFIX)) buckets.push(bucketShape(info));
      else streams.push({ name, ...streamShape(info) });
    }
    for (const stream of new Set(wanted.durables.map((durable) => durable.stream))) {
      if (!streams.some((candidate) => candidate.name === stream)) continue;
      for await (const info of manager.consumers.list(stream)) {
        if (info.config.durable_name !== undefined) durables.push(durableShape(stream, info));
      }
    }
    return { streams, buckets, durables };
  } catch (error) {
    throw busFault(error, "reading the broker's streams");
  }
}

/** All differences from `wanted`; empty if there are none. */
export async function verifyStreams(connection: NatsConnection, wanted: Topology): Promise<Difference[]> {
  return diffStreams(await readTopology(connection, wanted), wanted);
}

/**
 * Creates what is missing and updates what can be updated in place; never deletes a stream or bucket; a lower limit removes the
 * oldest messages. Idempotent. Returns what it changed.
 * @throws Terminal `streams_differ` if differences remain that only recreating would fix, with all differences in the message
 */
export async function applyStreams(connection: NatsConnection, wanted: Topology): Promise<Difference[]> {
  const differences = await verifyStreams(connection, wanted);
  const stuck = differences.filter((difference) => difference.remedy === "recreate");
  if (stuck.length > 0) throw terminal("streams_differ", stuck.map((difference) => difference.text).join("\n"));
  let applying = "the streams";
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const todo = new Map(differences.map((difference) => [difference.object, difference.remedy]));
    for (const stream of wanted.streams) {
      applying = `stream ${stream.name} (${formatBytes(stream.maxBytes)})`;
      const remedy = todo.get(`stream ${stream.name}`);
      if (remedy === "create") await manager.streams.add({ name: stream.name, ...streamConfig(stream) });
      else if (remedy === "update") await manager.streams.update(stream.name, streamConfig(stream));
    }
    for (const bucket of wanted.buckets) {
      applying = `bucket ${bucket.name} (${formatBytes(bucket.maxBytes)})`;
      await applyBucket(connection, manager, bucket, todo.get(`bucket ${bucket.name}`));
    }
    for (const durable of wanted.durables) {
      applying = `durable ${durable.stream}/${durable.name}`;
      const remedy = todo.get(applying);
      if (remedy === "create")
        await manager.consumers.add(durable.stream, { durable_name: durable.name, ...DURABLE_FIXED, ...durableConfig(durable) });
      else if (remedy === "update") await manager.consumers.update(durable.stream, durable.name, durableConfig(durable));
    }
  } catch (error) {
    const doing = `applying ${applying} to the broker`;
    if (!isStorageFull(error)) throw busFault(error, doing);
    const advice = "give JetStream more storage (max_file), or use the smaller limits of `aviary streams apply --local`";
    throw terminal("broker_storage_full", `${doing}: ${(error as Error).message}; ${advice}`, error);
  }
  return differences;
}

/** JSStorageResourcesExceededErr and its siblings: https://github.com/nats-io/nats-server/blob/main/server/errors.json */
const STORAGE_CODES: ReadonlySet<number> = new Set([10_023, 10_028, 10_047]);
const isStorageFull = (error: unknown): boolean => error instanceof JetStreamApiError && STORAGE_CODES.has(error.code);

async function applyBucket(
  connection: NatsConnection,
  manager: JetStreamManager,
  bucket: BucketDefinition,
  remedy: Difference["remedy"] | undefined,
): Promise<void> {
  if (remedy === "create") {
    await new Kvm(connection).create(bucket.name, {
      history: 1,
      max_bytes: bucket.maxBytes,
      replicas: bucket.replicas,
      storage: StorageType.File,
    });
  } else if (remedy === "update") {
    const changes = { max_bytes: bucket.maxBytes, num_replicas: bucket.replicas, max_msgs_per_subject: 1 };
    await manager.streams.update(`${BUCKET_PREFIX}${bucket.name}`, changes);
  }
}

function streamShape({ config }: StreamInfo): StreamShape {
  return {
    subjects: config.subjects ?? [],
    retention: config.retention,
    maxAgeMs: millis(config.max_age),
    maxBytes: config.max_bytes,
    maxMessagesPerSubject: config.max_msgs_per_subject ?? -1,
    discard: config.discard,
    duplicateWindowMs: millis(config.duplicate_window),
    storage: config.storage,
    replicas: config.num_replicas,
  };
}

function streamConfig(stream: StreamDefinition) {
  return {
    description: stream.description,
    subjects: [...stream.subjects],
    retention:
      stream.retention === "workqueue"
        ? RetentionPolicy.Workqueue
        : stream.retention === "interest"
          ? RetentionPolicy.Interest
          : RetentionPolicy.Limits,
    max_age: nanos(stream.maxAgeMs),
    max_bytes: stream.maxBytes,
    max_msgs_per_subject: stream.maxMessagesPerSubject,
    discard: stream.discard === "old" ? DiscardPolicy.Old : DiscardPolicy.New,
    duplicate_window: nanos(stream.duplicateWindowMs),
    storage: stream.storage === "file" ? StorageType.File : StorageType.Memory,
    num_replicas: stream.replicas,
  };
}

function bucketShape({ config }: StreamInfo): ActualTopology["buckets"][number] {
  return {
    name: config.name.slice(BUCKET_PREFIX.length),
    maxBytes: config.max_bytes,
    replicas: config.num_replicas,
    history: config.max_msgs_per_subject ?? -1,
  };
}

const DURABLE_FIXED = { ack_policy: AckPolicy.Explicit, deliver_policy: DeliverPolicy.All } as const;

function durableConfig(durable: DurableDefinition) {
  return { filter_subject: durable.filter, ack_wait: nanos(durable.ackWaitMs), max_deliver: durable.maxDeliver ?? -1 };
}

function durableShape(stream: DurableDefinition["stream"], { config, name }: ConsumerInfo): DurableDefinition {
  const maxDeliver = config.max_deliver ?? -1;
  return {
    stream,
    name,
    filter: config.filter_subject ?? ">",
    ackWaitMs: millis(config.ack_wait ?? 0),
    ...(maxDeliver > 0 ? { maxDeliver } : {}),
  };
}
