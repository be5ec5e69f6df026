/** A few hundred simulated worlds without a violation, and with enough events of each kind. `npm run sim` runs more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runSeeds } from "./pool.ts";
import { loadProduct } from "./product.ts";
import { explainFailure, runSeed } from "./seed.ts";

const SEEDS = 500;

/** The minimum number of events of each kind; with fewer, the invariants were not exercised. */
const ENOUGH: Readonly<Record<string, number>> = {
  "verdict pass": 500,
  "verdict fail": 500,
  "verdict hold": 5_000,
  "controller succeeded": 50,
  "controller failed": 50,
  "evaluator crashed": 300,
  "evaluator paused": 50,
  "evaluator cut": 50,
  "collector crashed": 200,
  "collector paused": 30,
  "collector cut": 30,
  "shim crashed": 50,
  "shim paused": 10,
  "shim cut": 10,
  "clock step": 50,
  "duplicate dropped": 1_000,
  "copy stored twice": 100,
  lost: 1_000,
  timeout: 300,
  blackout: 50,
  "invalid-messages": 50,
  "operator clear": 10,
  "operator abort": 5,
};

test("no simulated world violates an invariant", async () => {
  const { failures, counts, ran } = await runSeeds({ from: 0, seeds: SEEDS, threads: 2 });
  const first = failures[0];
  if (first !== undefined)
    assert.fail(`${failures.length} of ${ran} seeds violated an invariant\n${await explainFailure(await loadProduct(), first)}`);
  assert.equal(ran, SEEDS);
  for (const [what, least] of Object.entries(ENOUGH)) {
    assert.ok((counts.get(what) ?? 0) >= least, `${what}: ${counts.get(what) ?? 0} times, expected at least ${least}`);
  }
});

test("a seed determines one history", async () => {
  const product = await loadProduct();
  for (const seed of [1, 17, 26]) {
    const first = await runSeed(product, seed, true);
    const second = await runSeed(product, seed, true);
    assert.ok((first.trace ?? []).length > 100);
    assert.deepEqual(second.trace, first.trace);
  }
});
