/**
 * The keys at their limits. Expected values were computed with mpmath (40 digits): the mid-p tail of the negative binomial for
 * p-values, the regularized incomplete beta function for binomial tails.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Counts, WindowRange } from "../../../src/core/judge/counts.ts";
import { EMPTY, NOTHING, withWindow } from "../../../src/core/judge/counts.ts";
import { equalRatesPValue, isConsistentWithStable } from "../../../src/core/judge/equal-rates.ts";
import type { KeyRule } from "../../../src/core/judge/keys.ts";
import { environmentKey, isOutlier, persistenceKey, restLevel } from "../../../src/core/judge/keys.ts";
import type { MetricRule, MetricSeries } from "../../../src/core/judge/window-ranges.ts";
import { alphaLevel, testRanges } from "../../../src/core/judge/window-ranges.ts";

const RULE: MetricRule = {
  version: 3,
  metric: "errors",
  ceiling: 0.005,
  noise: { overdispersion: 1e-5, burstFactor: 1 },
  meanVariance: 0,
  levelFactor: 1,
  suspicionFactor: 1,
};
const VERSION_2: KeyRule = { ...RULE, version: 2 };

/** Bad requests spread evenly, at 0.3% when healthy, beside stable's. */
function counts(requests: number, bad: number, stable?: readonly [requests: number, bad: number]): Counts {
  const [ns, xs] = stable ?? [0, 0];
  const compared =
    ns === 0
      ? {}
      : {
          stableBad: (requests / ns) * xs,
          stableVariance: (requests / ns) ** 2 * xs,
          comparedBad: bad,
          comparedRequests: requests,
          stableRequests: ns,
        };
  const squares = { badSquares: bad ** 2 / 5, requestSquares: requests ** 2 / 5 };
  return { ...NOTHING, requests, bad, ...squares, healthyBad: 0.003 * requests, ...compared };
}

const rangeOf = (windows: readonly Counts[]): WindowRange =>
  windows.reduce((sum, window) => withWindow(sum, window, RULE.ceiling), EMPTY);
const seriesOf = (recent: readonly Counts[], older = EMPTY): MetricSeries => ({
  recent,
  older,
  run: recent.reduce((sum, window) => withWindow(sum, window, RULE.ceiling), older),
});
const close = (actual: number, expected: number) =>
  assert.ok(Math.abs(actual - expected) <= 1e-9 * expected, `${actual} is not ${expected}`);

describe("the persistence key", () => {
  /** One window of 1,000 with `worst` bad requests, and eleven with `rest` in total. */
  const range = (worst: number, rest: number) =>
    rangeOf([counts(1_000, worst), ...Array.from({ length: 11 }, (_, k) => counts(1_000, Math.floor((rest + k) / 11)))]);

  it("treats a window as an outlier from 12 of 1,000 on, where the others have 3 each", () => {
    // p = 2.2e-4 for 11 of 1,000, 5.5e-5 for 12, at the remainder's 34 of 11,200.
    assert.equal(isOutlier(range(11, 33), 1, RULE), false);
    assert.equal(isOutlier(range(12, 33), 1, RULE), true);
    assert.equal(isOutlier(range(40, 33), 40, RULE), false, "one burst of 40 is no outlier");
  });

  it("requires a remainder at p <= 0.005 beside an outlier, and at p <= 0.1 otherwise", () => {
    assert.equal(restLevel(range(20, 48), 1, RULE), 0.005);
    assert.equal(restLevel(range(11, 48), 1, RULE), 0.1);
    // p = 0.0071 for a remainder of 48 of 11,000, 0.0046 for 49: both reach 80% of the ceiling.
    assert.equal(persistenceKey(range(20, 48), 1, RULE), false);
    assert.equal(persistenceKey(range(20, 49), 1, RULE), true);
  });

  it("of version 2 ignores outliers", () => {
    assert.equal(persistenceKey(range(20, 48), 1, VERSION_2), true);
  });
});

