/** Runs many seeds in several threads. The assignment of seeds to threads has no effect, because a seed is independent. */
import { Worker } from "node:worker_threads";
import type { Service } from "./product.ts";
import type { Failure } from "./seed.ts";
import type { Stretch, StretchResult, ThreadData } from "./worker.ts";

export interface PoolOptions {
  readonly from: number;
  readonly seeds: number;
  readonly threads: number;
  /** Modified copies of services to run instead of the services themselves. */
  readonly copies?: Partial<Record<Service, string>>;
  /** Start no further range once this invariant was violated; by default all seeds run. */
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
  const runThread = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL("worker.ts", import.meta.url), {
        workerData: { copies: options.copies ?? {} } satisfies ThreadData,
        // All objects of a world are short-lived.
        resourceLimits: { maxYoungGenerationSizeMb: 64 },
      });
      let mine: Stretch | undefined;
      const goOn = (): void => {
        mine = stretch();
        if (mine === undefined) worker.terminate().then(() => resolve(), reject);
        else worker.postMessage(mine);
      };
      worker.on("message", (message: "ready" | StretchResult) => {
        if (message !== "ready") {
          failures.push(...message.failures);
          for (const [what, number] of message.counts) counts.set(what, (counts.get(what) ?? 0) + number);
          ran += mine?.count ?? 0;
          options.onProgress?.(ran);
        }
        goOn();
      });
      worker.on("error", (error) => {
        const where = mine === undefined ? "while it was loading" : `in seeds ${mine.from} to ${mine.from + mine.count - 1}`;
        reject(new Error(`a thread of the simulation crashed ${where}: ${(error as Error).stack}`));
      });
    });
  await Promise.all(Array.from({ length: Math.min(options.threads, Math.ceil(seeds / STRETCH)) }, runThread));
  return { failures: failures.sort((a, b) => a.seed - b.seed), counts, ran };
}
