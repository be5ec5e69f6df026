import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { applySample, NO_RESTARTS, type ProcessSample } from "../../src/core/restarts.ts";

describe("restarts", () => {
  const live = (signs: readonly (readonly [number | null, number | null])[]) =>
    signs.reduce(
      (lives, [uptimeMs, pid], n) => applySample(lives, { uptimeMs, pid } satisfies ProcessSample, 1_000_000 + n * 10_000),
      NO_RESTARTS,
    );
  it("are detected by a lower uptime, even within one process", () => {
    assert.equal(
      live([
        [50_000, 7],
        [60_000, 7],
        [3_000, 7],
        [13_000, 7],
      ]).restarts,
      1,
    );
  });
  it("are detected by a new process id, and counted once when its uptime follows", () => {
    assert.equal(
      live([
        [50_000, 7],
        [null, 8],
        [3_000, 8],
        [13_000, 8],
      ]).restarts,
      1,
    );
    assert.equal(
      live([
        [50_000, 7],
        [60_000, 8],
        [3_000, 8],
      ]).restarts,
      1,
    );
  });
  it("are not counted for missing responses or a sleeping machine", () => {
    assert.equal(
      live([
        [50_000, 7],
        [null, null],
        [null, 7],
        [80_000, 7],
        [80_001, 7],
      ]).restarts,
      0,
    );
  });
  it("give each run a stable, distinct boot id", () => {
    const [a, b, c] = [
      live([[50_000, null]]),
      live([
        [50_000, null],
        [60_007, null],
      ]),
      live([
        [50_000, null],
        [5, null],
      ]),
    ];
    assert.equal(a.boot, b.boot);
    assert.notEqual(a.boot, c.boot);
    assert.equal(live([[null, 7]]).boot, null);
  });
});
