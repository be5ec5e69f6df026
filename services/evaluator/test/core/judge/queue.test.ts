/**
 * The queue rule: deep and growing while the weight rises fails; deep alone is a hold; growing below the ceiling is a warning.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { queueRule, theilSen } from "../../../src/core/judge/queue.ts";
import { canary, closed, judgeRun, POLICY, stable } from "./windows.ts";

type Step = readonly [weight: number, depth: number | null];
const windows = (steps: readonly Step[]) => steps.map(([weight, queue_depth], k) => closed(k, [], { weight, queue_depth }));

/** Verdict, then the codes of reasons and (in brackets) warnings. */
function judged(steps: readonly Step[]): string {
  const { outcome, reasons, warnings } = queueRule(windows(steps), POLICY);
  return [outcome, ...reasons.map(({ reason }) => reason.code), ...warnings.map(({ code }) => `(${code})`)].join(" ");
}

const table: readonly (readonly [why: string, steps: readonly Step[], expected: string])[] = [
  ["no lane: nothing to judge", [[10, null]], "pass"],
  [
    "shallow and steady",
    [
      [5, 3],
      [10, 3],
      [20, 3],
    ],
    "pass",
  ],
  ["on the ceiling", [[10, 12]], "pass"],
  ["deep in the first window", [[10, 13]], "hold queue_high"],
  [
    "deep and growing while the weight rises",
    [
      [5, 4],
      [10, 9],
      [20, 15],
    ],
    "fail queue_growth",
  ],
  [
    "growing below the ceiling while the weight rises",
    [
      [5, 1],
      [10, 5],
      [20, 9],
    ],
    "pass (queue_growth)",
  ],
  [
    "deep and growing at a constant weight",
    [
      [20, 4],
      [20, 9],
      [20, 15],
    ],
    "hold queue_high",
  ],
  [
    "deep and growing while the weight falls",
    [
      [20, 4],
      [10, 9],
      [5, 15],
    ],
    "hold queue_high",
  ],
  [
    "deep, but shrinking while the weight rises",
    [
      [5, 30],
      [10, 20],
      [20, 15],
    ],
    "hold queue_high",
  ],
  [
    "two windows are too few",
    [
      [10, 9],
      [20, 15],
    ],
    "hold queue_high",
  ],
  [
    "a window without a depth does not count",
    [
      [5, 4],
      [10, null],
      [20, 15],
    ],
    "hold queue_high",
  ],
  [
    "three known depths around an unknown one",
    [
      [5, 4],
      [10, null],
      [20, 9],
      [20, 15],
    ],
    "fail queue_growth",
  ],
  [
    "quiet for a long time, growing since the weight rose",
    [
      [5, 0],
      [5, 0],
      [5, 0],
      [5, 0],
      [20, 8],
      [20, 16],
    ],
    "fail queue_growth",
  ],
  [
    "the weight rose long ago, the queue grows now",
    [
      [5, 0],
      [20, 0],
      [20, 0],
      [20, 0],
      [20, 0],
      [20, 0],
      [20, 0],
      [20, 0],
      [20, 8],
      [20, 16],
    ],
    "hold queue_high",
  ],
  [
    "one odd window does not hide a trend",
    [
      [5, 4],
      [10, 8],
      [20, 1],
      [50, 20],
    ],
    "fail queue_growth",
  ],
  [
    "a depth that was reported and is missing now",
    [
      [10, 3],
      [10, null],
    ],
    "hold gap",
  ],
  ["a depth that is not a count", [[10, Number.NaN]], "hold gap"],
  ["a negative depth", [[10, -1]], "hold gap"],
];

describe("queue rule", () => {
  for (const [why, steps, expected] of table) it(why, () => assert.equal(judged(steps), expected));

  it("states what grows, how fast, and at which weight", () => {
    const { reasons } = queueRule(
      windows([
        [5, 4],
        [10, 9],
        [20, 15],
      ]),
      POLICY,
    );
    assert.deepEqual(reasons[0]?.reason, {
      code: "queue_growth",
      metric: "queue_depth",
      value: 15,
      limit: 12,
      unit: "jobs",
      text: "15 jobs are waiting in the canary's lane, limit 12: about 5.5 more per window over 3 windows while the weight rose from 5% to 20%.",
    });
  });

  it("applies in both modes, at once, along with the other metrics", () => {
    const run = [5, 10, 20].map((weight, k) => closed(k, [canary(500, 0), stable(4500, 0)], { weight, queue_depth: 4 + 6 * k }));
    const [, second, third] = judgeRun(run);
    for (const mode of ["literal", "twoKey"] as const) {
      assert.equal(second![mode].verdict, "pass", mode);
      assert.equal(third![mode].verdict, "fail", mode);
      assert.deepEqual(third![mode].concerns, { errors: "pass", latency: "pass", queue: "fail" }, mode);
      assert.equal(third![mode].promotable, false, mode);
    }
  });
});

describe("Theil-Sen slope", () => {
  it("is exact on a line and untouched by one outlier", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -50, max: 50 }),
        fc.integer({ min: -9, max: 9 }),
        fc.integer({ min: 0, max: 6 }),
        (at, slope, odd) => {
          const line = Array.from({ length: 7 }, (_, k) => [k, at + slope * k] as const);
          assert.equal(theilSen(line), slope);
          assert.equal(theilSen(line.map(([k, y]) => [k, k === odd ? y + 1000 : y] as const)), slope);
        },
      ),
      { seed: 4 },
    );
  });
});
