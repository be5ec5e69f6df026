import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import * as histogram from "../src/histogram.ts";
import { bucketOf, MAX_VALUE_MS, MIN_VALUE_MS, maxIndex, minIndex } from "../src/histogram-buckets.ts";

const BUCKET_RATIO = 2 ** (1 / 64);
/** The documented error of an estimate at scale 6, with a margin for double rounding only. */
const ERROR = (BUCKET_RATIO - 1) / (BUCKET_RATIO + 1) + 1e-12;
const MAX_COUNT = Number.MAX_SAFE_INTEGER;

function of(values: readonly number[], scale?: number): histogram.Histogram {
  const h = histogram.create(scale);
  for (const value of values) histogram.insert(h, value);
  return h;
}

function merged(...parts: readonly histogram.Histogram[]): histogram.LatencyWire {
  const sum = histogram.create(8);
  for (const part of parts) histogram.merge(sum, part);
  return histogram.toWire(sum);
}

/** Whether value^(2^scale) > 2^index, in integers: the exact meaning of `value > 2^(index/2^scale)`. */
function isAboveEdge(value: number, index: number, scale: number): boolean {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  const raw = bits.getBigUint64(0);
  const mantissa = (raw & 0xfffffffffffffn) | 0x10000000000000n;
  const exponent = Number((raw >> 52n) & 0x7ffn) - 1075;
  const shift = index - exponent * 2 ** scale;
  return shift < 0 || mantissa ** BigInt(2 ** scale) > 1n << BigInt(shift);
}

/** The double `steps` representable values away. */
function neighbor(value: number, steps: number): number {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  bits.setBigInt64(0, bits.getBigInt64(0) + BigInt(steps));
  return bits.getFloat64(0);
}

const unit = fc.double({ min: 1e-9, max: 1 - 1e-9, noNaN: true });
const normal = fc.tuple(unit, unit).map(([u, v]) => Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v));
const laws: Record<string, fc.Arbitrary<number>> = {
  lognormal: normal.map((x) => 80 * Math.exp(0.6 * x)),
  "Pareto 1.5": unit.map((u) => 20 * u ** (-1 / 1.5)),
  bimodal: fc.tuple(unit, normal).map(([u, x]) => (u < 0.015 ? 900 : 60) * Math.exp(0.2 * x)),
  "bucket edges": fc.integer({ min: -600, max: 1700 }).map((i) => 2 ** (i / 64)),
  "any positive double in range": fc.double({ min: MIN_VALUE_MS, minExcluded: true, max: MAX_VALUE_MS, noNaN: true }),
};
const anyValue = fc.oneof(laws.lognormal!, laws["Pareto 1.5"]!, fc.double({ min: -1, max: 2 ** 30, noNaN: true }));
const anyTimes = fc.oneof(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: MAX_COUNT - 5, max: MAX_COUNT }));
const anyHistogram = fc
  .tuple(fc.integer({ min: 0, max: 8 }), fc.array(fc.tuple(anyValue, anyTimes), { maxLength: 30 }))
  .map(([scale, entries]) => {
    const h = histogram.create(scale);
    for (const [value, times] of entries) histogram.insert(h, value, times);
    return h;
  });

describe("buckets", () => {
  it("assigns the doubles around all 4,001 edges at scale 6 as exact arithmetic does", () => {
    for (let index = -2000; index <= 2000; index++) {
      for (let steps = -2; steps <= 2; steps++) {
        const value = neighbor(2 ** (index / 64), steps);
        const exact = isAboveEdge(value, index, 6) ? index : index - 1;
        const expected = Math.min(Math.max(exact, minIndex(6) - 1), maxIndex(6));
        assert.equal(bucketOf(value, 6), expected, `edge ${index}, value ${value}`);
      }
    }
  });

  it("assigns any double as exact arithmetic does, at every scale", () => {
    const inRange = fc.double({ min: MIN_VALUE_MS, minExcluded: true, max: MAX_VALUE_MS, noNaN: true });
    fc.assert(
      fc.property(fc.oneof(inRange, laws.lognormal!), fc.integer({ min: 0, max: 8 }), (value, scale) => {
        const index = bucketOf(value, scale);
        assert.ok(isAboveEdge(value, index, scale) && !isAboveEdge(value, index + 1, scale), `${value} in bucket ${index}`);
      }),
    );
  });

  it("counts values below the range as zero and values above it in the last bucket", () => {
    const h = of([-3, 0, Number.MIN_VALUE, MIN_VALUE_MS, MAX_VALUE_MS, 1e300]);
    assert.deepEqual(histogram.toWire(h), { scale: 6, zero: 4, offset: maxIndex(6), counts: [2] });
  });

  it("rejects values and counts that are not valid numbers", () => {
    const h = histogram.create();
    for (const value of [Number.NaN, Infinity, -Infinity])
      assert.throws(() => histogram.insert(h, value), /expected a finite number/);
    for (const times of [-1, 0.5, 2 ** 53]) assert.throws(() => histogram.insert(h, 1, times), /expected an integer/);
    for (const scale of [-1, 9, 1.5]) assert.throws(() => histogram.create(scale), /scale is .*from 0 to 8/);
    assert.throws(() => histogram.quantile(h, 1.01), /from 0 to 1/);
    assert.throws(() => histogram.countAbove(h, Number.NaN), /finite/);
    assert.ok(histogram.isEmpty(h));
  });
});

