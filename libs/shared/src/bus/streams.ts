/**
 * Streams, buckets and durable consumers as data: what must exist on the broker, and how to describe differences.
 *
 * This file does not access a broker; `streams-apply.ts` reads, compares and applies. Nothing requires more than nats-server 2.9.
 */
import { demandSubject, subjectFilters } from "../contract/subjects.ts";
import { formatDuration } from "../contract/units.ts";
import { formatBytes } from "../runtime/bytes.ts";

export const STREAM_NAMES = ["INPUTS", "VERDICTS", "INCIDENTS", "DIGESTS", "RECEIPTS", "DEMAND", "DEAD"] as const;
export type StreamName = (typeof STREAM_NAMES)[number];

export const BUCKET_NAMES = ["checkpoint", "lane", "lease", "token"] as const;
export type BucketName = (typeof BUCKET_NAMES)[number];

/**
 * A stream's configuration. Durations in milliseconds, sizes in bytes; 0 milliseconds and -1 bytes mean "no limit", as in
 * JetStream.
 */
export interface StreamShape {
  readonly subjects: readonly string[];
  /** `limits`: retained until the age or size limit; `workqueue`: retained until acknowledged. */
  readonly retention: "limits" | "workqueue" | "interest";
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  readonly maxMessagesPerSubject: number;
  /** At the byte limit: `old` drops the oldest message, `new` rejects the next. */
  readonly discard: "old" | "new";
  /** How long the broker keeps message ids. */
  readonly duplicateWindowMs: number;
  readonly storage: "file" | "memory";
  readonly replicas: number;
}

export interface StreamDefinition extends StreamShape {
  readonly name: StreamName;
  readonly description: string;
}

/** A bucket: the latest value per key, without history. */
export interface BucketDefinition {
  readonly name: BucketName;
  readonly maxBytes: number;
  readonly replicas: number;
}

/** A durable pull consumer with explicit acknowledgement. */
export interface DurableDefinition {
  readonly stream: StreamName;
  readonly name: string;
  readonly filter: string;
  /** An unacknowledged delivery is repeated after this time. */
  readonly ackWaitMs: number;
  /** Maximum deliveries of one message; undefined means unlimited. */
  readonly maxDeliver?: number;
}

