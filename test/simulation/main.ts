/**
 * `npm run sim -- --seeds 10000 --from 0` runs many simulated worlds and lists the seeds that violate an invariant. A single
 * seed also prints its history.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { runCommand, wholeNumber } from "./command-line.ts";
import { runSeeds } from "./pool.ts";
import { loadProduct } from "./product.ts";
import { explainFailure, runSeed } from "./seed.ts";

const USAGE = "npm run sim -- [--seeds <number, 1000>] [--from <first seed, 0>] [--threads <number, one per core>]";
const MOST_EXPLAINED = 5;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { seeds: { type: "string" }, from: { type: "string" }, threads: { type: "string" } },
  });
  const seeds = wholeNumber("seeds", values.seeds, 1_000, USAGE);
  const from = wholeNumber("from", values.from, 0, USAGE);
  const threads = Math.max(1, wholeNumber("threads", values.threads, availableParallelism(), USAGE));
  if (seeds === 1) return one(from);
  const startedAt = performance.now();
  let reported = 0;
  const { failures, counts, ran } = await runSeeds({
    from,
    seeds,
    threads,
    onProgress: (done) => {
      if (done - reported < 1_000) return;
      reported = done;
      console.log(`${done} of ${seeds}`);
    },
  });
  const tookS = (performance.now() - startedAt) / 1_000;
  console.log(
    `${ran} worlds in ${tookS.toFixed(0)} s (${((tookS * 1_000) / ran).toFixed(1)} ms each, ${threads} threads). Events:`,
  );
  for (const [what, number] of [...counts].sort()) console.log(`  ${String(number).padStart(9)}  ${what}`);
  const product = failures.length > 0 ? await loadProduct() : undefined;
  for (const failure of failures.slice(0, MOST_EXPLAINED)) console.log(`\n${await explainFailure(product!, failure)}`);
  if (failures.length > MOST_EXPLAINED) {
    const rest = failures.slice(MOST_EXPLAINED, MOST_EXPLAINED + 50).map(({ seed }) => seed);
    console.log(`\nand ${failures.length - MOST_EXPLAINED} more: seeds ${rest.join(", ")}`);
  }
  console.log(failures.length === 0 ? "No violation." : `${failures.length} of ${ran} seeds violated an invariant.`);
  return failures.length === 0 ? 0 : 1;
}

/** One seed: its whole history, and the findings. */
async function one(seed: number): Promise<number> {
  const product = await loadProduct();
  const { findings, trace } = await runSeed(product, seed, true);
  for (const line of trace ?? []) console.log(line);
  if (findings.length === 0) console.log(`seed ${seed}: no violation.`);
  else console.log(`\n${await explainFailure(product, { seed, findings })}`);
  return findings.length === 0 ? 0 : 1;
}

await runCommand(main);
