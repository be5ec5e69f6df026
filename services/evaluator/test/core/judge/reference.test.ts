/** Learning before a run: from closed windows of stable, or of the same gateways, to plain numbers. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { referenceSchema } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow, WindowSummary } from "@aviary/shared/contract/window.ts";
import { referenceFrom } from "../../../src/core/judge/learn-reference.ts";
import { canary, cell, closed, evenly, judgeRun, POLICY, stable } from "./windows.ts";

/** Healthy windows of 9,000 requests whose errors, and squares of errors by slot, are these. */
const ERRORS = [20, 31, 27, 25, 33, 18, 29, 24, 22, 35, 26, 28];
const SQUARES = [90, 215, 161, 141, 253, 74, 185, 126, 110, 265, 148, 170];

/** Five counts with this sum and this sum of squares. */
function split(sum: number, squares: number, slots = 5): number[] | null {
  if (slots === 0) return sum === 0 && squares === 0 ? [] : null;
  for (let x = 0; x <= sum && x * x <= squares; x++) {
    const rest = split(sum - x, squares - x * x, slots - 1);
    if (rest !== null) return [x, ...rest];
  }
  return null;
}

const bySlot = ERRORS.map((x, k) => split(x, SQUARES[k]!) ?? assert.fail(`no split of ${x} with squares ${SQUARES[k]}`));

function history(slice: "canary" | "stable", times: number): ClosedWindow[] {
  return Array.from({ length: 12 * times }, (_, k) =>
    closed(k, [cell({ slice, requests: evenly(9000), errors: bySlot[k % 12]! })]),
  );
}

describe("reference", () => {
  it("learns from stable, and its figures are plain numbers", () => {
    const reference = referenceFrom(history("stable", 2), POLICY, "stable");
    assert.equal(reference.windows, 24);
    assert.equal(reference.from, "stable");
    assert.ok(Math.abs(reference.figures["errors.rho"]! - 2.4675367860943e-5) < 1e-15);
    assert.equal(reference.figures["errors.phi"], 1);
    assert.equal(reference.figures["az-a/errors.rho"], reference.figures["errors.rho"]);
    assert.ok(Math.abs(reference.figures["regression.limit_ms"]! / (1.15 * 50) - 1) < 0.006);
    assert.deepEqual(Object.keys(referenceSchema.parse(reference).figures).sort(), Object.keys(reference.figures).sort());
  });

  it("learns from the same gateways if there is no stable slice", () => {
    const reference = referenceFrom(history("canary", 2), POLICY, "canary");
    assert.equal(reference.from, "same-gateways");
    assert.ok(Math.abs(reference.figures["errors.rho"]! - 2.4675367860943e-5) < 1e-15);
  });

  it("uses the last 48 windows", () => {
    const wild = Array.from({ length: 24 }, (_, k) => closed(k, [stable(9000, k % 2 === 0 ? 0 : 500)]));
    const reference = referenceFrom([...wild, ...history("stable", 4)], POLICY, "stable");
    assert.deepEqual(reference, referenceFrom(history("stable", 4), POLICY, "stable"));
  });

  it("learns nothing from an empty or unreadable history", () => {
    const broken: WindowSummary = { ...stable(9000, 5), slots: [] };
    for (const windows of [[], [closed(0, [])], [closed(0, [broken]), closed(1, [broken])]]) {
      const reference = referenceFrom(windows, POLICY, "stable");
      assert.deepEqual([reference.from, reference.figures], ["none", {}]);
    }
  });

  it("decides: the same counts fail with a quiet reference, and pass with a noisy one", () => {
    const run = [31, 29].map((errors, k) => closed(k, [canary(5000, errors), stable(45000, 45)]));
    const quiet = referenceFrom(history("stable", 4), POLICY, "stable");
    assert.equal(judgeRun(run, { reference: quiet })[1]!.twoKey.verdict, "fail");
    const restless = referenceFrom(
      Array.from({ length: 24 }, (_, k) => closed(k, [stable(9000, k % 3 === 0 ? 100 : 10)])),
      POLICY,
      "stable",
    );
    const excused = judgeRun(run, { reference: restless })[1]!.twoKey;
    assert.notEqual(excused.verdict, "fail");
    assert.match(excused.warnings[0]?.text ?? "", /^29 of 5,000 requests failed in this window .*consistent with chance/);
  });
});
