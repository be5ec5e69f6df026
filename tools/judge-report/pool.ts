/** Simulates cells on all cores. The results do not depend on the number of cores. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Cell, CellResult } from "./cell.ts";
import { added } from "./cell.ts";
import type { Mutation } from "./mutations.ts";

/** Runs `from` to `to - 1` of a cell. */
export interface Task {
  readonly cell: Cell;
  readonly from: number;
  readonly to: number;
}

export interface Pool extends AsyncDisposable {
  /** Simulates that many runs of a cell; results are cached per cell. */
  run(cell: Cell, runs: number): Promise<CellResult>;
}

/** Runs per task of a worker. */
const PART = 1_000;

interface Waiting extends Task {
  readonly resolve: (result: CellResult) => void;
  readonly reject: (error: Error) => void;
}

/** @param mutation the key to remove from the judge; null for the judge as it is */
export function startPool(mutation: Mutation | null = null, threads: number = availableParallelism()): Pool {
  const queue: Waiting[] = [];
  const idle: Worker[] = [];
  const busy = new Map<Worker, Waiting>();
  const known = new Map<string, Promise<CellResult>>();

  const dispatch = (): void => {
    while (queue.length > 0 && idle.length > 0) {
      const worker = idle.pop()!;
      const { resolve, reject, ...task } = queue.shift()!;
      busy.set(worker, { resolve, reject, ...task });
      worker.postMessage(task);
    }
  };
  const workers = Array.from({ length: threads }, () => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: { mutation } });
    worker.on("message", (result: CellResult) => {
      busy.get(worker)?.resolve(result);
      busy.delete(worker);
      idle.push(worker);
      dispatch();
    });
    worker.on("error", (error) => {
      // A failure is deterministic, so it is not retried.
      for (const { reject } of [...busy.values(), ...queue.splice(0)]) reject(error as Error);
    });
    idle.push(worker);
    return worker;
  });

  return {
    run(cell, runs) {
      const key = `${runs} ${JSON.stringify(cell)}`;
      let result = known.get(key);
      if (result === undefined) {
        const parts: Promise<CellResult>[] = [];
        for (let from = 0; from < runs; from += PART) {
          const to = Math.min(runs, from + PART);
          parts.push(new Promise((resolve, reject) => queue.push({ cell, from, to, resolve, reject })));
        }
        result = Promise.all(parts).then((all) => all.reduce(added));
        known.set(key, result);
        dispatch();
      }
      return result;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
