/**
 * Every defect of `mutants.ts`, injected into a copy of the product, is detected by the expected checker of the simulation.
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { describe, it } from "node:test";
import { MUTANTS } from "./mutants.ts";
import { writeMutatedCopy } from "./mutated-copy.ts";
import { runSeeds } from "./pool.ts";

const WITHIN = 1_000;

describe("the injected defect", { concurrency: 2 }, () => {
  for (const mutant of MUTANTS) {
    it(`${mutant.name} is detected by the checker of ${mutant.caughtBy}`, async (t) => {
      const root = writeMutatedCopy(mutant);
      const { failures, ran } = await runSeeds({
        from: 0,
        seeds: WITHIN,
        threads: 1,
        copies: { [mutant.service ?? "evaluator"]: root },
        until: mutant.caughtBy,
      });
      rmSync(root, { recursive: true, force: true });
      const caughtBy = [...new Set(failures.flatMap(({ findings }) => findings.map(({ invariant }) => invariant)))];
      for (const { seed, findings } of failures) {
        const found = findings.find(({ invariant }) => invariant === mutant.caughtBy);
        if (found === undefined) continue;
        t.diagnostic(
          `first broken at seed ${failures[0]!.seed}; seed ${seed}: ${found.what}; broken in all: ${caughtBy.join(", ")}`,
        );
        return;
      }
      assert.fail(`not detected by the checker of ${mutant.caughtBy} in ${ran} seeds (others: ${caughtBy.join(", ") || "none"})`);
    });
  }
});
