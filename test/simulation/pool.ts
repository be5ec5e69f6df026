/** Runs many seeds in several threads. Seeds are independent, so their assignment to threads has no effect. */
import type { Service } from "./product.ts";
import type { Failure } from "./seed.ts";
import { runThreads } from "./threads.ts";
import type { Stretch, StretchResult, ThreadData } from "./worker.ts";

export interface PoolOptions {
  readonly from: number;
  readonly seeds: number;
  readonly threads: number;
  /** Modified copies of services to run instead of the services themselves. */
  readonly copies?: Partial<Record<Service, string>>;
  /** Starts no further range after a violation of this invariant; by default all seeds run. */
  readonly until?: string;
  readonly onProgress?: (done: number) => void;
}

export interface PoolResult {
  /** Seeds with violations, ascending. */
  readonly failures: readonly Failure[];
  /** Event counts of all these worlds. */
  readonly counts: ReadonlyMap<string, number>;
  readonly ran: number;
}

const STRETCH = 10;

export async function runSeeds(options: PoolOptions): Promise<PoolResult> {
  const { from, seeds, until } = options;
  const failures: Failure[] = [];
  const counts = new Map<string, number>();
  let next = from;
  let ran = 0;

  const isFound = (): boolean => failures.some(({ findings }) => findings.some(({ invariant }) => invariant === until));
  const stretch = (): Stretch | undefined => {
    if (next >= from + seeds || isFound()) return undefined;
    const count = Math.min(STRETCH, from + seeds - next);
    next += count;
    return { from: next - count, count };
  };
  await runThreads<Stretch, StretchResult>({
    script: new URL("worker.ts", import.meta.url),
    workerData: { copies: options.copies ?? {} } satisfies ThreadData,
    threads: Math.min(options.threads, Math.ceil(seeds / STRETCH)),
    nextJob: stretch,
    onResult: (result, { count }) => {
      failures.push(...result.failures);
      for (const [what, number] of result.counts) counts.set(what, (counts.get(what) ?? 0) + number);
      ran += count;
      options.onProgress?.(ran);
    },
    subject: "the simulation",
    place: ({ from: first, count }) => `in seeds ${first} to ${first + count - 1}`,
  });
  return { failures: failures.sort((a, b) => a.seed - b.seed), counts, ran };
}
