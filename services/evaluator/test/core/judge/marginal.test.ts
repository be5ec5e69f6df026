/** Rules beside the judged metrics: 4xx responses, the canary's share of the traffic, repeated bursts, a ceiling that stable is over. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import type { WindowSummary } from "@aviary/shared/contract/window.ts";
import { referenceFrom } from "../../../src/core/judge/learn-reference.ts";
import type { JudgeOutcome } from "../../../src/core/judge/outcome.ts";
import { canary, cell, closed, evenly, judgeRun, noise, POLICY, stable } from "./windows.ts";

const verdicts = (outcomes: readonly JudgeOutcome[]) => outcomes.map(({ twoKey }) => twoKey.verdict).join(" ");
const codes = (outcome: JudgeOutcome | undefined) => outcome!.twoKey.reasons.map(({ code }) => code);

describe("4xx responses", () => {
  const with4xx = (one: WindowSummary, errors: number): WindowSummary => {
    const bySlot = evenly(errors);
    return { ...one, slots: one.slots.map((slot, k) => ({ ...slot, errors_4xx: bySlot[k]! })) };
  };
  const run = (onCanary: readonly number[], onStable: number, plan = {}) =>
    judgeRun(
      onCanary.map((errors, k) => closed(k, [with4xx(canary(500, 0), errors), with4xx(stable(4_500, 0), onStable)])),
      plan,
    );

  it("of everything after a release, fast and without a 5xx, are a hold in the first window", () => {
    const [first] = run([500], 90);
    assert.deepEqual([first!.twoKey.verdict, first!.literal.verdict, first!.twoKey.promotable], ["hold", "hold", false]);
    assert.deepEqual(codes(first), ["over_4xx"]);
    assert.match(
      first!.twoKey.reasons[0]!.text,
      /^500 of 500 requests were answered with 4xx in the last window \(100%\); stable 2%/,
    );
    assert.equal(first!.twoKey.concerns.errors, "hold");
  });

  it("are a fail if the policy requests that", () => {
    const policy = policySchema.parse({ over4xx: "fail" });
    assert.equal(verdicts(run([500], 90, { policy })), "fail");
  });

  it("of four times stable's share are a hold once the excess persists, and none below", () => {
    assert.deepEqual(run([50, 50, 50], 90).map(codes), [[], ["over_4xx"], ["over_4xx"]]);
    assert.deepEqual(run([35, 35, 35, 35], 90).map(codes), [[], [], [], []], "3.5 times stable's share");
  });

  it("are no objection once the storm is over, where stable has as many, or where they were not counted", () => {
    assert.deepEqual(codes(run([500, 500, 5], 90)[2]), []);
    assert.deepEqual(codes(run([400, 400], 3_600)[1]), []);
    assert.deepEqual(codes(judgeRun([closed(0, [with4xx(canary(500, 0), 500), stable(4_500, 0)])])[0]), []);
    assert.deepEqual(codes(run([500], 90, { rule: 2 })[0]), [], "version 2 had no such rule");
  });
});

describe("the canary's share of the traffic", () => {
  const run = (requests: readonly number[], weights: readonly number[], plan = {}) =>
    judgeRun(
      requests.map((n, k) => closed(k, [canary(n, 0), stable(10_000 - n, 0)], { weight: weights[k]! })),
      plan,
    ).map(codes);

  it("of less than half its weight is a hold that names both", () => {
    assert.deepEqual(run([1_000, 100], [10, 10]), [[], ["traffic_missing"]]);
    const [, second] = judgeRun([0, 1].map((k) => closed(k, [canary(100, 0), stable(9_900, 0)])));
    assert.equal(
      second!.twoKey.reasons[0]!.text,
      "100 of 10,000 requests reached the canary in this window (1%), 1,000 expected at a weight of 10%.",
    );
    assert.deepEqual([second!.twoKey.verdict, second!.twoKey.promotable, second!.literal.verdict], ["hold", false, "hold"]);
  });

  it("is expected at the smaller weight of the last two ends, because the weight may change within a window", () => {
    assert.deepEqual(run([500, 1_500, 2_500], [5, 50, 50]), [[], [], []]);
    assert.deepEqual(run([500, 1_500, 2_400], [5, 50, 50])[2], ["traffic_missing"]);
  });

  it("is not judged without a weight, at full weight, for synthetic traffic, or with so few requests that chance explains it", () => {
    assert.ok(!run([1, 1], [0, 0])[1]!.includes("traffic_missing"));
    assert.deepEqual(run([4_000, 4_000], [100, 100])[1], []);
    const few = judgeRun([0, 1].map((k) => closed(k, [canary(3, 0), stable(97, 0)])));
    assert.ok(!codes(few[1]).includes("traffic_missing"));
    assert.deepEqual(run([1_000, 100], [10, 10], { rule: 2 })[1], []);
  });
});

describe("repeated bursts", () => {
  const run = (n: number, share: number, windows: number, plan = {}) =>
    judgeRun(
      Array.from({ length: windows }, (_, k) => closed(k, [canary(n, Math.round(share * n), [k % 5]), stable(9 * n, 0)])),
      plan,
    );

  for (const n of [100, 300, 1_000, 5_000]) {
    it(`of 8% of ${n} requests, within one minute of each window, fail in the third window`, () => {
      assert.equal(verdicts(run(n, 0.08, 3)), "hold hold fail");
      assert.equal(verdicts(run(n, 0.08, 3, { reference: noise(1e-5) })), "hold hold fail");
    });
  }

  it("below eight times the ceiling still count as one event each", () => {
    assert.equal(verdicts(run(1_000, 0.03, 3)), "hold hold hold");
  });
});

describe("a p99 ceiling that stable is over by itself", () => {
  const slow = (slice: "canary" | "stable", requests: number, ms = 400): WindowSummary =>
    cell({
      slice,
      requests: evenly(requests),
      latency: (_, n) => [
        [50, n - Math.round(n * 0.03)],
        [ms, Math.round(n * 0.025)],
        [1.25 * ms, Math.round(n * 0.03) - Math.round(n * 0.025)],
      ],
    });
  const reference = referenceFrom(
    Array.from({ length: 24 }, (_, k) => closed(k, [slow("stable", 9_000)])),
    POLICY,
    "stable",
  );
  const run = (ms: number, plan = {}) =>
    judgeRun(
      Array.from({ length: 4 }, (_, k) => closed(k, [slow("canary", 1_000, ms), slow("stable", 9_000)])),
      { reference, ...plan },
    );

  it("is a warning to raise it, not an environment that never ends", () => {
    const outcomes = run(400);
    assert.equal(verdicts(outcomes), "pass pass pass pass");
    const warnings = outcomes[3]!.twoKey.warnings.map(({ text }) => text);
    assert.equal(warnings.filter((text) => text.startsWith("Raise maxP99 (220 ms): stable is over it by itself")).length, 1);
    assert.equal(outcomes[3]!.literal.verdict, "pass");
    assert.equal(run(400, { rule: 2 })[3]!.twoKey.reasons[0]?.code, "environment");
  });

  it("leaves the comparison with stable in force", () => {
    assert.equal(run(600)[3]!.twoKey.verdict, "fail");
    assert.equal(run(600)[3]!.twoKey.reasons[0]?.code, "p99_regression");
  });

  it("is judged as before without a reference", () => {
    assert.equal(run(400, { reference: null })[3]!.twoKey.reasons[0]?.code, "environment");
  });
});
