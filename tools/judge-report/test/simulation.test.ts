/** The simulation itself: its draws have the expected moments, and the other rules decide as their tools do. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../../libs/shared/src/testing/random.ts";
import { added, failedShare, simulate } from "../cell.ts";
import { rates, STABLE } from "../checks.ts";
import { betaRate, binomial, gamma, geometric } from "../distributions.ts";
import type { Law } from "../latency-laws.ts";
import { drawSlow, tableOf } from "../latency-laws.ts";
import { mannWhitneyWatcher, score } from "../mann-whitney.ts";
import { literalWatcher, thresholdWatcher } from "../other-rules.ts";
import type { Scenario } from "../scenario.ts";
import type { SimulatedWindow } from "../traffic.ts";
import { simulateRun } from "../traffic.ts";

const DRAWS = 40_000;

/** Mean and variance, each within this many standard errors of the expected value. */
function moments(draw: () => number, mean: number, variance: number, tolerance = 4): void {
  let [sum, squares] = [0, 0];
  for (let k = 0; k < DRAWS; k++) {
    const value = draw();
    sum += value;
    squares += value * value;
  }
  const error = Math.sqrt(variance / DRAWS);
  assert.ok(Math.abs(sum / DRAWS - mean) <= tolerance * error, `mean ${sum / DRAWS}, expected ${mean}`);
  const spread = squares / DRAWS - (sum / DRAWS) ** 2;
  assert.ok(Math.abs(spread / variance - 1) <= 0.12, `variance ${spread}, expected ${variance}`);
}

describe("random numbers", () => {
  it("binomial counts have the right mean and variance, few and many", () => {
    for (const [n, p] of [
      [50, 0.003],
      [300, 0.4],
      [5_000, 0.003],
      [36_000, 0.01],
      [20, 0.9],
    ] as const) {
      const random = seededRandom(1, n);
      moments(() => binomial(random, n, p), n * p, n * p * (1 - p));
    }
    const random = seededRandom(2);
    assert.deepEqual([binomial(random, 0, 0.5), binomial(random, 9, 0), binomial(random, 9, 1)], [0, 0, 9]);
  });

  it("gamma, beta and geometric numbers have the right mean and variance", () => {
    const random = seededRandom(3);
    moments(() => gamma(random, 3), 3, 3);
    moments(() => gamma(random, 0.4), 0.4, 0.4);
    moments(() => betaRate(random, 0.003, 0.001), 0.003, 0.003 * 0.997 * 0.001);
    moments(() => geometric(random, 3), 3, 6);
  });

  it("equal seeds give equal numbers, different seeds different ones", () => {
    const first = (...seeds: [number, number]) => Array.from({ length: 4 }, seededRandom(...seeds));
    assert.deepEqual(first(1, 2), first(1, 2));
    assert.notDeepEqual(first(1, 2), first(1, 3));
  });
});

describe("traffic", () => {
  const totals = (scenario: Scenario) => {
    const run = simulateRun(scenario, seededRandom(5));
    return Array.from({ length: 12 }, () => {
      const [{ canary, stable }] = run.next() as [SimulatedWindow[number]];
      return [canary.requests, stable.requests].map((n) => n.reduce((sum, one) => sum + one, 0));
    });
  };

  it("has the expected sizes", () => {
    assert.deepEqual(
      totals({ traffic: { kind: "steady", requests: 52 }, rate: [0], stable: STABLE, knowledge: "nothing" })[3],
      [52, 468],
    );
    const ramp = totals({ traffic: { kind: "ramp", requests: 1_000 }, rate: [0], stable: STABLE, knowledge: "nothing" });
    assert.deepEqual(
      [ramp[0], ramp[1], ramp[11]],
      [
        [50, 950],
        [50, 950],
        [800, 200],
      ],
    );
    const daily = totals({ traffic: { kind: "daily", requests: 100 }, rate: [0], knowledge: "nothing" }).map(
      ([canary]) => canary!,
    );
    assert.ok(Math.min(...daily) >= 100 && Math.max(...daily) <= 600 && Math.max(...daily) > 500, String(daily));
  });

  it("a spike affects one window, an incident both slices", () => {
    const run = (scenario: Scenario) => {
      const { next } = simulateRun(scenario, seededRandom(6));
      return Array.from({ length: 12 }, () => next()[0]!);
    };
    const sum = (values: readonly number[]) => values.reduce((total, one) => total + one, 0);
    const spiked = run({
      traffic: { kind: "steady", requests: 300 },
      rate: [0],
      spike: { rate: 1, seconds: 40 },
      knowledge: "nothing",
    });
    const struck = spiked.filter(({ canary }) => sum(canary.failures) > 0);
    assert.equal(struck.length, 1);
    assert.ok(Math.abs(sum(struck[0]!.canary.failures) - 40) <= 1);
    const shared = run({
      traffic: { kind: "steady", requests: 300 },
      rate: [0],
      stable: { times: 9, rate: 0 },
      incident: { rate: 0.5, windows: 2, unequal: 0.2 },
      knowledge: "nothing",
    });
    const bad = shared.filter(({ canary, stable }) => sum(canary.failures) > 90 && sum(stable.failures) > 1_000);
    assert.equal(bad.length, 2);
  });

  it("bursts keep the number of failures and cluster them", () => {
    const scenario: Scenario = {
      traffic: { kind: "steady", requests: 1_000 },
      rate: [0.01],
      burst: { size: 5, seconds: 0 },
      knowledge: "nothing",
    };
    let [failures, squares] = [0, 0];
    for (let run = 0; run < 400; run++) {
      const { canary } = simulateRun(scenario, seededRandom(7, run)).next()[0]!;
      for (const x of canary.failures) {
        failures += x;
        squares += x * x;
      }
    }
    const mean = failures / 2_000;
    assert.ok(Math.abs(mean - 2) < 0.4, `${mean} per sub-window`);
    assert.ok((squares / 2_000 - mean ** 2) / mean > 6, "single failures would have a ratio of 1, fives one of 9");
  });
});

