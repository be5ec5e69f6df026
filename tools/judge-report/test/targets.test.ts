/**
 * A selection of the judge's targets with fewer runs, in seconds instead of minutes. All of them: `npm run judge:report --
 * --check`.
 * Seeds are fixed, so a target met here stays met until the rule changes.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { simulate } from "../cell.ts";
import { measureCheck } from "../checks.ts";
import { MUTATIONS, mutated } from "../mutations.ts";
import { edgeNumbers, STATE, withoutEachKey } from "../sound.ts";
import { CHECKS } from "../targets.ts";

describe("targets", () => {
  for (const check of CHECKS.filter(({ quick }) => quick !== undefined)) {
    it(`are met: ${check.what} (${Object.keys(check.cells).length > 1 ? "some cells" : Object.keys(check.cells)[0]})`, async () => {
      const { value, cell, met } = await measureCheck(check, (one, runs) => simulate(one, 0, runs), true);
      assert.ok(met, `${cell}: ${value}, and the bound is ${JSON.stringify(check.bound)}`);
    });
  }

  it("about error rates and delays each have a cell here", () => {
    const quick = new Set(CHECKS.flatMap(({ target, quick }) => (quick === undefined ? [] : [target])));
    assert.deepEqual(
      [...quick],
      ["T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T13", "T14", "T15", "T16", "T17"],
    );
    for (const { what, cells, quick } of CHECKS) {
      for (const name of quick?.cells ?? []) assert.ok(cells[name] !== undefined, `${what}: no cell ${name}`);
    }
  });

  it("are missed by a judge without one of its keys", async () => {
    for (const { mutation, target, cell, value, bound } of await withoutEachKey(200, 1)) {
      assert.ok(value > bound, `without ${mutation}, ${target} (${cell}) is still met: ${value}`);
    }
  });

  it("are checked with mutants whose functions exist", () => {
    const keys = readFileSync(new URL("../../../services/evaluator/src/core/judge/keys.ts", import.meta.url), "utf8");
    for (const mutation of MUTATIONS) assert.notEqual(mutated(keys, mutation), keys, mutation);
    assert.throws(() => mutated("", "burst factor"), /keys\.ts has no function burstFactor/);
  });

  it("of memory and range are met: at most 12 windows and 17 sums, and counts up to 2^31 yield probabilities", () => {
    assert.ok(STATE.windows <= 12 && STATE.numbers <= 17, JSON.stringify(STATE));
    assert.deepEqual(edgeNumbers(10_000), []);
  });
});
