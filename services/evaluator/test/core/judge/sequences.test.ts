/** Whole runs with known results: the documented sequences of the rule, and their texts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { JudgeOutcome } from "../../../src/core/judge/outcome.ts";
import type { RunPlan } from "./windows.ts";
import { canary, cell, closed, evenly, judgeRun, noise, POLICY, stable } from "./windows.ts";

const verdicts = (outcomes: readonly JudgeOutcome[]) => outcomes.map(({ twoKey }) => twoKey.verdict).join(" ");

/** Canary errors by window, each in the given sub-windows, next to a stable slice without errors. */
function run(
  n: number,
  errors: readonly (readonly [count: number, slots?: readonly number[]])[],
  plan: RunPlan = {},
): JudgeOutcome[] {
  return judgeRun(
    errors.map(([count, slots], k) => closed(k, [canary(n, count, slots), stable(9 * n, 0)])),
    plan,
  );
}

function closeTo(actual: number | null, expected: number): void {
  assert.ok(actual !== null && Math.abs(actual - expected) <= 1e-9 * expected, `${actual} is not ${expected}`);
}

describe("two-key sequences", () => {
  it("50 requests per window, 2% bad: the last three windows fail in the fifth", () => {
    const outcomes = run(50, [[1], [0], [2, [0, 1]], [1], [2, [0, 1]]]);
    assert.equal(verdicts(outcomes), "hold pass hold hold fail");
    const last = outcomes[4]!;
    closeTo(last.pValue, 1.49324119058e-4);
    const [reason] = last.twoKey.reasons;
    assert.equal(reason?.code, "over_5xx");
    assert.equal(
      reason?.text,
      "5 of 150 requests failed in the last 3 windows (3.3%, limit 0.5%); p≈1/6,700 for a healthy canary; stable 0% [rho 0.0013, phi 1 assumed].",
    );
    assert.deepEqual([reason?.value, reason?.limit, reason?.unit], [0.0333333, 0.005, "1"]);
    assert.equal(last.twoKey.concerns.errors, "fail");
    assert.equal(last.literal.verdict, "fail");
  });

  it("0.6% of 5,000 fails in the second window if the noise is known, and is a hold otherwise", () => {
    const slots = [0, 1, 2, 3, 4];
    const errors = [
      [31, slots],
      [29, slots],
    ] as const;
    const known = run(5000, errors, { reference: noise(1e-5) });
    assert.equal(verdicts(known), "hold fail");
    closeTo(known[1]!.pValue, 1.40674855647e-6);
    assert.deepEqual(known[1]!.noise, { overdispersion: 1e-5, burstFactor: 1, referenceWindows: 48 });
    const unknown = run(5000, errors);
    assert.equal(unknown[1]!.twoKey.verdict, "hold");
    assert.deepEqual(unknown[1]!.noise, { overdispersion: 0.00125, burstFactor: 1, referenceWindows: 0 });
  });

  it("25 of 300 spread over all sub-windows fail in one window; within one sub-window they are one event", () => {
    const spread = run(300, [[0], [25]]);
    assert.equal(verdicts(spread), "pass fail");
    const burst = run(300, [[0], [25, [3]], [0]]);
    assert.equal(verdicts(burst), "pass hold hold");
    const [reason] = burst[1]!.twoKey.reasons;
    assert.equal(reason?.code, "over_5xx");
    assert.match(reason?.text ?? "", /^25 of 300 requests failed in the last window .* in bursts of ~22/);
  });

  it("the same counts fail with the documented p-value for uneven sub-windows", () => {
    // Five sub-windows with sum 25 and sum of squares 129.
    const window = (k: number, bySlot: number[]) => closed(k, [cell({ requests: evenly(300), errors: bySlot }), stable(2700, 0)]);
    const outcomes = judgeRun([window(0, [0, 0, 0, 0, 0]), window(1, [5, 6, 4, 4, 6])]);
    closeTo(outcomes[1]!.pValue, 2.56059789808e-13);
  });

  it("evidence scales the level: strict waits, eager does not", () => {
    const errors = [[1], [0], [2, [0, 1]], [1], [2, [0, 1]]] as const;
    const at = (evidence: "strict" | "normal" | "eager") => verdicts(run(50, errors, { policy: { ...POLICY, evidence } }));
    assert.equal(at("strict"), "hold pass hold hold hold");
    assert.equal(at("eager"), "hold pass hold fail fail");
  });

  it("healthy traffic passes, and is promotable once twice the ceiling is ruled out", () => {
    const outcomes = run(
      100,
      Array.from({ length: 5 }, () => [0] as const),
    );
    assert.equal(verdicts(outcomes), "pass pass pass pass pass");
    assert.deepEqual(
      outcomes.map(({ twoKey }) => twoKey.promotable),
      [false, false, false, true, true],
    );
    const [warning] = outcomes[0]!.twoKey.warnings;
    assert.match(warning?.text ?? "", /^No promotion yet: 0 of 100 requests failed; 1% is not ruled out/);
    assert.equal(outcomes[3]!.twoKey.warnings.length, 0);
  });

  it("too few requests are a hold for lack of evidence, with the number that is needed", () => {
    const [first] = run(40, [[0]]);
    assert.equal(first!.twoKey.verdict, "hold");
    const [reason] = first!.twoKey.reasons;
    assert.equal(reason?.code, "low_traffic");
    assert.match(reason?.text ?? "", /^40 requests, none failed; about 6[0-9] are needed to rule out a gross fault \(5%\)/);
  });

  it("under the ceiling but far worse than stable: passes, is not promotable, with a warning", () => {
    const outcomes = judgeRun(
      Array.from({ length: 6 }, (_, k) => closed(k, [canary(3000, 9), stable(27000, 13)])),
      { reference: noise(1e-5) },
    );
    const last = outcomes[5]!.twoKey;
    assert.equal(last.verdict, "pass");
    assert.equal(last.promotable, false);
    assert.match(last.warnings.map(({ text }) => text).join("\n"), /54 of 18,000 requests failed, 6\.2 x stable's rate/);
  });

  it("worse than stable only at its start: is promotable once its last twelve windows are not", () => {
    const errors = (k: number) => (k === 0 ? 40 : 1);
    const outcomes = judgeRun(
      Array.from({ length: 14 }, (_, k) => closed(k, [canary(3000, errors(k)), stable(27000, 13)])),
      { reference: noise(1e-5) },
    );
    const promotable = outcomes.map(({ twoKey }) => twoKey.promotable);
    assert.deepEqual([promotable[10], promotable[11], promotable[12]], [false, false, true]);
  });

  it("mildly worse than stable with little traffic: stays so, although its last windows hold few errors", () => {
    const outcomes = judgeRun(
      Array.from({ length: 40 }, (_, k) => closed(k, [canary(120, k % 4 === 0 ? 1 : 0), stable(27000, 5)])),
      { reference: noise(1e-5) },
    );
    const last = outcomes.at(-1)!.twoKey;
    assert.equal(last.promotable, false);
    assert.match(last.warnings.map(({ text }) => text).join("\n"), /x stable's rate/);
  });

  it("both slices are affected: environment, not the canary", () => {
    const outcomes = judgeRun([0, 1].map((k) => closed(k, [canary(300, 9), stable(2700, 65)])));
    const last = outcomes[1]!.twoKey;
    assert.equal(last.verdict, "hold");
    assert.equal(last.reasons[0]?.code, "environment");
    assert.match(
      last.reasons[0]?.text ?? "",
      /18 of 600 requests failed .* 14 expected at stable's rate: stable is affected too/,
    );
  });
});
