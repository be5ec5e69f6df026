import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { systemClock } from "../../src/runtime/clock.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";

describe("the system clock", () => {
  it("returns the time and never decreases", () => {
    const [at, monotonic] = [systemClock.now(), systemClock.monotonicMs()];
    assert.ok(Number.isInteger(at) && at > Date.UTC(2026, 0, 1));
    assert.ok(systemClock.monotonicMs() >= monotonic);
  });

  it("fires a timer once, and not after it was canceled", async () => {
    const fired: string[] = [];
    systemClock.setTimer(0, () => fired.push("canceled"))();
    await new Promise<void>((resolve) => {
      systemClock.setTimer(-5, () => {
        fired.push("fired");
        resolve();
      });
    });
    await systemClock.sleep(1);
    assert.deepEqual(fired, ["fired"]);
  });

  it("supports delays beyond 32 bits, for which setTimeout fires immediately", async () => {
    let fired = false;
    const cancelLong = systemClock.setTimer(2 ** 31 + 1_000, () => {
      fired = true;
    });
    const cancelNever = systemClock.setTimer(Number.POSITIVE_INFINITY, () => {
      fired = true;
    });
    // setTimeout clamps an overflow to 1 ms, so a timer that fired incorrectly would fire before this one.
    await systemClock.sleep(2);
    cancelLong();
    cancelNever();
    assert.equal(fired, false);
    assert.throws(() => systemClock.setTimer(Number.NaN, () => {}), RangeError);
  });

  it("a background timer does not keep the process alive", () => {
    const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const cancel = systemClock.setTimer(60_000, () => {}, { background: true });
    const during = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    cancel();
    assert.equal(during, before);
  });
});

describe("sleep", () => {
  it("rejects immediately with the reason of an abort, and leaves neither timer nor listener", async () => {
    const clock = manualClock();
    const stop = new AbortController();
    const asleep = clock.sleep(1_000, stop.signal);
    assert.equal(clock.timers, 1);
    stop.abort(new Error("stop"));
    await assert.rejects(asleep, /stop/);
    assert.equal(clock.timers, 0);
    await assert.rejects(clock.sleep(1_000, stop.signal), /stop/);
    assert.equal(clock.timers, 0);
  });

  it("resolves on time, and a later abort has no effect", async () => {
    const clock = manualClock();
    const stop = new AbortController();
    const asleep = clock.sleep(1_000, stop.signal);
    clock.advance(999);
    assert.equal(clock.timers, 1);
    clock.advance(1);
    await asleep;
    stop.abort();
    assert.equal(clock.timers, 0);
  });
});
