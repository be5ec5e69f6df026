/** Regressions: the limits, the second witness (p90), gateways that are unequal by themselves, and the hour before the run. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import { referenceFrom } from "../../../src/core/judge/learn-reference.ts";
import { lowerBoundRank } from "../../../src/core/judge/quantile-bound.ts";
import { limitMsOf } from "../../../src/core/judge/regression-limits.ts";
import type { CellPlan } from "./windows.ts";
import { cell, closed, evenly, judgeRun, POLICY } from "./windows.ts";

/** Each share of the requests at its latency, the rest at the first one. */
function mixture(
  name: "canary" | "stable",
  requests: number,
  restMs: number,
  shares: readonly (readonly [ms: number, share: number])[],
) {
  const plan: CellPlan = {
    slice: name,
    requests: evenly(requests),
    latency: (_, n) => {
      const slow = shares.map(([ms, share]) => [ms, Math.round(share * n)] as const);
      return [[restMs, n - slow.reduce((sum, [, times]) => sum + times, 0)], ...slow];
    },
  };
  return plan;
}

/** A p50 of 30 ms, a p90 of 60 ms and a p99 of 120 ms, times a factor; 0.4% are slower than the limit of the p99. */
const slice = (name: "canary" | "stable", requests: number, factor = 1) =>
  mixture(name, requests, 30 * factor, [
    [60 * factor, 0.1],
    [120 * factor, 0.011],
    [150 * factor, 0.004],
  ]);
const window = (k: number, canary: CellPlan, stable: CellPlan) => closed(k, [cell(canary), cell(stable)]);
const codes = (outcomes: ReturnType<typeof judgeRun>) =>
  outcomes.map(({ twoKey }) => twoKey.reasons.map(({ code }) => code).join(" ") || twoKey.verdict);

describe("the limit of a regression", () => {
  it("is the ratio of stable's quantile, and at least the minimum difference above it", () => {
    assert.equal(limitMsOf(100, { ratio: 1.15, minDeltaMs: 5 }), 1.15 * 100);
    assert.equal(limitMsOf(1.6, { ratio: 1.15, minDeltaMs: 5 }), 6.6);
    assert.equal(limitMsOf(1.6, { ratio: 1.15, minDeltaMs: 0 }), 1.15 * 1.6);
  });

  it("lets 2.0 ms beside 1.6 ms pass in both modes, unless the policy has no minimum difference", () => {
    const fast = (name: "canary" | "stable", ms: number): CellPlan => ({
      slice: name,
      requests: evenly(2_000),
      latency: (_, n) => [[ms, n]],
    });
    const windows = [0, 1, 2].map((k) => window(k, fast("canary", 2), fast("stable", 1.6)));
    const [first, , last] = judgeRun(windows);
    assert.deepEqual([first!.twoKey.verdict, last!.twoKey.verdict, last!.literal.verdict], ["pass", "pass", "pass"]);
    const exact = policySchema.parse({ thresholds: { minLatencyDelta: "0ms" } });
    assert.deepEqual(codes(judgeRun(windows, { policy: exact })), ["p99_regression", "p99_regression", "p99_regression"]);
    const version2 = judgeRun(windows, { rule: 2 });
    assert.equal(version2[2]!.twoKey.verdict, "fail");
  });
});

describe("the lower bound of a quantile", () => {
  // Smallest r with P(Y >= r) <= 5% for a binomial Y, from mpmath (40 digits).
  for (const [total, quantile, rank] of [
    [300, 0.99, 7],
    [1_000, 0.99, 16],
    [14_400, 0.99, 165],
    [300, 0.9, 40],
    [14_400, 0.9, 1_500],
  ] as const) {
    it(`of ${total} observations at ${quantile} is the ${rank}th slowest`, () => {
      assert.equal(lowerBoundRank(total, quantile), rank);
    });
  }

  it("does not exist for too few observations", () => {
    assert.deepEqual([lowerBoundRank(0, 0.9), lowerBoundRank(1, 0.9), lowerBoundRank(2, 0.9)], [null, null, 2]);
  });
});

