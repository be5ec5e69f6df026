/**
 * The process of one contender: `node contender-process.ts <benchmark> <contender> <settings as JSON>`, started and controlled by
 * `rounds.ts`.
 */
import { BENCHMARKS } from "./list.ts";
import type { ContenderMessage, Workload } from "./rounds.ts";

const [benchmarkName, contenderName, settings] = process.argv.slice(2);

const send = (answer: ContenderMessage): void => void process.send?.(answer);
// The parent exited.
process.on("disconnect", () => process.exit(1));

async function start(): Promise<Workload> {
  const entry = BENCHMARKS.find((candidate) => candidate.name === benchmarkName);
  const { benchmark } = (await entry?.load()) ?? {};
  const make = benchmark?.workloads[contenderName as string];
  if (make === undefined) throw new Error(`unknown contender ${contenderName} of benchmark ${benchmarkName}`);
  return make(JSON.parse(settings as string) as never);
}

try {
  const workload = await start();
  process.on("message", (command) => {
    if (command === "round") {
      workload.round().then(
        (figures) => send({ figures }),
        (error: Error) => send({ failed: error.stack ?? error.message }),
      );
    } else {
      void Promise.resolve(workload.close?.()).finally(() => process.exit(0));
    }
  });
  send({ ready: true });
} catch (error) {
  send({ failed: (error as Error).stack ?? String(error) });
}
