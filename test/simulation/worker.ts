/** A thread that runs stretches of seeds. */
import { parentPort, workerData } from "node:worker_threads";
import type { Finding } from "./checks/check.ts";
import { loadProduct } from "./product.ts";
import { runSeed } from "./seed.ts";

/** What a thread is asked for: these seeds. */
export interface Stretch {
  readonly from: number;
  readonly count: number;
}

/** What a thread answers. */
export interface StretchResult {
  readonly failures: readonly Failure[];
  readonly counts: readonly (readonly [string, number])[];
}

export interface Failure {
  readonly seed: number;
  readonly findings: readonly Finding[];
}

if (parentPort !== null) {
  const port = parentPort;
  const product = await loadProduct((workerData as { root?: string }).root);
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
          findings: [{ invariant: "fall", what: `the simulation fell: ${(error as Error).stack}`, atMs: 0 }],
        });
      }
    }
    port.postMessage({ failures, counts: [...counts] } satisfies StretchResult);
  });
  port.postMessage("ready");
}