/** Everything that must exist on the broker. */
export interface Topology {
  readonly streams: readonly StreamDefinition[];
  readonly buckets: readonly BucketDefinition[];
  readonly durables: readonly DurableDefinition[];
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/**
 * The duplicate window must exceed the longest restart of a writer. A leader that crashes between "stored" and "checkpoint
 * written" is replaced within seconds, but a Mac that reboots for an update, or a pod waiting for a node, takes minutes and then
 * publishes the same ids again. Ten minutes cover that; longer windows cost the broker about 150 bytes of memory per message.
 * A spool published after a longer outage may store a signal twice; the evaluator applies the first one, by its id.
 */
const RESTART_WINDOW_MS = 10 * MINUTE;

interface StreamPlan {
  readonly subjects: readonly string[];
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  readonly retention?: StreamShape["retention"];
  readonly description: string;
}

const PLANS: Readonly<Record<StreamName, StreamPlan>> = {
  // 72 h of one gateway are about 0.2 GB (1.1 messages per second of about 700 stored bytes): raise the limit for fleets of more
  // than 40 gateways.
  INPUTS: {
    subjects: [subjectFilters.signals, subjectFilters.control],
    maxAgeMs: 72 * HOUR,
    maxBytes: 8 * GIB,
    description: "signals and control messages: everything that can change a verdict",
  },
  VERDICTS: {
    subjects: [subjectFilters.verdicts],
    maxAgeMs: 30 * DAY,
    maxBytes: 2 * GIB,
    description: "verdict records; the last message per subject is the current verdict",
  },
  INCIDENTS: {
    subjects: [subjectFilters.incidents],
    maxAgeMs: 30 * DAY,
    maxBytes: 256 * MIB,
    description: "incidents of every service",
  },
  DIGESTS: { subjects: [subjectFilters.digests], maxAgeMs: 30 * DAY, maxBytes: 256 * MIB, description: "digests to people" },
  RECEIPTS: {
    subjects: [subjectFilters.receipts],
    maxAgeMs: 90 * DAY,
    maxBytes: 256 * MIB,
    description: "receipts of promotions",
  },
  // No age limit: an old message is still demand until the evaluator removes it.
  DEMAND: {
    subjects: [subjectFilters.demand],
    maxAgeMs: 0,
    maxBytes: 64 * MIB,
    retention: "workqueue",
    description: "gated depth of the build lanes, read by KEDA",
  },
  DEAD: {
    subjects: [subjectFilters.dead],
    maxAgeMs: 7 * DAY,
    maxBytes: 256 * MIB,
    description: "messages that failed validation, with the reason",
  },
};

/** Byte limits for a fleet on one workstation. JetStream reserves the limits, so the production ones do not fit a small disk. */
export const LOCAL_MAX_BYTES: Readonly<Record<StreamName, number>> = {
  INPUTS: 256 * MIB,
  VERDICTS: 64 * MIB,
  INCIDENTS: 16 * MIB,
  DIGESTS: 16 * MIB,
  RECEIPTS: 16 * MIB,
  DEMAND: 16 * MIB,
  DEAD: 16 * MIB,
};

export interface TopologyOptions {
  /** Replicas of every stream and bucket: 1, 3 or 5. Use 3 in production, across three zones. */
  readonly replicas?: number;
  /** Overrides the byte limits. */
  readonly maxBytes?: Partial<Readonly<Record<StreamName, number>>>;
  /** Lanes whose demand consumers must exist before their ScaledObject: without its consumer, KEDA scales on the whole stream. */
  readonly lanes?: readonly string[];
}

/**
 * The demand consumer of one lane: KEDA reads `num_pending + num_ack_pending` of the consumer `<lane>`.
 * The ack wait is short because the evaluator acknowledges immediately what it takes. A nats-server 2.9 that is killed may lose
 * the last acknowledgements, and then counts those (removed) messages as unacknowledged until this time has passed.
 */
export function demandDurable(lane: string): DurableDefinition {
  return { stream: "DEMAND", name: lane, filter: demandSubject(lane), ackWaitMs: 5 * SECOND };
}

/** The notifier's position in each stream it reads. */
export const NOTIFIER_DURABLES: readonly DurableDefinition[] = [
  { stream: "VERDICTS", name: "notifier", filter: subjectFilters.verdicts, ackWaitMs: MINUTE },
  { stream: "INCIDENTS", name: "notifier", filter: subjectFilters.incidents, ackWaitMs: MINUTE },
  { stream: "RECEIPTS", name: "notifier", filter: subjectFilters.receipts, ackWaitMs: MINUTE },
];

/** Everything that must exist, for the given number of replicas and lanes. */
export function topology(options: TopologyOptions = {}): Topology {
  const replicas = options.replicas ?? 1;
  const streams = STREAM_NAMES.map((name): StreamDefinition => {
    const plan = PLANS[name];
    return {
      name,
      description: plan.description,
      subjects: plan.subjects,
      retention: plan.retention ?? "limits",
      maxAgeMs: plan.maxAgeMs,
      maxBytes: options.maxBytes?.[name] ?? plan.maxBytes,
      maxMessagesPerSubject: -1,
      discard: "old",
      duplicateWindowMs: RESTART_WINDOW_MS,
      storage: "file",
      replicas,
    };
  });
  const buckets = BUCKET_NAMES.map(
    (name): BucketDefinition => ({ name, maxBytes: name === "checkpoint" ? 64 * MIB : 16 * MIB, replicas }),
  );
  return { streams, buckets, durables: [...NOTIFIER_DURABLES, ...(options.lanes ?? []).map(demandDurable)] };
}

/** The relevant part of the broker's state. Streams, buckets and durables of other applications are ignored. */
export interface ActualTopology {
  readonly streams: readonly (StreamShape & { readonly name: string })[];
  readonly buckets: readonly {
    readonly name: string;
    readonly maxBytes: number;
    readonly replicas: number;
    readonly history: number;
  }[];
  readonly durables: readonly DurableDefinition[];
}

/** One difference. */
export interface Difference {
  /** For example `stream INPUTS`, `bucket lease`, `durable DEMAND/build-az-a`. */
  readonly object: string;
  /** The differing property, or `existence`. */
  readonly field: string;
  /** One sentence that an operator can act on. */
  readonly text: string;
  /** How `apply` handles it: create, update in place, or reject because only recreating (and losing content) would help. */
  readonly remedy: "create" | "update" | "recreate";
}

/** All differences between the actual and the expected state, as sentences; empty if there are none. */
export function diffStreams(actual: ActualTopology, wanted: Topology): Difference[] {
  const differences: Difference[] = [];
  for (const stream of wanted.streams) {
    const object = `stream ${stream.name}`;
    const found = actual.streams.find((candidate) => candidate.name === stream.name);
    if (found === undefined) differences.push(missing(object));
    else compare(object, STREAM_FIELDS, found, stream, differences);
  }
  for (const bucket of wanted.buckets) {
    const object = `bucket ${bucket.name}`;
    const found = actual.buckets.find((candidate) => candidate.name === bucket.name);
    if (found === undefined) differences.push(missing(object));
    else compare(object, BUCKET_FIELDS, found, { ...bucket, history: 1 }, differences);
  }
  for (const durable of wanted.durables) {
    const object = `durable ${durable.stream}/${durable.name}`;
    const found = actual.durables.find((candidate) => candidate.stream === durable.stream && candidate.name === durable.name);
    if (found === undefined) differences.push(missing(object));
    else compare(object, DURABLE_FIELDS, found, durable, differences);
  }
  return differences;
}

interface Field<T> {
  readonly field: keyof T & string;
  readonly label: string;
  readonly format: (value: never) => string;
  readonly remedy: Difference["remedy"];
}

const STREAM_FIELDS: readonly Field<StreamShape>[] = [
  {
    field: "subjects",
    label: "subjects",
    format: (value: readonly string[]) => [...value].sort().join(", ") || "none",
    remedy: "update",
  },
  { field: "retention", label: "retention", format: String, remedy: "recreate" },
  { field: "maxAgeMs", label: "max age", format: ageText, remedy: "update" },
  { field: "maxBytes", label: "byte limit", format: sizeText, remedy: "update" },
  { field: "maxMessagesPerSubject", label: "messages per subject", format: countText, remedy: "update" },
  { field: "discard", label: "discard policy", format: String, remedy: "update" },
  { field: "duplicateWindowMs", label: "duplicate window", format: ageText, remedy: "update" },
  { field: "storage", label: "storage", format: String, remedy: "recreate" },
  { field: "replicas", label: "replicas", format: String, remedy: "update" },
];

const BUCKET_FIELDS: readonly Field<ActualTopology["buckets"][number]>[] = [
  { field: "maxBytes", label: "byte limit", format: sizeText, remedy: "update" },
  { field: "replicas", label: "replicas", format: String, remedy: "update" },
  { field: "history", label: "history", format: String, remedy: "update" },
];

const DURABLE_FIELDS: readonly Field<DurableDefinition>[] = [
  { field: "filter", label: "filter", format: String, remedy: "update" },
  { field: "ackWaitMs", label: "ack wait", format: ageText, remedy: "update" },
  {
    field: "maxDeliver",
    label: "delivery limit",
    format: (value: number | undefined) => countText(value ?? -1),
    remedy: "update",
  },
];

function missing(object: string): Difference {
  return { object, field: "existence", text: `${object} does not exist`, remedy: "create" };
}

function compare<T>(object: string, fields: readonly Field<T>[], actual: T, wanted: T, into: Difference[]): void {
  for (const { field, label, format, remedy } of fields) {
    const is = format(actual[field] as never);
    const must = format(wanted[field] as never);
    if (is === must) continue;
    const advice =
      remedy === "recreate" ? "; this cannot be changed in place: delete it by hand (its content is lost), then apply" : "";
    into.push({ object, field, text: `${object}: ${label} is ${is}, must be ${must}${advice}`, remedy });
  }
}

function ageText(ms: number): string {
  return ms === 0 ? "unlimited" : formatDuration(ms);
}

function sizeText(bytes: number): string {
  return bytes < 0 ? "unlimited" : formatBytes(bytes);
}

function countText(count: number): string {
  return count < 0 ? "unlimited" : String(count);
}
