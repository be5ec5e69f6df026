/**
 * `npm run bench` lists the benchmarks, `npm run bench -- <name> [--json]` runs one, `npm run bench -- all` runs all.
 * With `--json`, prints one line per target; otherwise a table. Exit code 1 if something could not be measured; a missed target
 * is not a failure, because a shared machine may be slow.
 */
import { availableParallelism, cpus } from "node:os";
import { parseArgs } from "node:util";
import type { BenchmarkEntry, BenchmarkResult } from "./benchmark.ts";
import { BENCHMARKS } from "./list.ts";
import { jsonLine, table } from "./report.ts";

/** Upper bound for one benchmark. */
const LIMIT_MS = 115_000;

const { values, positionals } = parseArgs({ options: { json: { type: "boolean", default: false } }, allowPositionals: true });
const [name] = positionals;

if (name === undefined) {
  for (const entry of BENCHMARKS) console.log(`${entry.name.padEnd(12)}${entry.targets.join(" ").padEnd(10)}${entry.about}`);
} else {
  const chosen = name === "all" ? BENCHMARKS : BENCHMARKS.filter((entry) => entry.name === name);
  if (chosen.length === 0) fail(`unknown benchmark ${name}; available: ${BENCHMARKS.map((entry) => entry.name).join(", ")}`);
  if (!values.json) console.log(`node ${process.version}, ${availableParallelism()} cores (${cpus()[0]?.model ?? "unknown"})`);
  for (const entry of chosen) {
    try {
      report(entry, await runBounded(entry));
    } catch (error) {
      console.error(`${entry.name}: ${(error as Error).stack ?? error}`);
      process.exitCode = 1;
    }
  }
  // Open resources are no longer needed.
  process.exit();
}

async function runBounded(entry: BenchmarkEntry): Promise<BenchmarkResult> {
  const stuck = setTimeout(() => fail(`${entry.name} did not finish within ${LIMIT_MS / 1000} s`), LIMIT_MS);
  try {
    await using cleanup = new AsyncDisposableStack();
    const { benchmark } = await entry.load();
    return await benchmark.run(cleanup);
  } finally {
    clearTimeout(stuck);
  }
}

function report(entry: BenchmarkEntry, outcome: BenchmarkResult): void {
  if (values.json) for (const measured of outcome.measurements) console.log(jsonLine(measured));
  else console.log(`\n${entry.name}: ${entry.about}\n${table(outcome)}`);
}

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
