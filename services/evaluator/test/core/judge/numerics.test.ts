/** The probabilities against values computed with 40 digits (mpmath), to 1e-9 relative. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { incompleteBeta } from "../../../src/core/judge/beta.ts";
import type { Counts } from "../../../src/core/judge/counts.ts";
import { NOTHING } from "../../../src/core/judge/counts.ts";
import { defaultNoise, learnNoise } from "../../../src/core/judge/noise.ts";
import { lowerTail, midPValue, upperTail } from "../../../src/core/judge/p-value.ts";

function close(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= 1e-9 * Math.abs(expected), `${actual} is not ${expected}`);
}

describe("incomplete beta", () => {
  const values = [
    [0.4, 2, 3, 0.5248],
    [0.3, 0.5, 0.5, 0.369010119565545],
    [0.05, 50, 1200, 0.957415094636029],
  ] as const;
  for (const [x, a, b, expected] of values) {
    it(`I_${x}(${a}, ${b})`, () => close(incompleteBeta(x, 1 - x, a, b), expected));
  }

  it("is 0 and 1 at the ends, and symmetric between", () => {
    assert.equal(incompleteBeta(0, 1, 3, 4), 0);
    assert.equal(incompleteBeta(1, 0, 3, 4), 1);
    const share = fc.double({ min: 0.01, max: 0.99, noNaN: true });
    const shape = fc.double({ min: 0.1, max: 1e4, noNaN: true });
    fc.assert(
      fc.property(share, shape, shape, (x, a, b) => {
        const sum = incompleteBeta(x, 1 - x, a, b) + incompleteBeta(1 - x, x, b, a);
        assert.ok(Math.abs(sum - 1) < 1e-10, `${sum}`);
      }),
      { numRuns: 500, seed: 1 },
    );
  });
});

describe("the p-value", () => {
  // x bad of n requests in k windows; mean 0.3%, relative variance (phi - 1) / mean + rho (n / k) / mean.
  const values: readonly (readonly [number, number, number, number, number, number])[] = [
    [3, 30, 1, 1 / 800, 1, 1.425691779859989e-4],
    [4, 200, 4, 1 / 800, 1, 2.845550373848457e-3],
    [8, 600, 12, 1 / 800, 1, 5.8174229139581e-4],
    [14, 2000, 2, 1 / 800, 1, 3.303303812157742e-2],
    [14, 2000, 2, 1e-5, 1, 2.65178430554622e-3],
    [50, 10000, 2, 1e-5, 1, 5.680767623712022e-4],
    [220, 40000, 2, 1e-6, 1, 3.355784572924805e-16],
    [36, 3600, 12, 3e-4, 1, 7.740344252435284e-9],
    [7, 150, 3, 1 / 800, 2.5, 3.362453421382645e-3],
    [1, 20, 1, 1 / 800, 1, 2.995626015654653e-2],
  ];
  for (const [x, n, k, rho, phi, expected] of values) {
    it(`${x} of ${n} in ${k} windows, rho ${rho}, phi ${phi}`, () => {
      const mu = 0.003 * n;
      close(midPValue(x, mu, (phi - 1) / mu + (rho * (n / k)) / mu), expected);
    });
  }

  it("agrees with reference values in the lower tail", () => {
    const atLeast = (x: number, n: number, k: number, q: number) => lowerTail(x, q * n, ((1 / 800) * (n / k)) / (q * n));
    close(atLeast(1, 600, 12, 0.01), 0.01972656213448);
    close(atLeast(0, 60, 1, 0.05), 0.055419350279805);
  });

  it("agrees with the reference value for the environment: 17 of 600 where stable had 130 of 5,400", () => {
    const e = (600 / 5400) * 130;
    close(upperTail(17, 2 * e, ((600 / 5400) ** 2 * 130) / (e * e)), 0.98806732017424);
  });

  it("stays between 0 and 1 and is never NaN, for any counts", () => {
    const counts = fc.oneof(fc.constantFrom(0, 1, 2, 2 ** 31), fc.nat(1_000_000));
    const means = fc.oneof(fc.constantFrom(1e-9, 1e9), fc.double({ min: 1e-6, max: 1e7, noNaN: true }));
    const spreads = fc.oneof(fc.constantFrom(0, 1e-12, 1e-9, 1e9), fc.double({ min: 1e-9, max: 10, noNaN: true }));
    fc.assert(
      fc.property(counts, means, spreads, (x, mu, c) => {
        for (const p of [midPValue(x, mu, c), lowerTail(x, mu, c)]) assert.ok(p >= 0 && p <= 1, `${p} for ${x}, ${mu}, ${c}`);
      }),
      { numRuns: 5_000, seed: 2 },
    );
  });
});

describe("noise", () => {
  const errors = [20, 31, 27, 25, 33, 18, 29, 24, 22, 35, 26, 28];
  const squares = [90, 215, 161, 141, 253, 74, 185, 126, 110, 265, 148, 170];
  const windows: Counts[] = errors.map((x, k) => ({
    ...NOTHING,
    requests: 9000,
    bad: x,
    badSquares: squares[k]!,
    requestSquares: 9000 ** 2 / 5,
  }));
  const twice = [...windows, ...windows];

  it("24 windows of healthy traffic lower the overdispersion below its default", () => {
    const { overdispersion, burstFactor } = learnNoise(twice, 0.005);
    close(overdispersion, 2.4675367860943e-5);
    assert.equal(burstFactor, 1);
  });

  it("12 windows are too few to lower it", () => {
    assert.deepEqual(learnNoise(windows, 0.005), { overdispersion: 0.00125, burstFactor: 1 });
  });

  it("varying rates and bursts raise both", () => {
    const bursts = twice.map((w, k) => (k % 3 === 0 ? { ...w, bad: 4 * w.bad, badSquares: 16 * w.badSquares } : w));
    const { overdispersion, burstFactor } = learnNoise(bursts, 0.005);
    close(overdispersion, 0.0034214740226275);
    close(burstFactor, 2.2015473887814);
  });

  it("fewer than two windows yield the default", () => {
    assert.deepEqual(learnNoise([NOTHING, windows[0]!], 0.005), defaultNoise(0.005));
  });
});