describe("quantile and countAbove", () => {
  for (const [name, law] of Object.entries(laws)) {
    it(`stays within the documented error for ${name}`, () => {
      fc.assert(
        fc.property(
          fc.array(law, { minLength: 1, maxLength: 300, size: "max" }),
          fc.double({ min: 0, max: 1, noNaN: true }),
          (values, q) => {
            const sorted = values.toSorted((a, b) => a - b);
            const h = of(values);
            for (const p of [q, 0, 0.5, 0.99, 1]) {
              const exact = sorted[Math.max(0, Math.ceil(p * values.length * (1 - 2 ** -51)) - 1)]!;
              const estimate = histogram.quantile(h, p)!;
              assert.ok(Math.abs(estimate - exact) <= ERROR * exact, `q ${p}: ${estimate} for ${exact}`);
            }
          },
        ),
      );
    });

    it(`counts slower requests within the documented error for ${name}`, () => {
      fc.assert(
        fc.property(
          fc.array(law, { minLength: 1, maxLength: 300, size: "max" }),
          fc.oneof(law, fc.constant(220)),
          (values, threshold) => {
            const counted = histogram.countAbove(of(values), threshold);
            const slowerThan = (limit: number) => values.filter((value) => value > limit).length;
            assert.ok(counted >= slowerThan(threshold * 1.00545), "misses requests well above the threshold");
            assert.ok(counted <= slowerThan(threshold * (1 - 0.00545)), "counts requests well below the threshold");
          },
        ),
      );
    });
  }

  it("stays within the documented error for constant data", () => {
    fc.assert(
      fc.property(laws.lognormal!, fc.integer({ min: 1, max: 1e6 }), unit, (value, times, q) => {
        const h = histogram.create();
        histogram.insert(h, value, times);
        assert.ok(Math.abs(histogram.quantile(h, q)! - value) <= ERROR * value);
        assert.equal(histogram.countAbove(h, value * 1.006), 0);
        assert.equal(histogram.countAbove(h, value / 1.006), times);
      }),
    );
  });

  it("are consistent: a quantile is above a threshold if and only if its observation is counted", () => {
    fc.assert(
      fc.property(fc.array(anyValue, { minLength: 1, maxLength: 100 }), anyValue, fc.nat(), (values, threshold, pick) => {
        const h = of(values);
        const rank = (pick % values.length) + 1;
        const isSlower = histogram.quantile(h, rank / values.length)! > threshold;
        assert.equal(isSlower, histogram.countAbove(h, threshold) > values.length - rank);
      }),
    );
  });

  it("rank exactly where q times the count is a whole number that doubles miss (0.07 * 100 = 7.000000000000001)", () => {
    const h = of(Array.from({ length: 100 }, (_, k) => k + 1));
    assert.ok(Math.abs(histogram.quantile(h, 0.07)! - 7) <= 7 * ERROR);
  });

  it("treat zero as the smallest value, and return null for an empty histogram", () => {
    assert.equal(histogram.quantile(histogram.create(), 0.99), null);
    assert.equal(histogram.countAbove(histogram.create(), 1), 0);
    const h = of([0, 0, 10]);
    assert.equal(histogram.quantile(h, 0.5), 0);
    assert.deepEqual(
      [-1, 0, 220].map((value) => histogram.countAbove(h, value)),
      [3, 1, 0],
    );
  });

  it("put the 220 ms threshold at 219.98 ms", () => {
    assert.equal(histogram.countAbove(of([219.97, 219.99, 220, 221, 223]), 220), 4);
  });
});

