/** Runs many worlds in several threads; the assignment of worlds to threads has no effect. */
import { Worker } from "node:worker_threads";
import type { Service } from "../simulation/product.ts";
import type { AdvisorName } from "./advisors/advisor.ts";
import type { ThreadData, WorldResult } from "./worker.ts";
import type { Theme } from "./world/themes.ts";

export interface PoolOptions {
  readonly from: number;
  readonly worlds: number;
  readonly threads: number;
  readonly advisors: readonly AdvisorName[];
  /** `any` by default. */
  readonly theme?: Theme;
  readonly copies?: Partial<Record<Service, string>>;
  /** Starts no further world once this holds for the results so far. */
  readonly until?: (results: readonly WorldResult[]) => boolean;
  readonly onProgress?: (done: number) => void;
}

/** Results by seed, and within a seed in the order of the advisors. */
export async function runWorlds(options: PoolOptions): Promise<WorldResult[]> {
  const { from, worlds, advisors } = options;
  const results: WorldResult[] = [];
  let next = from;
  let done = 0;
  const runThread = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL("worker.ts", import.meta.url), {
        workerData: { copies: options.copies ?? {}, advisors, theme: options.theme ?? "any" } satisfies ThreadData,
        // All objects of a world are short-lived.
        resourceLimits: { maxYoungGenerationSizeMb: 64 },
      });
      let mine: number | undefined;
      worker.on("message", (found: readonly WorldResult[]) => {
        results.push(...found);
        if (mine !== undefined) options.onProgress?.(++done);
        const isOver = next >= from + worlds || options.until?.(results) === true;
        if (isOver) {
          worker.terminate().then(() => resolve(), reject);
          return;
        }
        mine = next++;
        worker.postMessage(mine);
      });
      worker.on("error", (error) => {
        const where = mine === undefined ? "while it was loading" : `in world ${mine}`;
        reject(new Error(`a thread of the closed loop crashed ${where}: ${(error as Error).stack}`));
      });
    });
  await Promise.all(Array.from({ length: Math.min(options.threads, worlds) }, runThread));
  return results.sort((a, b) => a.seed - b.seed || advisors.indexOf(a.advisor) - advisors.indexOf(b.advisor));
}
