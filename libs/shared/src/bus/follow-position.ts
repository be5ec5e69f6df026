/** The position of a follower in its stream, and the consumer that continues from there. */
import { AckPolicy, type ConsumerConfig, DeliverPolicy } from "@nats-io/jetstream";
import { nanos } from "@nats-io/nats-core";
import type { FollowOptions } from "./bus.ts";

export interface Position {
  /** The highest sequence received; initially, the one before the first requested sequence. */
  lastSequence: number;
  receivedAny: boolean;
  /** Whether the end of the stream at the start is known. "New" is relative to it, also after a restart. */
  isLocated: boolean;
}

export function createPosition(from: FollowOptions["from"]): Position {
  const lastSequence = from instanceof Object && "sequence" in from ? from.sequence - 1 : 0;
  return { lastSequence, receivedAny: false, isLocated: false };
}

const INACTIVE_THRESHOLD_MS = 60_000;

export interface ConsumerRequest {
  readonly name: string;
  readonly from: FollowOptions["from"];
  readonly subjects: readonly string[];
  /** Whether the server applies several filters. */
  readonly serverFilters: boolean;
  readonly position: Position;
  readonly isCaughtUp: boolean;
}

/** An ordered consumer: it acknowledges nothing, is kept in memory, and is removed soon after its process ends. */
export function consumerConfig(request: ConsumerRequest): Partial<ConsumerConfig> {
  const { name, subjects, serverFilters } = request;
  return {
    name,
    ack_policy: AckPolicy.None,
    ...startOf(request),
    ...(subjects.length === 1 ? { filter_subject: subjects[0] as string } : {}),
    ...(subjects.length > 1 && serverFilters ? { filter_subjects: [...subjects] } : {}),
    inactive_threshold: nanos(INACTIVE_THRESHOLD_MS),
    mem_storage: true,
    num_replicas: 1,
  };
}

/** The start of a new consumer: as requested, or after the last message received. */
function startOf({ from, subjects, serverFilters, position, isCaughtUp }: ConsumerRequest): Partial<ConsumerConfig> {
  // Until the initial state is complete, "last per subject" is requested again as such; messages already received are skipped.
  if (from === "last-per-subject" && !isCaughtUp) {
    // The server requires a filter with this policy, even one that selects everything.
    return {
      deliver_policy: DeliverPolicy.LastPerSubject,
      ...(subjects.length > 1 && serverFilters ? {} : { filter_subject: ">" }),
    };
  }
  if (!position.receivedAny && from === "all") return { deliver_policy: DeliverPolicy.All };
  if (!position.receivedAny && from instanceof Object && "time" in from)
    return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(Math.ceil(from.time)).toISOString() };
  return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(position.lastSequence + 1, 1) };
}