describe("merge and downscale", () => {
  it("is commutative and associative over all scales, including saturated counts", () => {
    fc.assert(
      fc.property(anyHistogram, anyHistogram, anyHistogram, (a, b, c) => {
        const ab = histogram.fromWire(merged(a, b));
        const bc = histogram.fromWire(merged(b, c));
        assert.deepEqual(merged(ab, c), merged(a, bc));
        assert.deepEqual(merged(c, b, a), merged(a, b, c));
      }),
    );
  });

  it("equals inserting all values into one histogram, and does not change its source", () => {
    fc.assert(
      fc.property(fc.array(anyValue), fc.array(anyValue), (left, right) => {
        const into = of(left);
        const from = of(right);
        const before = histogram.toWire(from);
        histogram.merge(into, from);
        assert.deepEqual(histogram.toWire(into), histogram.toWire(of([...left, ...right])));
        assert.deepEqual(histogram.toWire(from), before);
        assert.equal(histogram.count(into), left.length + right.length);
      }),
    );
  });

  it("gives the same result through the wire form and the sparse form", () => {
    fc.assert(
      fc.property(anyHistogram, anyHistogram, (a, b) => {
        const [byMerge, byWire, bySparse] = [histogram.clone(a), histogram.clone(a), histogram.clone(a)];
        histogram.merge(byMerge, b);
        histogram.mergeWire(byWire, histogram.toWire(b));
        histogram.mergeSparse(bySparse, histogram.toSparse(b));
        assert.deepEqual(histogram.toWire(byWire), histogram.toWire(byMerge));
        assert.deepEqual(histogram.toWire(bySparse), histogram.toWire(byMerge));
      }),
    );
  });

  it("downscales to the result of inserting at the lower scale", () => {
    fc.assert(
      fc.property(fc.array(anyValue), fc.integer({ min: 0, max: 8 }), fc.integer({ min: 0, max: 8 }), (values, one, other) => {
        const h = of(values, Math.max(one, other));
        histogram.downscale(h, Math.min(one, other));
        assert.deepEqual(histogram.toWire(h), histogram.toWire(of(values, Math.min(one, other))));
      }),
    );
    assert.throws(() => histogram.downscale(histogram.create(4), 6), /cannot go from scale 4 up to 6/);
  });

  it("treats buckets outside the range as it treats such values", () => {
    const h = histogram.create();
    histogram.mergeWire(h, { scale: 6, zero: 1, offset: minIndex(6) - 2, counts: [1, 2, 3] });
    histogram.mergeWire(h, { scale: 6, zero: 0, offset: maxIndex(6), counts: [4, 5, 6] });
    assert.equal(h.zero, 4);
    assert.equal(histogram.count(h), 22);
    assert.equal(histogram.countAbove(h, MAX_VALUE_MS * 0.99), 15);
  });

  it("clears for reuse at the original scale, and clones without sharing", () => {
    const h = of([1, 50, 3000]);
    const copy = histogram.clone(h);
    histogram.merge(h, of([7], 2));
    assert.equal(h.scale, 2);
    histogram.clear(h);
    assert.ok(histogram.isEmpty(h));
    histogram.insert(h, 50);
    assert.deepEqual(histogram.toWire(h), histogram.toWire(of([50])));
    assert.equal(histogram.count(copy), 3);
  });
});

