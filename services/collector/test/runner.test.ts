import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { createLogger } from "@aviary/shared/runtime/logger.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { nextTurn, passTime } from "@aviary/shared/testing/pass-time.ts";
import type { Tick } from "../src/core/schedule.ts";
import { createUpstream } from "../src/io/upstream.ts";
import type { EnvelopeFacts, OpenProbe } from "../src/probe.ts";
import { startRunner } from "../src/runner.ts";

const START = Date.UTC(2026, 10, 21, 10, 0, 0);
const BODY: SignalBody<"queue"> = { lane: "l", role: "build", depth: 1 };

/** A runner on a manual clock; `flush` runs everything that does not wait for a timer. */
function setUp(
  read: (tick: Tick, signal: AbortSignal) => Promise<void>,
  change: { coversPeriod?: boolean; startAt?: number } = {},
) {
  const clock = manualClock(change.startAt ?? START);
  const lines: string[] = [];
  const log = createLogger({ service: "t", write: (line) => lines.push((JSON.parse(line) as { msg: string }).msg), clock });
  const ticks: Tick[] = [];
  const results: (string | undefined)[] = [];
  const learned: Partial<EnvelopeFacts>[] = [];
  const probe: OpenProbe = {
    read: async (tick, signal) => {
      await read(tick, signal);
      return { kind: "queue", bodies: [BODY], learned: {} };
    },
    [Symbol.asyncDispose]: async () => {},
  };
  const stop = startRunner({
    name: "p",
    probe,
    coversPeriod: change.coversPeriod ?? false,
    periodMs: 5_000,
    phaseMs: 2_000,
    timeoutMs: 1_000,
    clock,
    log,
    onSignal: (_kind, tick) => ticks.push(tick),
    onLearned: (facts) => learned.push(facts),
    unknownWhileFailing: { skillHash: null },
    onRead: (code) => results.push(code),
  });
  // In small steps, so that work started by a timer finishes before the next timer fires.
  const pass = async (ms: number): Promise<void> => {
    await nextTurn();
    await passTime(clock, ms, 250);
  };
  const at = (): number[] => ticks.map((tick) => tick.atMs - START);
  return { clock, stop, ticks, results, learned, lines, pass, at, flush: nextTurn };
}

describe("a runner", () => {
  it("makes the facts of the probe unknown whenever a reading fails, times out or does not return", async () => {
    let result: () => Promise<void> = async () => {};
    const { pass, learned, results, stop } = setUp(() => result());
    const returned = Promise.withResolvers<void>();
    for (const next of [
      async () => {
        throw retryable("broken", "no");
      },
      () => returned.promise,
      () => returned.promise,
    ]) {
      result = next;
      await pass(5_000);
    }
    assert.deepEqual(results, [undefined, "broken", "still_reading"]);
    assert.deepEqual(learned, [{}, { skillHash: null }, { skillHash: null }]);
    returned.resolve();
    await pass(5_000);
    assert.deepEqual(learned.slice(-2), [{ skillHash: null }, {}]);
    await stop();
  });

  it("reads immediately and then on its grid", async () => {
    const { pass, at, stop } = setUp(async () => {}, { startAt: START + 500 });
    for (let n = 0; n < 3; n++) await pass(5_000);
    assert.deepEqual(at(), [500, 2_000, 7_000, 12_000]);
    await stop();
    await pass(20_000);
    assert.equal(at().length, 4);
  });

  it("covers the time from start to the first reading, then from reading to reading across failures", async () => {
    let fail = false;
    const { pass, ticks, stop } = setUp(
      async () => {
        if (fail) throw new Error("no");
      },
      { coversPeriod: true, startAt: START + 500 },
    );
    await pass(2_000);
    fail = true;
    await pass(5_000);
    fail = false;
    await pass(5_000);
    assert.deepEqual(
      ticks.map(({ atMs: at, periodMs }) => [at - START, periodMs]),
      [
        [2_000, 1_500],
        [12_000, 10_000],
      ],
    );
    await stop();
  });

  it("aborts a reading at its timeout, and starts no other until a reading that ignores the abort returns", async () => {
    let finishReading = (): void => {};
    const { pass, results, at, stop } = setUp(() => new Promise((resolve) => (finishReading = resolve)));
    await pass(2_000);
    await pass(5_000);
    assert.deepEqual(results, ["still_reading", "still_reading"]);
    finishReading();
    await pass(0);
    assert.deepEqual(results.at(-1), "probe_timeout", "a late result publishes no signal");
    assert.deepEqual(at(), []);
    await pass(5_000);
    finishReading();
    await pass(0);
    assert.deepEqual(at(), [12_000]);
    await stop();
  });

  it("logs a failure once and its recovery once", async () => {
    let fault: Error | undefined = retryable("refused", "no");
    const { pass, lines, results, stop } = setUp(async () => {
      if (fault) throw fault;
    });
    for (let n = 0; n < 3; n++) await pass(5_000);
    fault = retryable("backing_off", "later");
    await pass(5_000);
    fault = undefined;
    await pass(5_000);
    await pass(5_000);
    assert.deepEqual(lines, ["probe p failed", "probe p recovered"]);
    assert.deepEqual(
      results,
      ["refused", "refused", "refused", "refused", "backing_off", undefined, undefined].slice(-results.length),
    );
    await stop();
  });

  it("keeps reading when the clock is set back or forward", async () => {
    let shiftMs = 0;
    const { clock, pass, at, stop } = setUp(async () => {});
    const { now } = clock;
    Object.assign(clock, { now: () => now() + shiftMs });
    await pass(5_000);
    shiftMs = -3_600_000;
    await pass(5_000);
    await pass(5_000);
    shiftMs = 3_600_000;
    await pass(5_000);
    await pass(5_000);
    assert.equal(at().length, 6, at().join());
    await stop();
  });

  it("stops while a reading hangs", async () => {
    const { clock, pass, stop, flush } = setUp(() => new Promise(() => {}));
    await pass(2_000);
    let stopped = false;
    const stopping = stop().then(() => {
      stopped = true;
    });
    await flush();
    clock.advance(1_000);
    await stopping;
    assert.ok(stopped);
  });
});

