/** A thread that runs ranges of seeds. */
import { parentPort, workerData } from "node:worker_threads";
import { loadProduct, type Service } from "./product.ts";
import { type Failure, runSeed } from "./seed.ts";
import { READY } from "./threads.ts";

/** A thread's start parameters. */
export interface ThreadData {
  readonly copies: Partial<Record<Service, string>>;
}

/** A request to a thread: a range of seeds. */
export interface Stretch {
  readonly from: number;
  readonly count: number;
}

/** A thread's result. */
export interface StretchResult {
  readonly failures: readonly Failure[];
  readonly counts: readonly (readonly [string, number])[];
}

if (parentPort !== null) {
  const port = parentPort;
  const product = await loadProduct((workerData as ThreadData).copies);
  port.on("message", async ({ from, count }: Stretch) => {
    const failures: Failure[] = [];
    const counts = new Map<string, number>();
    for (let seed = from; seed < from + count; seed++) {
      try {
        const result = await runSeed(product, seed);
        if (result.findings.length > 0) failures.push({ seed, findings: result.findings });
        for (const [what, number] of result.counts) counts.set(what, (counts.get(what) ?? 0) + number);
      } catch (error) {
        failures.push({
          seed,
          findings: [{ invariant: "crash", what: `the simulation crashed: ${(error as Error).stack}`, atMs: 0 }],
        });
      }
    }
    port.postMessage({ failures, counts: [...counts] } satisfies StretchResult);
  });
  port.postMessage(READY);
}
