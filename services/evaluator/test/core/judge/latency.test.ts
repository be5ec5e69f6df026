/** The judge's reading of histograms against the shared histogram, and p99 verdicts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import fc from "fast-check";
import { commonScale, countSlower, limitBucket, p99Of } from "../../../src/core/judge/latency.ts";
import type { CellPlan } from "./windows.ts";
import { cell, closed, evenly, judgeRun } from "./windows.ts";

const observations = fc.array(
  fc.tuple(fc.oneof(fc.constant(0), fc.double({ min: 1e-4, max: 1e6, noNaN: true })), fc.integer({ min: 1, max: 500 })),
  {
    maxLength: 40,
  },
);

describe("histograms from their slow end", () => {
  it("count and rank as the shared histogram does, over any scales", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 2, max: 8 }), observations), { minLength: 1, maxLength: 6 }),
        fc.double({ min: 0, max: 1e5, noNaN: true }),
        (plans, limitMs) => {
          const all = histogram.create();
          const parts = plans.map(([scale, values]) => {
            const h = histogram.create(scale);
            for (const [ms, times] of values) histogram.insert(h, ms, times);
            histogram.merge(all, h);
            assert.equal(countSlower([histogram.toSparse(h)], limitBucket(limitMs)), histogram.countAbove(h, limitMs));
            return histogram.toSparse(h);
          });
          assert.equal(p99Of(parts, commonScale(parts)), histogram.quantile(all, 0.99));
        },
      ),
      { numRuns: 300, seed: 3 },
    );
  });
});

interface MixedPlan {
  readonly slice: "canary" | "stable";
  readonly requests: number;
  readonly fastMs: number;
  readonly slowMs: number;
  /** One in so many requests is slow. */
  readonly every: number;
  readonly az?: string;
}

/** All requests at `fastMs`, one in `every` at `slowMs`. */
function mixed({ slice, requests: total, fastMs, slowMs, every, az = "az-a" }: MixedPlan): CellPlan {
  const slow = (requests: number) => Math.round(requests / every);
  return {
    slice,
    az,
    requests: evenly(total),
    latency: (_, requests) =>
      [[fastMs, requests - slow(requests)] as const, [slowMs, slow(requests)] as const].filter(([, times]) => times > 0),
  };
}

