/** Replies to read-only queries, from Redis in one transaction, so that a job moving between two keys is counted once. */
import { type Retryable, retryable, Terminal, terminal } from "@aviary/shared/runtime/faults.ts";
import type { ChainableCommander, Redis } from "ioredis";
import { highestDueScore, type RedisQuery } from "../core/redis-depth.ts";

const DEFAULT_PORT = 6379;

export interface RedisReplies extends AsyncDisposable {
  /**
   * The replies in query order. What is due is decided by the server's own time.
   * @throws Terminal `wrong_type`; Retryable `redis_unavailable`
   */
  read(queries: readonly RedisQuery[], signal: AbortSignal): Promise<unknown[]>;
}

/**
 * Connects on the first read, and reconnects on the first read after a lost connection, so the caller controls the retry rate.
 * The client library is loaded lazily, because most Macs have no queue.
 */
export function redisReplies(url: string, timeoutMs: number): RedisReplies {
  let client: Promise<Redis> | undefined;
  /** The last error of the connection: a command only reports that the connection is closed. */
  let connectionError: unknown;
  const onError = (error: unknown): void => {
    connectionError = error;
  };
  return {
    async read(queries, signal) {
      signal.throwIfAborted();
      client ??= makeClient(url, timeoutMs, onError);
      connectionError = undefined;
      try {
        const redis = await client;
        if (redis.status !== "ready") await connect(redis);
        const nowMs = queries.some(({ command }) => command === "zcount_due") ? await serverTimeMs(redis) : 0;
        const transaction = redis.multi();
        for (const query of queries) add(transaction, query, nowMs);
        const results = await transaction.exec();
        if (results?.length !== queries.length) throw new Error("the transaction was not executed");
        return results.map(([error, reply], index) => replyOf(error, reply, queries[index] as RedisQuery));
      } catch (error) {
        throw error instanceof Terminal ? error : unavailable(url, connectionError ?? error);
      }
    },
    async [Symbol.asyncDispose]() {
      (await client)?.disconnect();
    },
  };
}

async function serverTimeMs(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1_000 + Number(microseconds) / 1_000;
}

function add(transaction: ChainableCommander, query: RedisQuery, nowMs: number): void {
  switch (query.command) {
    case "zcount_due":
      transaction.zcount(query.key, "-inf", highestDueScore(nowMs));
      return;
    case "hexists":
      transaction.hexists(query.key, query.field);
      return;
    case "lindex":
      transaction.lindex(query.key, query.index);
      return;
    default:
      transaction[query.command](query.key);
  }
}

async function makeClient(url: string, timeoutMs: number, onError: (error: unknown) => void): Promise<Redis> {
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
  redis.on("error", onError);
  return redis;
}

async function connect(redis: Redis): Promise<void> {
  // Another read is connecting; the caller's retry waits for it.
  if (redis.status === "connecting" || redis.status === "connect") throw new Error("still connecting to Redis");
  await redis.connect();
}

function replyOf(error: Error | null, reply: unknown, query: RedisQuery): unknown {
  if (error !== null) throw error.message.startsWith("WRONGTYPE") ? wrongType(query, error) : error;
  return reply;
}

const TYPES: Readonly<Record<RedisQuery["command"], string>> = {
  llen: "list",
  lindex: "list",
  zcard: "sorted set",
  zcount_due: "sorted set",
  hexists: "hash",
  exists: "key",
};

function wrongType({ key, command }: RedisQuery, cause: Error): Terminal {
  return terminal("wrong_type", `the Redis key ${key} is not a ${TYPES[command]}; check the lane's key or queue name`, cause);
}

/** Names the server without the user and password of its URL. */
function unavailable(url: string, error: unknown): Retryable {
  const message = error instanceof Error ? error.message : String(error);
  const isRejected = /^(?:NOAUTH|WRONGPASS|NOPERM|ERR AUTH)/.test(message);
  const fix = isRejected
    ? `check user and password in the lane's "redis"`
    : `check that it runs and that the lane's "redis" is its address`;
  return retryable("redis_unavailable", `Redis at ${redisAddress(url)}: ${message}; ${fix}`, error);
}

/** `host:port` of a Redis URL, with the default port if the URL has none. */
export function redisAddress(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port === "" ? DEFAULT_PORT : port}`;
}