describe("an upstream", () => {
  const setUpUpstream = () => {
    const clock = manualClock();
    // Sleeps return immediately; only their durations are recorded.
    const waits: number[] = [];
    const sleep = async (ms: number): Promise<void> => void waits.push(ms);
    const upstream = createUpstream({
      name: "x",
      clock: { ...clock, sleep },
      random: () => 0.5,
      pauseMs: 5_000,
      ceilingMs: 60_000,
    });
    return { clock, waits, call: (fn: () => Promise<unknown>) => upstream.call(new AbortController().signal, fn) };
  };

  it("is called three times with jitter, then backs off for increasing pauses up to the ceiling", async () => {
    const { clock, waits, call } = setUpUpstream();
    const fail = () => Promise.reject(retryable("refused", "no"));
    let calls = 0;
    const pauses: number[] = [];
    for (let n = 0; n < 7; n++) {
      const before = calls;
      await assert.rejects(
        call(() => fail().finally(() => (calls += 1))),
        { code: "refused" },
      );
      assert.equal(calls - before, 3);
      let pausedMs = 0;
      for (;;) {
        const error = await call(async () => "call during the pause").then(
          () => undefined,
          (reason: { code: string }) => reason,
        );
        if (error === undefined) break;
        assert.equal(error.code, "backing_off");
        clock.advance(250);
        pausedMs += 250;
      }
      pauses.push(pausedMs);
      if (n < 6) {
        // Fail again, because the success that found the end of the pause has reset the backoff.
        for (let again = 0; again <= n; again++) {
          await call(fail).catch(() => {});
          clock.advance(60_000);
        }
      }
    }
    assert.deepEqual(waits.slice(0, 2), [50, 100]);
    assert.ok(pauses[0]! >= 2_500 && pauses[0]! <= 5_000, pauses.join());
    assert.ok(
      pauses.every((pause, n) => n === 0 || pause >= pauses[n - 1]!),
      pauses.join(),
    );
    assert.ok(pauses.at(-1)! <= 60_000);
  });

  it("is called once for a non-retryable error, and without delay after a success", async () => {
    const { call } = setUpUpstream();
    let calls = 0;
    await call(async () => (calls += 1));
    await call(async () => (calls += 1));
    await assert.rejects(
      call(async () => {
        calls += 1;
        throw new Error("bug");
      }),
      /bug/,
    );
    assert.equal(calls, 3);
  });
});