describe("the environment key beside a small stable slice", () => {
  it("compares the slices by the binomial tail of all bad requests", () => {
    close(equalRatesPValue(rangeOf([counts(900, 27, [100, 0])])), 0.05814973700304);
    close(equalRatesPValue(rangeOf([counts(900, 30, [100, 0])])), 0.0423911582752162);
    close(equalRatesPValue(rangeOf([counts(900, 18, [100, 2])])), 0.676926805189466);
    close(equalRatesPValue(rangeOf([counts(600, 20, [5_400, 130])])), 0.11297657016173503);
  });

  it("is not satisfied while stable would show the canary's rate and is consistent with it", () => {
    assert.equal(environmentKey(rangeOf([counts(900, 27, [100, 0])]), RULE), false);
    assert.equal(environmentKey(rangeOf([counts(900, 30, [100, 0])]), RULE), true);
    assert.equal(environmentKey(rangeOf([counts(900, 27, [100, 0])]), VERSION_2), true);
  });

  it("compares nothing where fewer than three errors would be expected on stable", () => {
    assert.equal(isConsistentWithStable(rangeOf([counts(900, 26, [100, 0])])), false);
    assert.equal(isConsistentWithStable(rangeOf([counts(900, 26)])), false);
  });
});

describe("significance levels", () => {
  const level = (windows: readonly Counts[], whole = false, rule = RULE, windowNumber = 20) =>
    alphaLevel(rangeOf(windows), whole, seriesOf(windows), windowNumber, rule);

  it("are 1/1,200 for three windows or more that expect at most three bad requests, 1/4,000 for others", () => {
    const few = counts(300, 3);
    assert.equal(level([few, few, few]), 1 / 1_200);
    assert.equal(level([few, few]), 1 / 4_000);
    assert.equal(level([few, few, few, few]), 1 / 4_000, "3.6 bad requests are expected");
    assert.equal(level([few, few, few], true), 1 / 800);
    assert.equal(level([few, few, few], false, { ...RULE, version: 2 }, 12), 1 / 4_000);
  });

  it("fall with the number of windows with requests after twelve, not with idle ones", () => {
    const busy = Array.from({ length: 12 }, () => counts(1_000, 2));
    const older = Array.from({ length: 12 }, () => NOTHING).reduce((sum, window) => withWindow(sum, window, 0.005), EMPTY);
    const last = rangeOf(busy.slice(-1));
    assert.equal(alphaLevel(last, false, seriesOf(busy, older), 24, RULE), 1 / 4_000);
    assert.equal(alphaLevel(last, false, seriesOf(busy, older), 24, { ...RULE, version: 2 }), 1 / 16_000);
    assert.equal(alphaLevel(last, false, seriesOf(busy, rangeOf(busy)), 24, RULE), 1 / 16_000);
  });
});

describe("an incident on both slices", () => {
  const outage = counts(300, 150, [2_700, 1_350]);
  const mild = counts(300, 6, [2_700, 54]);
  const healthy = counts(300, 0, [2_700, 8]);

  it("is a hold for its windows and the one after them, which continue it while both slices reach the ceiling", () => {
    const found = testRanges(seriesOf([healthy, outage]), 2, RULE);
    assert.deepEqual([found.kind, found.explained], ["environment", 1]);
    const marked = { ...outage, leftOut: true as const };
    const after = testRanges(seriesOf([healthy, marked, healthy]), 3, RULE);
    assert.deepEqual([after.kind, after.explained, after.decided?.range.bad], ["environment", 0, 150]);
    const during = testRanges(seriesOf([healthy, marked, mild]), 3, RULE);
    assert.deepEqual([during.kind, during.explained, during.decided?.range.bad], ["environment", 1, 6]);
    assert.equal(testRanges(seriesOf([healthy, marked, healthy, healthy]), 4, RULE).kind, "clear");
  });

  it("adds nothing to the sums of a run, except that its windows have passed", () => {
    const { run } = seriesOf([healthy, { ...outage, leftOut: true }, healthy]);
    assert.deepEqual({ ...run, windows: 2 }, seriesOf([healthy, healthy]).run);
    assert.equal(run.windows, 3);
  });

  it("does not excuse a canary that fails beside it", () => {
    const marked = { ...outage, leftOut: true as const };
    assert.equal(testRanges(seriesOf([marked, counts(300, 60, [2_700, 8])]), 2, RULE).kind, "fail");
  });
});
