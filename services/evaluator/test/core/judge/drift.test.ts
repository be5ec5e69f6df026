/**
 * When a run stops to use the thresholds of the hour before it. Expected counts: the largest number of slow requests with a lower
 * tail of at most 0.5%, and the smallest with such an upper tail, of a negative binomial (mpmath, 40 digits).
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasDrifted } from "../../../src/core/judge/drift.ts";

/** Two hours of stable, 1% in buckets slower than that of the p99. */
const REFERENCE = { timed: 108_000, windows: 12, above: 1_080, from: 1_080 };
const SHARE = 0.005;
const drifted = (windows: number, slow: number, overdispersion: number, timed = 2_700 * windows) =>
  hasDrifted({ timed, windows, above: slow, from: slow }, REFERENCE, { overdispersion, burstFactor: 1 }, SHARE);

describe("stable has drifted", () => {
  for (const [windows, overdispersion, few, many] of [
    [1, 1e-6, 13, 43],
    [1, 0.001, 3, 75],
    [3, 0.001, 29, 161],
  ] as const) {
    it(`after ${windows} windows with rho ${overdispersion} if ${few} or fewer, or ${many} or more, of 1% are slow`, () => {
      assert.deepEqual(
        [few, few + 1, many - 1, many].map((slow) => drifted(windows, slow, overdispersion)),
        [true, false, false, true],
      );
    });
  }

  it("never with fewer than a thousand latencies", () => {
    assert.equal(drifted(1, 999, 1e-6, 999), false);
    assert.equal(drifted(1, 1_000, 1e-6, 1_000), true);
  });

  it("by the bucket of the quantile and slower ones for a faster stable, by slower ones for a slower stable", () => {
    const noise = { overdispersion: 1e-6, burstFactor: 1 };
    const own = { timed: 2_700, windows: 1, above: 5, from: 27 };
    assert.equal(hasDrifted(own, { ...REFERENCE, above: 200 }, noise, SHARE), false, "many requests are in that bucket");
    assert.equal(hasDrifted({ ...own, from: 5 }, { ...REFERENCE, above: 200 }, noise, SHARE), true);
  });
});
