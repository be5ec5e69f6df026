/**
 * Every defect of `mutants.ts`, written into a copy of the product, is detected by the simulation, and by the expected checker.
 */
import assert from "node:assert/strict";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { MUTANTS, type Mutant } from "./mutants.ts";
import { runSeeds } from "./pool.ts";
import { sourceOf } from "./product.ts";

/** Inside the project, so that packages are found, and in an ignored directory. */
const COPIES = fileURLToPath(new URL("../../.aviary/mutants", import.meta.url));
const WITHIN = 1_000;

/** A copy of the product with the defect. */
function write(mutant: Mutant): string {
  const root = join(COPIES, mutant.name);
  rmSync(root, { recursive: true, force: true });
  cpSync(sourceOf(mutant.service ?? "evaluator"), root, { recursive: true });
  const path = join(root, mutant.file);
  const text = readFileSync(path, "utf8");
  const words = mutant.from.trim().split(/\s+/);
  const pattern = new RegExp(words.map((word) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+"), "g");
  const matches = [...text.matchAll(pattern)].length;
  assert.equal(
    matches,
    1,
    `${mutant.file} contains the text of ${mutant.name} ${matches} times instead of once: update the mutant`,
  );
  writeFileSync(
    path,
    text.replace(pattern, () => mutant.to),
  );
  return root;
}

describe("every injected defect is detected", { concurrency: 2 }, () => {
  for (const mutant of MUTANTS) {
    it(`${mutant.name} (invariant ${mutant.caughtBy})`, async (t) => {
      const root = write(mutant);
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
