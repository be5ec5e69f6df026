/** Runs many worlds in several threads; their assignment to threads has no effect. */
import type { Service } from "../simulation/product.ts";
import { runThreads } from "../simulation/threads.ts";
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
  /** Starts no further world once this returns true for the results so far. */
  readonly until?: (results: readonly WorldResult[]) => boolean;
}

/** Results sorted by seed, and within a seed in the order of the advisors. */
export async function runWorlds(options: PoolOptions): Promise<WorldResult[]> {
  const { from, worlds, advisors } = options;
  const results: WorldResult[] = [];
  let next = from;
  await runThreads<number, readonly WorldResult[]>({
    script: new URL("worker.ts", import.meta.url),
    workerData: { copies: options.copies ?? {}, advisors, theme: options.theme ?? "any" } satisfies ThreadData,
    threads: Math.min(options.threads, worlds),
    nextJob: () => (next >= from + worlds || options.until?.(results) === true ? undefined : next++),
    onResult: (found) => void results.push(...found),
    subject: "the closed loop",
    place: (seed) => `in world ${seed}`,
  });
  return results.sort((a, b) => a.seed - b.seed || advisors.indexOf(a.advisor) - advisors.indexOf(b.advisor));
}
