/** Every defect of `mutants.ts`, injected into a copy of the product, is detected by its law in some world, or by its limit. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { describe, it } from "node:test";
import { writeMutatedCopy } from "../simulation/mutated-copy.ts";
import { exceededLimits, LIMITED_WORLDS } from "./judge/limits.ts";
import { SPECIFICATION_MUTANTS } from "./mutants.ts";
import { runWorlds } from "./pool.ts";
import { totalsOf } from "./report.ts";
import type { WorldResult } from "./worker.ts";

describe("the injected defect", { concurrency: 2 }, () => {
  for (const { name, replacements, theme, caughtBy } of SPECIFICATION_MUTANTS) {
    it(`${name} is detected (${caughtBy})`, async (t) => {
      const copies = Object.fromEntries(
        replacements.map((each, index) => [
          each.service ?? "evaluator",
          writeMutatedCopy({ ...each, name: `closed-loop-${name}-${index}` }),
        ]),
      );
      const breaksLaw = ({ violations }: WorldResult): boolean => violations.some(({ law }) => law === caughtBy);
      const results = await runWorlds({
        from: 0,
        worlds: LIMITED_WORLDS[theme],
        threads: 1,
        advisors: ["aviary"],
        theme,
        copies,
        until: (found) => found.some(breaksLaw),
      });
      for (const copy of Object.values(copies)) rmSync(copy, { recursive: true, force: true });
      const world = results.find(breaksLaw);
      if (world !== undefined) {
        t.diagnostic(`world ${world.seed}: ${world.violations.find(({ law }) => law === caughtBy)!.text}`);
        return;
      }
      const exceeded = exceededLimits(theme, totalsOf(results).get("aviary")!);
      const found = exceeded.find((limit) => limit.name === caughtBy);
      const laws = new Set(results.flatMap(({ violations }) => violations.map(({ law }) => law)));
      assert.ok(
        found,
        `not detected in ${results.length} worlds; laws: ${[...laws].join(", ") || "none"}; limits: ${exceeded.map(({ text }) => text).join("; ") || "none"}`,
      );
      t.diagnostic(found.text);
    });
  }
});
