/**
 * The process of one contender: `node contender.ts <benchmark> <contender> <settings as JSON>`, started and controlled by
 * `rounds.ts`.
 */
import { BENCHMARKS } from "./list.ts";
import type { Answer, Contestant } from "./rounds.ts";

const [benchmarkName, contenderName, settings] = process.argv.slice(2);

const say = (answer: Answer): void => void process.send?.(answer);
// The parent ended without notice.
process.on("disconnect", () => process.exit(1));

async function start(): Promise<Contestant> {
  const entry = BENCHMARKS.find((candidate) => candidate.name === benchmarkName);
  const { benchmark } = (await entry?.load()) ?? {};
  const make = benchmark?.contestants[contenderName as string];
  if (make === undefined) throw new Error(`no benchmark ${benchmarkName} has a contender ${contenderName}`);
  return make(JSON.parse(settings as string) as never);
}

try {
  const contestant = await start();
  process.on("message", (command) => {
    if (command === "round") {
      contestant.round().then(
        (figures) => say({ figures }),
        (error: Error) => say({ failed: error.stack ?? error.message }),
      );
    } else {
      void Promise.resolve(contestant.close?.()).finally(() => process.exit(0));
    }
  });
  say({ ready: true });
} catch (error) {
  say({ failed: (error as Error).stack ?? String(error) });
}
