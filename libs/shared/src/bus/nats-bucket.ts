/**
 * Buckets on NATS, in the wire format of its key-value stores
 * (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md).
 *
 * Leases and locks are stored here, so this differs from the client's own key-value class in two ways. Writes carry a message id
 * and are retried until acknowledged: a compare-and-set with a lost acknowledgement would otherwise look like a lost race. Reads
 * go to the leader, never to a lagging replica.
 */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import { nuid } from "@nats-io/nats-core";
import { faultCode, terminal } from "../runtime/faults.ts";
import type { Bucket, BucketEntry, Follower } from "./bus.ts";
import { busFault } from "./nats-fault.ts";
import type { FollowRequest } from "./nats-follow.ts";
import { parseBrokerTime } from "./nats-message.ts";
import type { PipelinedPublisher } from "./publisher.ts";
import type { BucketName } from "./streams.ts";

export interface BucketContext {
  readonly manager: JetStreamManager;
  readonly publisher: PipelinedPublisher;
  readonly follow: (request: FollowRequest) => Promise<Follower>;
}

const OPERATION = "KV-Operation";
const EXPECTED = "Nats-Expected-Last-Subject-Sequence";
/** Written by `brokerTime` on old servers; not an entry of the bucket. */
const CLOCK_KEY = "clock";

/** Opens an existing bucket. @throws Terminal `bucket_missing` */
export async function openBucket(context: BucketContext, name: BucketName): Promise<Bucket> {
  const { manager, publisher } = context;
  const stream = `KV_${name}`;
  const prefix = `$KV.${name}.`;
  try {
    await manager.streams.info(stream);
  } catch (error) {
    const fault = busFault(error, `opening bucket ${name}`);
    throw faultCode(fault) === "stream_missing"
      ? terminal("bucket_missing", `bucket ${name} does not exist; create it with "aviary streams apply"`, error)
      : fault;
  }

  function subjectOf(key: string): string {
    if (!/^[-/=\w]+(\.[-/=\w]+)*$/.test(key))
      throw terminal(
        "key_invalid",
        `invalid bucket key ${JSON.stringify(key)}: use letters, digits and - / _ =, with single dots between parts`,
      );
    return prefix + key;
  }

  async function read(key: string): Promise<StoredMsg | undefined> {
    const subject = subjectOf(key);
    try {
      return (await manager.streams.getMessage(stream, { last_by_subj: subject })) ?? undefined;
    } catch (error) {
      throw busFault(error, `reading ${name}/${key}`);
    }
  }

  async function write(key: string, data: string | Uint8Array, headers: Record<string, string>): Promise<number> {
    return (await publisher.publish({ subject: subjectOf(key), data, id: nuid.next(), headers })).sequence;
  }

  const isDeleted = (message: StoredMsg): boolean => message.header.get(OPERATION) !== "";

  return {
    async get(key) {
      const message = await read(key);
      if (message === undefined || isDeleted(message)) return undefined;
      return { key, value: message.data, revision: message.seq, storedAtMs: parseBrokerTime(message.timestamp) };
    },
    put: (key, value) => write(key, value, {}),
    async update(key, value, revision) {
      try {
        return await write(key, value, { [EXPECTED]: String(revision) });
      } catch (error) {
        if (revision !== 0 || faultCode(error) !== "conflict") throw error;
        // A deleted key counts as absent, but its deletion marker has a revision.
        const marker = await read(key);
        if (marker === undefined || !isDeleted(marker)) throw error;
        return write(key, value, { [EXPECTED]: String(marker.seq) });
      }
    },
    async delete(key) {
      await write(key, "", { [OPERATION]: "DEL" });
    },
    async keys() {
      const present = new Set<string>();
      const follower = await context.follow({
        stream,
        from: "last-per-subject",
        onMessage: (message) => {
          const key = message.subject.slice(prefix.length);
          if (message.header(OPERATION) === undefined) present.add(key);
          else present.delete(key);
        },
      });
      try {
        await follower.caughtUp;
      } finally {
        await follower.stop();
      }
      if (name === "lease") present.delete(CLOCK_KEY);
      return [...present].sort();
    },
    async watch(onEntry) {
      const present = new Set<string>();
      const follower = await context.follow({
        stream,
        from: "last-per-subject",
        onMessage: (message) => {
          const key = message.subject.slice(prefix.length);
          if (name === "lease" && key === CLOCK_KEY) return;
          if (message.header(OPERATION) !== undefined) {
            if (present.delete(key)) onEntry(key, undefined);
            return;
          }
          present.add(key);
          const entry: BucketEntry = { key, value: message.data, revision: message.sequence, storedAtMs: message.storedAtMs };
          onEntry(key, entry);
        },
      });
      return { ready: follower.caughtUp, stop: () => follower.stop() };
    },
  };
}
