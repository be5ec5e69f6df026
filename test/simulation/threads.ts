/** Threads of one worker script; each gets its next job after posting the result of its previous one. */
import { Worker } from "node:worker_threads";

/** The message that a worker script posts once it has loaded, before its first job. */
export const READY = "ready";

export interface ThreadsOptions<Job, Result> {
  readonly script: URL;
  readonly workerData: unknown;
  readonly threads: number;
  /** Returns the next job, or undefined to end the thread. */
  readonly nextJob: () => Job | undefined;
  readonly onResult: (result: Result, job: Job) => void;
  /** Names what crashed in an error: `the simulation`. */
  readonly subject: string;
  /** Names a job in an error: `in seeds 10 to 19`. */
  readonly place: (job: Job) => string;
}

/** @throws Error if a thread crashes, with its subject and its job */
export async function runThreads<Job, Result>(options: ThreadsOptions<Job, Result>): Promise<void> {
  await Promise.all(Array.from({ length: options.threads }, () => runThread(options)));
}

function runThread<Job, Result>(options: ThreadsOptions<Job, Result>): Promise<void> {
  const { script, workerData, nextJob, onResult, subject, place } = options;
  return new Promise((resolve, reject) => {
    // All objects of a world are short-lived, so a large young generation saves collections.
    const worker = new Worker(script, { workerData, resourceLimits: { maxYoungGenerationSizeMb: 64 } });
    let job: Job | undefined;
    worker.on("message", (message: typeof READY | Result) => {
      if (job !== undefined) onResult(message as Result, job);
      job = nextJob();
      if (job === undefined) worker.terminate().then(() => resolve(), reject);
      else worker.postMessage(job);
    });
    worker.on("error", (error) => {
      const where = job === undefined ? "while it was loading" : place(job);
      reject(new Error(`a thread of ${subject} crashed ${where}: ${(error as Error).stack}`));
    });
  });
}