describe("p99", () => {
  it("over its ceiling on the canary alone fails in both modes", () => {
    const outcomes = judgeRun(
      [0, 1].map((k) =>
        closed(k, [
          cell(mixed({ slice: "canary", requests: 1000, fastMs: 100, slowMs: 300, every: 20 })),
          cell(mixed({ slice: "stable", requests: 9000, fastMs: 100, slowMs: 150, every: 200 })),
        ]),
      ),
    );
    const last = outcomes[1]!;
    assert.equal(last.literal.verdict, "fail");
    assert.equal(last.literal.concerns.latency, "fail");
    assert.deepEqual(
      last.literal.reasons.map(({ code }) => code),
      ["over_p99", "p99_regression"],
    );
    assert.equal(last.twoKey.verdict, "fail");
    const reason = last.twoKey.reasons.find(({ code }) => code === "over_p99");
    assert.match(reason?.text ?? "", /^100 of 2,000 requests took over 220 ms in the 2 windows since the start \(5%, limit 1%\)/);
  });

  it("over its ceiling on both slices is the environment", () => {
    const outcomes = judgeRun(
      [0, 1, 2].map((k) =>
        closed(k, [
          cell(mixed({ slice: "canary", requests: 1000, fastMs: 100, slowMs: 300, every: 20 })),
          cell(mixed({ slice: "stable", requests: 9000, fastMs: 100, slowMs: 300, every: 20 })),
        ]),
      ),
    );
    for (const mode of ["literal", "twoKey"] as const) {
      assert.equal(outcomes[2]![mode].verdict, "hold", mode);
      assert.equal(outcomes[2]![mode].reasons[0]?.code, "environment", mode);
    }
    assert.equal(outcomes[2]!.consecutiveOver, 0);
  });

  it("a regression below the ceiling fails as a regression, with the threshold", () => {
    const tail: CellPlan = {
      slice: "stable",
      requests: evenly(9000),
      latency: () => [
        [50, 1758],
        [100, 36],
        [150, 6],
      ],
    };
    const reference = { windows: 48, from: "stable", figures: { "regression.rho": 1e-5, "regression.phi": 1 } } as const;
    const windows = [0, 1, 2].map((k) =>
      closed(k, [cell(mixed({ slice: "canary", requests: 1000, fastMs: 50, slowMs: 180, every: 20 })), cell(tail)]),
    );
    const last = judgeRun(windows, { reference })[2]!;
    assert.equal(last.twoKey.verdict, "fail");
    assert.deepEqual(
      last.twoKey.reasons.map(({ code }) => code),
      ["p99_regression"],
    );
    assert.match(
      last.twoKey.reasons[0]?.text ?? "",
      /^1[05]0 of [23],000 requests took over 11[45] ms \(stable's p99 and its margin\)/,
    );
    assert.equal(last.literal.reasons[0]?.code, "p99_regression");
    assert.match(
      last.literal.reasons[0]?.text ?? "",
      /1\.79 x stable's 100 ms \(limit 1\.15 x\); 3 consecutive windows over the limit: the run fails\.$/,
    );
  });

  it("10% slower is within the limit", () => {
    const outcomes = judgeRun(
      Array.from({ length: 6 }, (_, k) =>
        closed(k, [
          cell(mixed({ slice: "canary", requests: 1000, fastMs: 55, slowMs: 110, every: 20 })),
          cell(mixed({ slice: "stable", requests: 9000, fastMs: 50, slowMs: 100, every: 20 })),
        ]),
      ),
    );
    for (const outcome of outcomes.slice(1)) {
      assert.equal(outcome.literal.verdict, "pass");
      assert.equal(outcome.twoKey.verdict, "pass");
    }
    assert.equal(outcomes[5]!.twoKey.promotable, true);
  });

  it("requests without latencies are a hold", () => {
    const outcomes = judgeRun([
      closed(0, [cell({ requests: evenly(500), latency: () => [] }), cell({ slice: "stable", requests: evenly(500) })]),
    ]);
    for (const mode of ["literal", "twoKey"] as const) {
      assert.equal(outcomes[0]![mode].verdict, "hold");
      assert.deepEqual(outcomes[0]![mode].concerns, { errors: "pass", latency: "hold", queue: "pass" });
      assert.match(outcomes[0]![mode].reasons[0]?.text ?? "", /^This window has requests without latencies/);
    }
  });
});

describe("stable's band", () => {
  /** Every hundredth request of stable is slow enough that 1.15 x its p99 is this many milliseconds. */
  const before = (view: string, limitMs: number, from: "stable" | "same-gateways" = "stable", ratio = 1.15): Reference => ({
    windows: 48,
    from,
    figures: Object.fromEntries(
      Object.entries({
        limit_ms: limitMs,
        ratio,
        min_delta_ms: 5,
        timed: 108_000,
        above: 540,
        windows: 12,
        rho: 1e-5,
        phi: 1,
        quantile_ms: limitMs / 1.15,
        above_quantile: 1_000,
        from_quantile: 1_100,
      }).map(([name, figure]) => [`${view}regression.${name}`, figure]),
    ),
  });
  const canary = { requests: evenly(1000), latency: (_: number, n: number) => [[50, n - 10] as const, [130, 10] as const] };
  /** So few that the run has a thousand of them only after seven windows, or in two AZs after four. */
  const quiet = { slice: "stable", requests: evenly(160) } as const;
  /** The outcome of a canary with 5% of requests at 130 ms, next to a stable slice at 50 ms. */
  const codes = (reference: Reference | null, windows: number, stableAzs: readonly string[] = ["az-a"]) =>
    judgeRun(
      Array.from({ length: windows }, (_, k) => closed(k, [cell(canary), ...stableAzs.map((az) => cell({ ...quiet, az }))])),
      { reference },
    )
      .at(-1)!
      .twoKey.reasons.map(({ code }) => code);

  it("is stable before the run, until a thousand latencies of stable in the run show that it has drifted", () => {
    assert.deepEqual(codes(before("", 150), 3), []);
    assert.deepEqual(codes(before("", 120), 3), ["p99_regression"]);
    assert.deepEqual(codes(before("", 150), 7), ["p99_regression"], "1,120 latencies");
  });

  it("is the run's own without a usable reference: none, of the canary's gateways, or under another ratio", () => {
    for (const reference of [null, before("", 150, "same-gateways"), before("", 150, "stable", 1.3)])
      assert.deepEqual(codes(reference, 3), ["p99_regression"]);
  });

  it("is kept with the indexes of its windows, so that the next window does not read them again", () => {
    const numbers = Array.from({ length: 30 }, (_, k) => 40 + k);
    // Stable's p99 jumps in the 20th window: everything kept is read again, once.
    const outcomes = judgeRun(
      numbers.map((index, k) =>
        closed(index, [
          cell(canary),
          cell(mixed({ slice: "stable", requests: 9000, fastMs: k < 20 ? 50 : 700, slowMs: 1000, every: 20 })),
        ]),
      ),
    );
    for (const [k, { memory }] of outcomes.entries()) {
      const { windows } = memory.stableBand as { windows: { index: number }[] };
      assert.deepEqual(
        windows.map(({ index }) => index),
        numbers.slice(0, k + 1).slice(-11),
      );
    }
  });

  it("is the slower of the two if stable also runs in other AZs", () => {
    assert.deepEqual(codes(before("", 150), 3, ["az-a", "az-b"]), []);
    assert.deepEqual(codes(before("", 20), 3, ["az-a", "az-b"]), ["p99_regression"]);
    const slowHere = closed(0, [cell({ requests: evenly(1000) }), cell(quiet), cell({ ...quiet, az: "az-b" })]);
    const [outcome] = judgeRun([slowHere], { reference: before("", 20) });
    assert.deepEqual(outcome!.twoKey.concerns.latency, "pass", "50 ms in this AZ is not a regression against 20 ms in another");
  });
});
