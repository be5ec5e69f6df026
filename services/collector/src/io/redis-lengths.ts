/** Lengths of lists and sorted sets, read from Redis in one transaction, so that a job moving between two of them is counted once. */
import { retryable, Terminal, terminal } from "@aviary/shared/runtime/faults.ts";
import type { Redis } from "ioredis";
import type { LengthQuery } from "../core/redis-depth.ts";

export interface RedisLengths extends AsyncDisposable {
  /** The lengths in query order. A missing key has length 0, because Redis does not store empty lists. */
  read(queries: readonly LengthQuery[], signal: AbortSignal): Promise<number[]>;
}

/**
 * Connects on the first read, and reconnects on the first read after a lost connection, so the caller controls the retry rate.
 * The client library is loaded lazily, because most Macs have no queue.
 */
export function redisLengths(url: string, timeoutMs: number): RedisLengths {
  let client: Promise<Redis> | undefined;
  return {
    async read(queries, signal) {
      signal.throwIfAborted();
      client ??= makeClient(url, timeoutMs);
      try {
        const redis = await client;
        if (redis.status !== "ready") await connect(redis);
        const transaction = redis.multi();
        for (const { command, key } of queries) transaction[command](key);
        const results = (await transaction.exec()) ?? [];
        return results.map(([error, length], index) => lengthOf(error, length, queries[index] as LengthQuery));
      } catch (error) {
        throw error instanceof Terminal ? error : retryable("redis_unavailable", `Redis: ${reasonOf(error)}`, error);
      }
    },
    async [Symbol.asyncDispose]() {
      (await client)?.disconnect();
    },
  };
}

async function makeClient(url: string, timeoutMs: number): Promise<Redis> {
  const { Redis } = await import("ioredis");
  const redis = new Redis(url, {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    connectionName: "aviary-collector",
  });
  // Failures reach the caller; without a listener ioredis also prints them.
  redis.on("error", () => {});
  return redis;
}

async function connect(redis: Redis): Promise<void> {
  // Another read is connecting; the caller's retry waits for it.
  if (redis.status === "connecting" || redis.status === "connect") throw new Error("still connecting to Redis");
  await redis.connect();
}

function lengthOf(error: Error | null, length: unknown, query: LengthQuery): number {
  if (error !== null) throw error.message.startsWith("WRONGTYPE") ? wrongType(query, error) : error;
  return Number(length);
}

function wrongType(query: LengthQuery, cause: Error): Terminal {
  return terminal(
    "wrong_type",
    `the Redis key ${query.key} is not a ${query.command === "llen" ? "list" : "sorted set"}; check the lane's key or queue name`,
    cause,
  );
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
