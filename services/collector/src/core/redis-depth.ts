/** How deep a queue in Redis is: which keys to ask, and how their lengths add up. */

/** A length to ask for: the command and the key. */
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
 * A BullMQ queue: jobs that a worker may take now. `wait` and `paused` are lists (a paused queue of BullMQ before 6 keeps its jobs in `paused`),
 * `prioritized` is a sorted set. Delayed jobs are not due yet and count only where asked for; jobs at work and jobs that wait for children never do.
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
