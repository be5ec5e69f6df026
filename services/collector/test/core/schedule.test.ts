import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { gridAfter, gridBefore, phaseMs, tickAt } from "../../src/core/schedule.ts";

describe("the schedule grid", () => {
  it("consists of whole periods, offset by whole seconds", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2e12 }),
        fc.integer({ min: 100, max: 3_600_000 }),
        fc.string(),
        (now, period, name) => {
          const phase = phaseMs(name, period);
          const [before, after] = [gridBefore(now, period, phase), gridAfter(now, period, phase)];
          assert.ok(before <= now && now < after && after - before === period);
          assert.ok(phase >= 0 && phase < period && phase % 1_000 === 0);
          assert.equal(gridBefore(before, period, phase), before, "returns a grid instant as its own last instant");
        },
      ),
    );
  });
  it("spreads gateways across the seconds of a period", () => {
    const phases = new Set(Array.from({ length: 100 }, (_, n) => phaseMs(`mac-a${n}`, 5_000)));
    assert.deepEqual([...phases].sort(), [0, 1_000, 2_000, 3_000, 4_000]);
  });
  it("covers the time between two readings, but only one period after a sleep or a clock change", () => {
    assert.deepEqual(tickAt(10_000, 5_000, 5_000), { atMs: 10_000, periodMs: 5_000 });
    assert.deepEqual(tickAt(20_000, 5_000, 5_000), { atMs: 20_000, periodMs: 15_000 });
    assert.deepEqual(tickAt(10_000, 8_765, 5_000), { atMs: 10_000, periodMs: 1_235 });
    assert.equal(tickAt(3_600_000, 5_000, 5_000).periodMs, 5_000);
    assert.equal(tickAt(5_000, 3_600_000, 5_000).periodMs, 5_000);
  });
});
