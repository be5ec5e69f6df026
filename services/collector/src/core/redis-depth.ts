/** The depth of a queue in Redis: the values to read, and how to total them. */

/** A read-only query. `now` is replaced by the time of the Redis server, milliseconds since the epoch. */
export type RedisQuery =
  | { readonly command: "llen" | "zcard" | "exists"; readonly key: string }
  /** Due members of a set of BullMQ's delayed jobs. */
  | { readonly command: "zcount_due"; readonly key: string }
  | { readonly command: "hexists"; readonly key: string; readonly field: string }
  /** One element of a list. */
  | { readonly command: "lindex"; readonly key: string; readonly index: 0 | -1 };

export interface BullQueue {
  readonly queue: string;
  readonly prefix: string;
  /** Also count jobs that are not due. */
  readonly countDelayed: boolean;
  /** Also count jobs in progress. */
  readonly countActive: boolean;
}

/** Why a depth is unknown. */
export interface NoDepth {
  readonly why: string;
}

/** The queries for one queue, and its depth given their replies in the same order. */
export interface DepthPlan {
  readonly queries: readonly RedisQuery[];
  readonly depth: (replies: readonly unknown[]) => number | NoDepth;
}

/** A plain list: its length. Redis removes an empty list, so a list that does not exist is empty. */
export function listPlan(key: string): DepthPlan {
  return { queries: [{ command: "llen", key }], depth: ([length]) => Number(length) };
}

/**
 * A BullMQ queue: jobs that a worker can start now, `<prefix>:<queue>:<state>` (https://docs.bullmq.io/guide/architecture).
 *
 * - `wait` is a list. Before version 5 it may contain a marker `0:<time>` at either end, which is not a job.
 * - `prioritized` is a sorted set.
 * - `delayed` is a sorted set by `time × 4096 + counter`. Jobs stay in it when they are due until a worker moves them, so without
 *   workers they would never count.
 * - While the queue is paused (field `paused` of `meta`), nothing can be started, wherever the jobs are: before version 6 in the
 *   list `paused`, later in `wait`.
 * - `active` jobs count only with `countActive`: they are in progress, and a lane that scales to 0 interrupts them.
 * - Jobs waiting for children never count.
 *
 * A queue that no program has ever opened has none of these keys and is an error, because its name is probably wrong.
 */
export function bullPlan({ queue, prefix, countDelayed, countActive }: BullQueue): DepthPlan {
  const key = (state: string): string => `${prefix}:${queue}:${state}`;
  const states = ["meta", "id", "wait", "paused", "prioritized", "delayed", "active", "completed", "failed"];
  return {
    queries: [
      { command: "llen", key: key("wait") },
      { command: "lindex", key: key("wait"), index: 0 },
      { command: "lindex", key: key("wait"), index: -1 },
      { command: "zcard", key: key("prioritized") },
      { command: countDelayed ? "zcard" : "zcount_due", key: key("delayed") },
      { command: "llen", key: key("active") },
      { command: "hexists", key: key("meta"), field: "paused" },
      ...states.map((state) => ({ command: "exists" as const, key: key(state) })),
    ],
    depth([waiting, first, last, prioritized, delayed, active, isPaused, ...exist]) {
      if (exist.every((found) => Number(found) === 0))
        return { why: `there is no BullMQ queue ${prefix}:${queue}; check "queue" and "prefix"` };
      const atWork = countActive ? Number(active) : 0;
      if (Number(isPaused) === 1) return atWork;
      const markers = isMarker(first) || isMarker(last) ? 1 : 0;
      return Number(waiting) - markers + Number(prioritized) + Number(delayed) + atWork;
    },
  };
}

const isMarker = (element: unknown): boolean => typeof element === "string" && /^0:\d+$/.test(element);

/** The highest score of BullMQ's delayed jobs that are due at `nowMs`, milliseconds since the epoch. */
export function highestDueScore(nowMs: number): number {
  return Math.floor(nowMs) * 4_096 + 4_095;
}