describe("latencies", () => {
  it("tables have the tail of the distribution, by every way of drawing", () => {
    const law: Law = { kind: "pareto", alpha: 1.5 };
    const table = tableOf(law);
    const { middle, slow } = table;
    assert.ok(Math.abs(middle.mass - 0.1) < 0.006 && Math.abs(slow.mass - 0.05) < 0.003, `${middle.mass} ${slow.mass}`);
    const from = middle.share.length;
    for (const n of [1_000, 1_000_000]) {
      const counts = drawSlow(seededRandom(8), table, n, 1);
      const sum = (start: number) => counts.slice(start).reduce((total, times) => total + times, 0);
      assert.ok(Math.abs(sum(0) / (n * (middle.mass + slow.mass)) - 1) < 0.2, `${sum(0)} of ${n}`);
      assert.ok(Math.abs(sum(from) / (n * slow.mass) - 1) < 0.4, `${sum(from)} of ${n}`);
      // Half of the slow ones lie above 2^(1/1.5) x their cut: 42.7 buckets of 64 per octave.
      const upper = sum(from + 43) / sum(from);
      assert.ok(Math.abs(upper - 0.5) < (n > 1_000 ? 0.02 : 0.25), `${upper} above`);
    }
    assert.ok(tableOf(law, { factor: 1.3, share: 1 }).slow.mass > slow.mass * 1.4);
  });
});

const window = (n: number, x: number, stableX = 0): SimulatedWindow => [
  {
    canary: { requests: [n, n, n, n, n], failures: [x, x, x, x, x] },
    stable: { requests: [n, n, n, n, n], failures: [stableX, stableX, stableX, stableX, stableX] },
  },
];

describe("other rules", () => {
  it("count failed windows, consecutive or not", () => {
    const bad = window(100, 1);
    const good = window(100, 0);
    const failsIn = (watcher: { judge(w: SimulatedWindow): boolean }, windows: readonly SimulatedWindow[]) =>
      windows.findIndex((one) => watcher.judge(one)) + 1;
    const turns = [bad, good, bad, bad, bad, bad];
    assert.equal(failsIn(literalWatcher(0.005), turns), 4);
    assert.equal(failsIn(thresholdWatcher(0.005, 1), turns), 3);
    assert.equal(failsIn(thresholdWatcher(0.005, 3), turns), 5 + 0);
    assert.equal(failsIn(thresholdWatcher(0.005, 1), [good, bad, good, good]), 0);
  });

  it("Mann-Whitney: standard scores by hand, including ties", () => {
    // Ranks 4, 5, 6 of 1 to 6: U = 9, mean 4.5, variance 5.25.
    assert.ok(Math.abs(score([4, 5, 6], [1, 2, 3], 0) - 4 / Math.sqrt(5.25)) < 1e-12);
    // Ranks 2.5, 5, 5 against 1, 2.5, 5: U = 6.5; ties of 2 and 3 take 30 / 30 off the 7.
    assert.ok(Math.abs(score([2, 3, 3], [1, 2, 3], 0) - 1.5 / Math.sqrt((9 / 12) * 6)) < 1e-12);
    assert.equal(score([1, 1], [1, 1], 0), 0);
    assert.equal(score([], [1], 0), 0);
  });

  it("Mann-Whitney finds a clear difference in two windows, and none between equals", () => {
    const fault = mannWhitneyWatcher();
    assert.deepEqual([fault.judge(window(1_000, 20, 3)), fault.judge(window(1_000, 21, 3))], [true, true]);
    const equal = mannWhitneyWatcher();
    assert.deepEqual([equal.judge(window(1_000, 3, 3)), equal.judge(window(1_000, 4, 4))], [false, false]);
  });
});

describe("cells", () => {
  it("parts add up to the whole", () => {
    const cell = rates(
      { traffic: { kind: "steady", requests: 50 }, rate: [0.02], knowledge: "nothing" },
      { others: ["literal"], promotion: true },
    );
    const whole = simulate(cell, 0, 60);
    assert.deepEqual(added(simulate(cell, 0, 25), simulate(cell, 25, 60)), whole);
    assert.ok(failedShare(whole) > 0.8 && failedShare(whole, "two-key", 2) < failedShare(whole));
    assert.equal(failedShare(whole, "argo"), 0);
  });
});
