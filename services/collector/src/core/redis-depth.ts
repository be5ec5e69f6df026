/** Depth of a queue in Redis: which keys to query and how to total them. */

/** A length query: command and key. */
export interface LengthQuery {
  readonly command: "llen" | "zcard";
  readonly key: string;
}

export interface BullQueue {
  readonly queue: string;
  readonly prefix: string;
  readonly countDelayed: boolean;
}

/** A plain list: its length. */
export function listQueries(key: string): LengthQuery[] {
  return [{ command: "llen", key }];
}

/**
 * A BullMQ queue: jobs that a worker can start now. `wait` and `paused` are lists (a paused queue of BullMQ before 6 keeps its jobs in `paused`),
 * `prioritized` is a sorted set. Delayed jobs count only with `countDelayed`. Active jobs and jobs waiting for children never count.
 * Keys are `<prefix>:<queue>:<state>` (https://docs.bullmq.io/guide/architecture).
 */
export function bullQueries({ queue, prefix, countDelayed }: BullQueue): LengthQuery[] {
  const key = (state: string): string => `${prefix}:${queue}:${state}`;
  const due: LengthQuery[] = [
    { command: "llen", key: key("wait") },
    { command: "llen", key: key("paused") },
    { command: "zcard", key: key("prioritized") },
  ];
  return countDelayed ? [...due, { command: "zcard", key: key("delayed") }] : due;
}

export function totalDepth(lengths: readonly number[]): number {
  return lengths.reduce((sum, length) => sum + length, 0);
}