describe("gateways that are slower by themselves", () => {
  const history = (factor: number) =>
    Array.from({ length: 24 }, (_, k) => window(k, slice("canary", 1_000, factor), slice("stable", 9_000)));
  const learned = (factor: number) => referenceFrom(history(factor), POLICY, "stable");
  const run = (factor: number) =>
    Array.from({ length: 6 }, (_, k) => window(k, slice("canary", 1_000, factor), slice("stable", 9_000)));

  it("are allowed what they were slower before the run, and no more", () => {
    const reference = learned(1.2);
    const ratio = reference.figures["regression.slice_ratio"]!;
    assert.ok(Math.abs(ratio - 1.2) < 0.015, `${ratio}: one bucket is 1.1%`);
    assert.deepEqual(new Set(codes(judgeRun(run(1.2), { reference }))), new Set(["pass"]));
    assert.equal(codes(judgeRun(run(1.5), { reference })).at(-1), "p99_regression");
    assert.equal(judgeRun(run(1.5), { reference }).at(-1)!.twoKey.verdict, "fail");
  });

  it("fail if they were equal before the run", () => {
    assert.equal(judgeRun(run(1.2), { reference: learned(1) }).at(-1)!.twoKey.verdict, "fail");
    assert.equal(learned(1).figures["regression.slice_ratio"], undefined);
    assert.equal(learned(0.8).figures["regression.slice_ratio"], undefined, "faster gateways get no allowance");
  });

  it("are not excused by a slow spell of the canary slice before the run", () => {
    const spell = history(1).map((one, k) => (k === 15 ? window(k, slice("canary", 1_000, 3), slice("stable", 9_000)) : one));
    assert.equal(referenceFrom(spell, POLICY, "stable").figures["regression.slice_ratio"], undefined);
  });

  it("are allowed only what they were slower in calm windows, whatever their spells", () => {
    const spell = (factor: number) =>
      Array.from({ length: 48 }, (_, k) =>
        window(k, slice("canary", 1_000, k === 20 || k === 21 ? 8 : factor), slice("stable", 9_000)),
      );
    const ratio = (factor: number) => referenceFrom(spell(factor), POLICY, "stable").figures["regression.slice_ratio"];
    assert.equal(ratio(1), undefined);
    assert.ok(Math.abs(ratio(1.2)! - 1.2) < 0.015, `${ratio(1.2)}: one bucket is 1.1%`);
  });
});

describe("the second witness of a regression", () => {
  /** A p90 of 70 ms and a p99 of 400 ms; 0.8% are slower than the limit of the p99. */
  const stable = mixture("stable", 4_500, 40, [
    [70, 0.14],
    [400, 0.004],
    [600, 0.008],
  ]);
  const reference = referenceFrom(
    Array.from({ length: 48 }, (_, k) => closed(k, [cell(stable)])),
    POLICY,
    "stable",
  );
  const run = (slowShare: number, rule: 2 | 3) => {
    const canary = mixture("canary", 500, 56, [
      [98, 0.14],
      [600, slowShare],
    ]);
    return judgeRun(
      Array.from({ length: 6 }, (_, k) => window(k, canary, stable)),
      { reference, rule },
    ).at(-1)!.twoKey;
  };

  it("fails a canary whose p90 shifts, although its slowest 1% are no evidence", () => {
    assert.notEqual(run(0.012, 2).verdict, "fail");
    const { verdict, reasons } = run(0.012, 3);
    assert.equal(verdict, "fail");
    assert.match(reasons[0]!.text, /took over 8\d(\.\d)? ms \(stable's p90 and its margin\)/);
    assert.equal(reasons[0]!.metric, "slower_than_stable_p90_ratio");
  });

  it("fails nothing while less than 1% of the requests are slower than the p99 and its margin", () => {
    assert.notEqual(run(0.004, 3).verdict, "fail");
  });
});

describe("the baseline of a regression", () => {
  it("is the run's own once it has a thousand latencies of stable: both slices may be faster than in the hour before", () => {
    const before = Array.from({ length: 24 }, (_, k) => closed(k, [cell(slice("stable", 9_000))]));
    const reference = referenceFrom(before, POLICY, "stable");
    const windows = [0, 1, 2].map((k) => window(k, slice("canary", 1_000, 0.85 * 1.3), slice("stable", 9_000, 0.85)));
    assert.equal(judgeRun(windows, { reference })[2]!.twoKey.verdict, "fail");
    const policy = policySchema.parse({ thresholds: { minLatencyDelta: "0ms" } });
    const frozen = referenceFrom(before, policy, "stable");
    assert.equal(judgeRun(windows, { reference: frozen, rule: 2 })[2]!.twoKey.verdict, "pass");
  });

  it("leaves out a slow spell of both slices during the run, so that it hides nothing after it", () => {
    const spell = (k: number) => window(k, slice("canary", 1_000, 8), slice("stable", 9_000, 8));
    const slow = (k: number) => window(k, slice("canary", 1_000, 1.3), slice("stable", 9_000));
    const windows = [
      window(0, slice("canary", 1_000), slice("stable", 9_000)),
      spell(1),
      spell(2),
      ...[3, 4, 5, 6, 7, 8].map(slow),
    ];
    const before = Array.from({ length: 24 }, (_, k) => closed(k, [cell(slice("stable", 9_000))]));
    const outcomes = judgeRun(windows, { reference: referenceFrom(before, POLICY, "stable") });
    assert.deepEqual(outcomes[2]!.leftOut, [1, 2]);
    assert.match(codes(outcomes)[2]!, /^environment/);
    assert.equal(outcomes.at(-1)!.twoKey.verdict, "fail");
  });
});
