import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  afterFailure,
  type Backoff,
  faultCode,
  isRetryable,
  mayCall,
  noBackoff,
  retryable,
  terminal,
  withRetries,
} from "../../src/runtime/faults.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";

describe("faults", () => {
  it("carry a code, a message and a cause", () => {
    const cause = new Error("inner");
    const fault = retryable("refused", "connection refused", cause);
    assert.equal(fault.code, "refused");
    assert.equal(fault.message, "connection refused");
    assert.equal(fault.cause, cause);
    assert.equal(fault.name, "Retryable");
    assert.equal("cause" in terminal("x", "y"), false);
  });

  it("only a retryable fault is retryable; an unclassified error is not", () => {
    assert.equal(isRetryable(retryable("a", "b")), true);
    for (const other of [terminal("a", "b"), new Error("x"), undefined, "text"]) assert.equal(isRetryable(other), false);
    assert.equal(faultCode(terminal("conflict", "b")), "conflict");
    assert.equal(faultCode(new Error("x")), "unclassified");
  });
});

/** Runs the loop with waits that are recorded and take no time. */
async function recorded(fn: (attempt: number) => Promise<string>, options: { attempts?: number; random?: () => number } = {}) {
  const waits: number[] = [];
  const sleep = async (ms: number): Promise<void> => void waits.push(ms);
  const outcome = await withRetries({ baseMs: 100, capMs: 250, random: () => 0.5, sleep, ...options }, fn).then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  return { waits, outcome };
}

describe("withRetries (three attempts with jitter at most)", () => {
  it("calls at most three times and throws the last fault", async () => {
    const seen: number[] = [];
    const { waits, outcome } = await recorded(async (attempt) => {
      seen.push(attempt);
      throw retryable("reset", `attempt ${attempt}`);
    });
    assert.deepEqual(seen, [1, 2, 3]);
    assert.deepEqual(waits, [50, 100]);
    assert.ok("error" in outcome && outcome.error instanceof Error && outcome.error.message === "attempt 3");
  });

  it("stops at the first success, and at the first fault that is not retryable", async () => {
    const success = await recorded(async (attempt) => {
      if (attempt === 1) throw retryable("reset", "once");
      return "done";
    });
    assert.deepEqual(success, { waits: [50], outcome: { value: "done" } });
    const fault = terminal("bad", "never");
    assert.deepEqual(
      await recorded(async () => {
        throw fault;
      }),
      { waits: [], outcome: { error: fault } },
    );
  });

  it("waits between zero and the capped, doubled base", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 9, maxLength: 9 }),
        async (draws) => {
          const left = [...draws];
          const always = async (): Promise<string> => {
            throw retryable("reset", "again");
          };
          const { waits } = await recorded(always, { attempts: 10, random: () => left.shift() ?? 0 });
          assert.equal(waits.length, 9);
          waits.forEach((wait, index) => {
            assert.equal(wait, draws[index]! * Math.min(250, 100 * 2 ** index));
          });
        },
      ),
      { numRuns: 50 },
    );
  });

  it("rejects with the abort reason when aborted during a wait, and leaves no timer", async () => {
    const clock = manualClock();
    const stop = new AbortController();
    let calls = 0;
    const running = withRetries(
      { baseMs: 100, capMs: 100, random: () => 0.9, sleep: clock.sleep, signal: stop.signal },
      async () => {
        calls += 1;
        queueMicrotask(() => stop.abort(new Error("stopping")));
        throw retryable("reset", "again");
      },
    );
    await assert.rejects(running, /stopping/);
    assert.equal(calls, 1);
    assert.equal(clock.timers, 0);
  });

  it("rejects an invalid number of attempts", async () => {
    for (const attempts of [0, -1, 1.5, Number.NaN]) {
      const { outcome } = await recorded(async () => "x", { attempts });
      assert.ok("error" in outcome && outcome.error instanceof RangeError);
    }
  });
});

describe("back-off of an upstream (exponential with a hard ceiling)", () => {
  const limits = { baseMs: 1_000, ceilingMs: 60_000 };

  it("allows a call to an upstream that has not failed", () => {
    assert.equal(mayCall(noBackoff, 0), true);
  });

  it("waits between half and all of the doubled delay, never more than the ceiling", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 5_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (failures, draw) => {
          const state: Backoff = { failures, notBeforeMs: 0 };
          const next = afterFailure(state, 10_000, limits, () => draw);
          const wholeMs = Math.min(60_000, 1_000 * 2 ** Math.min(failures, 52));
          const waitMs = next.notBeforeMs - 10_000;
          assert.ok(waitMs >= wholeMs / 2 && waitMs <= wholeMs, `${waitMs} of ${wholeMs}`);
          assert.equal(next.failures, failures + 1);
          assert.equal(mayCall(next, next.notBeforeMs - 1), false);
          assert.equal(mayCall(next, next.notBeforeMs), true);
        },
      ),
    );
  });
});
