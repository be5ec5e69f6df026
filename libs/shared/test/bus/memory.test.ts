import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { StoredMessage } from "../../src/bus/bus.ts";
import { createMemoryBus } from "../../src/bus/memory.ts";
import { type Clock, sleepWith, systemClock } from "../../src/runtime/clock.ts";
import { busContract } from "../../src/testing/bus-contract.ts";

busContract("the memory bus", async () => {
  const bus = createMemoryBus();
  return { bus, another: async () => createMemoryBus(), close: async () => bus[Symbol.asyncDispose]() };
});

/** A clock that changes only when set. */
function handClock(startMs: number): Clock & { set(ms: number): void } {
  let nowMs = startMs;
  const timers = new Set<{ readonly at: number; readonly fn: () => void }>();
  const setTimer: Clock["setTimer"] = (ms, fn) => {
    const timer = { at: nowMs + ms, fn };
    timers.add(timer);
    return () => timers.delete(timer);
  };
  return {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    setTimer,
    sleep: (ms, signal) => sleepWith(setTimer, ms, signal),
    set(ms) {
      nowMs = ms;
      for (const timer of [...timers].sort((a, b) => a.at - b.at)) {
        if (timer.at > nowMs || !timers.delete(timer)) continue;
        timer.fn();
      }
    },
  };
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const subject = "signals.az-a.payments.mac-a1.http";

describe("the memory bus", () => {
  test("accepts an id again after the duplicate window", async () => {
    const clock = handClock(1_000_000);
    const bus = createMemoryBus({ clock });
    const first = await bus.publish({ subject, data: "", id: "a" });
    clock.set(1_000_000 + 10 * MINUTE - 1);
    assert.equal((await bus.publish({ subject, data: "", id: "a" })).duplicate, true);
    clock.set(1_000_000 + 10 * MINUTE);
    assert.deepEqual(await bus.publish({ subject, data: "", id: "a" }), { ...first, sequence: 2, duplicate: false });
  });

  test("drops messages older than the stream's age limit, and followers start after them", async () => {
    const clock = handClock(0);
    const bus = createMemoryBus({ clock });
    for (const hour of [1, 2, 3]) {
      clock.set(hour * HOUR);
      await bus.publish({ subject, data: String(hour) });
    }
    clock.set(74 * HOUR);
    assert.partialDeepStrictEqual(await bus.streamState("INPUTS"), { messages: 1, firstSequence: 3, lastSequence: 3 });
    const seen: number[] = [];
    const follower = await bus.follow({ stream: "INPUTS", from: "all", onMessage: (message) => seen.push(message.sequence) });
    await follower.caughtUp;
    assert.deepEqual(seen, [3]);
    clock.set(80 * HOUR);
    assert.partialDeepStrictEqual(await bus.streamState("INPUTS"), { messages: 0, firstSequence: 4, lastSequence: 3 });
    assert.equal(await bus.last("INPUTS", subject), undefined);
    assert.equal((await bus.publish({ subject, data: "" })).sequence, 4);
  });

  test("drops the oldest message at the byte limit", async () => {
    const bus = createMemoryBus({ maxBytes: { INPUTS: 10_000 } });
    for (let index = 0; index < 100; index += 1) await bus.publish({ subject, data: new Uint8Array(1000) });
    const state = await bus.streamState("INPUTS");
    assert.equal(state.lastSequence, 100);
    assert.ok(state.messages >= 5 && state.messages < 10, `${state.messages} messages are left`);
    assert.equal(state.firstSequence, 100 - state.messages + 1);
  });

  test("keeps the last message of every subject while many subjects change often", async () => {
    const bus = createMemoryBus();
    const bucket = await bus.bucket("lane");
    await bucket.put("still", "1");
    for (let index = 0; index < 5000; index += 1) await bucket.put("busy", String(index));
    assert.deepEqual(await bucket.keys(), ["busy", "still"]);
  });

  test("never lets store times decrease, even if the clock does", async () => {
    const clock = handClock(5000);
    const bus = createMemoryBus({ clock });
    const times: number[] = [];
    await bus.follow({ stream: "INPUTS", from: "all", onMessage: (message) => times.push(message.storedAtMs) });
    for (const now of [5000, 4000, 5000.9, 6000]) {
      clock.set(now);
      await bus.publish({ subject, data: "" });
    }
    await bus.streamState("INPUTS");
    assert.deepEqual(times, [5000, 5000, 5000, 6000]);
  });

  test("delivers in deferred tasks, in store order, and never within publish", async () => {
    const tasks: (() => void)[] = [];
    const bus = createMemoryBus({ defer: (task) => tasks.push(task) });
    const seen: string[] = [];
    const note =
      (who: string) =>
      (message: StoredMessage): void => {
        seen.push(`${who}${message.sequence}`);
      };
    await bus.follow({ stream: "INPUTS", from: "all", onMessage: note("a") });
    await bus.follow({ stream: "INPUTS", from: "all", onMessage: note("b") });
    await bus.publish({ subject, data: "" });
    await bus.publish({ subject, data: "" });
    assert.deepEqual(seen, []);
    while (tasks.length > 0) tasks.shift()?.();
    assert.deepEqual(seen, ["a1", "a2", "b1", "b2"]);
  });

  test("waits on its own clock", async () => {
    const clock = handClock(0);
    const bus = createMemoryBus({ clock });
    await bus.ensureDurable({ stream: "DEMAND", name: "lane", filter: "demand.lane", ackWaitMs: 1000 });
    await bus.publish({ subject: "demand.lane", data: "1" });
    assert.equal((await bus.take("DEMAND", "lane", 1, 0)).length, 1);
    const again = bus.take("DEMAND", "lane", 1, 60_000);
    clock.set(1000);
    assert.equal((await again)[0]?.deliveryCount, 2);
    const nothing = bus.take("DEMAND", "lane", 1, 500);
    clock.set(1500);
    assert.deepEqual(await nothing, []);
  });

  test("copies published bytes", async () => {
    const bus = createMemoryBus({ clock: systemClock });
    const data = Uint8Array.of(1);
    await bus.publish({ subject, data });
    data[0] = 2;
    assert.deepEqual([...((await bus.last("INPUTS", subject))?.data ?? [])], [1]);
  });
});
