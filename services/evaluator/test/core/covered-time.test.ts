import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addCovered, type CoveredTime, coveredRatio, createCoveredTime } from "../../src/core/covered-time.ts";

const covering = (...reports: readonly (readonly [toMs: number, periodMs: number])[]) => {
  const covered = createCoveredTime();
  for (const [toMs, periodMs] of reports) addCovered(covered, toMs, periodMs);
  return covered;
};

const ratioOf = (covered: CoveredTime, startMs: number, endMs: number, cadenceMs = Number.POSITIVE_INFINITY): number =>
  coveredRatio(covered, startMs, endMs, cadenceMs);

test("one report at the end of a window does not cover the window", () => {
  assert.equal(ratioOf(covering([300_000, 5_000]), 0, 300_000), 5_000 / 300_000);
});

test("the last period of a window is reported by the next window and counts as covered; a longer end does not", () => {
  const reports = Array.from({ length: 10 }, (_, index) => [1_000 + index * 2_000, 2_000] as const);
  assert.equal(ratioOf(covering(...reports), 0, 20_000), 1);
  assert.equal(ratioOf(covering(...reports.slice(0, 5)), 0, 20_000), (9_000 + 2_000) / 20_000);
});

test("a report that catches up does not lengthen the end that counts as covered", () => {
  assert.equal(ratioOf(covering([5_000, 5_000], [65_000, 60_000]), 0, 130_000), 70_000 / 130_000);
});

test("a stretched report that is the only one of a window counts the gateway's own period as its end", () => {
  assert.equal(ratioOf(covering([5_000, 4_000]), 0, 10_000, 2_000), (4_000 + 2_000) / 10_000);
});

test("time that is covered twice counts once, in any order of the reports", () => {
  assert.equal(ratioOf(covering([10_000, 10_000], [10_000, 10_000], [8_000, 4_000]), 0, 100_000), 14_000 / 100_000);
  const report = fc.tuple(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 30 }));
  fc.assert(
    fc.property(fc.array(report, { minLength: 1, maxLength: 40 }), (reports) => {
      const seconds = new Set(reports.flatMap(([to, period]) => Array.from({ length: period }, (_, index) => to - 1 - index)));
      const inside = [...seconds].filter((second) => second >= 20 && second < 80);
      const lastEnd = Math.max(...inside) + 1;
      const shortest = Math.min(...reports.map(([, period]) => period));
      const expected = inside.length === 0 ? 0 : (inside.length + Math.min(shortest, 80 - lastEnd)) / 60;
      assert.ok(Math.abs(ratioOf(covering(...reports), 20, 80) - expected) < 1e-9);
    }),
  );
});

test("a gateway with very many holes is credited with too little coverage, never too much", () => {
  const covered = createCoveredTime();
  for (let index = 0; index < 10_000; index++) addCovered(covered, index * 10, 1);
  assert.ok(covered.ranges.length <= 64);
  assert.ok(ratioOf(covered, 0, 100_000) <= 0.1);
});