describe("wire and sparse forms", () => {
  // Compiled inside an outer schema and strictly, as in the contract schemas.
  const outer = z.compile(z.object({ wire: histogram.latencyWireSchema, sparse: histogram.latencySparseSchema }), {
    strict: true,
  });

  it("return the same histogram after JSON, pass their schemas, and are trimmed", () => {
    fc.assert(
      fc.property(anyHistogram, (h) => {
        const forms = { wire: histogram.toWire(h), sparse: histogram.toSparse(h) };
        const read = outer.parse(JSON.parse(JSON.stringify(forms)));
        assert.deepEqual(read, forms);
        assert.deepEqual(histogram.toWire(histogram.fromWire(read.wire)), forms.wire);
        assert.deepEqual(histogram.toWire(histogram.fromSparse(read.sparse)), forms.wire);
        assert.ok(forms.wire.counts[0] !== 0 && forms.wire.counts.at(-1) !== 0);
      }),
    );
  });

  it("are the OpenTelemetry positive buckets, and gaps with counts", () => {
    const h = of([1, 1, 2, 2.01]);
    histogram.mergeWire(h, { scale: 6, zero: 0, offset: 200, counts: [0, 0] });
    assert.deepEqual(histogram.toWire(h), { scale: 6, zero: 0, offset: -1, counts: [2, ...Array(63).fill(0), 1, 1] });
    assert.deepEqual(histogram.toSparse(h), { scale: 6, zero: 0, total: 4, last: 64, pairs: [-1, 2, 64, 1, 1, 1] });
    assert.deepEqual(histogram.toWire(histogram.create()), { scale: 6, zero: 0, offset: 0, counts: [] });
    assert.deepEqual(histogram.toSparse(histogram.create()), { scale: 6, zero: 0, total: 0, last: 0, pairs: [] });
  });

  const wire = { scale: 6, zero: 0, offset: 0, counts: [1] };
  const sparse = { scale: 6, zero: 2, total: 6, last: 8, pairs: [5, 1, 3, 3] };
  const rejected: Record<string, { wire?: object; sparse?: object; reason?: RegExp }> = {
    "a fraction of a request": { wire: { counts: [0.5] } },
    "a negative count": { wire: { counts: [-1] } },
    "a count beyond 2^53 - 1": { wire: { zero: 2 ** 53 } },
    "a scale above 8": { wire: { scale: 9 } },
    "an offset outside the range": { wire: { offset: 6912 } },
    "too many buckets": { wire: { counts: Array(9473).fill(0) } },
    "a sparse scale that does not exist": { sparse: { scale: 20 } },
    "a sparse scale that is half a scale": { sparse: { scale: 5.5 } },
    "a negative count of zeros": { sparse: { zero: -1, total: 3 } },
    "half a pair": { sparse: { pairs: [5, 1, 3, 3, 1] }, reason: /half a pair/ },
    "a gap of zero": { sparse: { pairs: [8, 1, 0, 3] }, reason: /a gap of 0 and a count of 3/ },
    "a gap that is a fraction": { sparse: { pairs: [5, 1, 2.5, 3], last: 7.5 } },
    "an empty bucket": { sparse: { pairs: [5, 0, 3, 4] }, reason: /a gap of 5 and a count of 0/ },
    "a negative count in a bucket": { sparse: { pairs: [5, -1, 3, 5] }, reason: /a count of -1/ },
    "a fraction in a bucket": { sparse: { pairs: [5, 0.5, 3, 3.5] } },
    "NaN in a bucket": { sparse: { pairs: [5, Number.NaN, 3, 3], total: Number.NaN } },
    "2^53 in a bucket": { sparse: { pairs: [8, 2 ** 53], total: 2 ** 53 } },
    "an index above the range of its scale": {
      sparse: { pairs: [5, 1, 1723, 3], last: 1728 },
      reason: /buckets 5 to 1728, expected -640 to 1727 at scale 6/,
    },
    "an index below the range of its scale": { sparse: { pairs: [-641, 1, 649, 3] }, reason: /buckets -641 to 8/ },
    "a last bucket that is not the last": { sparse: { last: 9 }, reason: /last is 9, but the pairs end at bucket 8/ },
    "a last bucket without any buckets": { sparse: { pairs: [], total: 2 }, reason: /last is 8, but the pairs end at bucket 0/ },
    "a total that is too small": { sparse: { total: 4 }, reason: /total is 4, but zero and the pairs add up to 6/ },
    "no total": { sparse: { total: undefined } },
    "no last bucket": { sparse: { last: undefined } },
  };
  for (const [what, change] of Object.entries(rejected)) {
    it(`rejects ${what}`, () => {
      assert.ok(outer.safeParse({ wire, sparse }).success);
      const answer = outer.safeParse({ wire: { ...wire, ...change.wire }, sparse: { ...sparse, ...change.sparse } });
      assert.equal(answer.success, false);
      if (change.reason !== undefined) assert.match(answer.error?.issues[0]?.message ?? "", change.reason);
    });
  }
});
