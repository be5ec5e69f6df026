import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bucket, Bus } from "../../src/bus/bus.ts";
import { createMemoryBus } from "../../src/bus/memory.ts";
import { retryable } from "../../src/runtime/faults.ts";
import { acquireLease, LEASE_TRUST_MS, type Lease } from "../../src/runtime/lease.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { passTime } from "../../src/testing/pass-time.ts";

const NEVER = new AbortController().signal;

function setUp() {
  const clock = manualClock(Date.parse("2026-11-21T10:00:00.000Z"));
  const bus = createMemoryBus({ clock });
  let broker: "there" | "away" | "silent" = "there";
  const bucket = async (): Promise<Bucket> => {
    const real = await bus.bucket("lease");
    const reached = <T>(work: () => Promise<T>): Promise<T> => {
      if (broker === "silent") return new Promise(() => {});
      return broker === "away" ? Promise.reject(retryable("broker_unavailable", "away")) : work();
    };
    return {
      ...real,
      get: (key) => reached(() => real.get(key)),
      update: (key, value, revision) => reached(() => real.update(key, value, revision)),
    };
  };
  const shaky = Object.create(bus, { bucket: { value: bucket } }) as Bus;
  const advance = (ms: number): Promise<void> => passTime(clock, ms);
  const make = (state: typeof broker): void => {
    broker = state;
  };
  return { clock, bus: shaky, advance, make };
}

test("a standby waits for an unreachable broker, and leads once it is back", async () => {
  const { clock, bus, advance, make } = setUp();
  make("away");
  const leases: Lease[] = [];
  const waiting = acquireLease({ bus, key: "evaluator", holder: "one", clock, signal: NEVER }).then(
    (taken) => void leases.push(taken),
  );
  await advance(60_000);
  assert.equal(leases.length, 0);
  make("there");
  await advance(2_000);
  await waiting;
  assert.equal(leases[0]?.held(), true);
  await leases[0]?.release();
});

test("a leader that cannot renew performs nothing, and performs again once it can", async () => {
  const { clock, bus, advance, make } = setUp();
  const lease = await acquireLease({ bus, key: "evaluator", holder: "one", clock, signal: NEVER });
  await advance(1_500);
  assert.equal(lease.held(), true);
  make("away");
  await advance(LEASE_TRUST_MS + 1_000);
  assert.equal(lease.held(), false);
  make("there");
  await advance(1_500);
  assert.equal(lease.held(), true);
  assert.equal(lease.lost.aborted, false, "no other process acquired it");
  await lease.release();
});

test("a leader that lost its lease is notified, and does not release it when it stops", async () => {
  const { clock, bus, advance } = setUp();
  const lease = await acquireLease({ bus, key: "evaluator", holder: "one", clock, signal: NEVER });
  const bucket = await bus.bucket("lease");
  await bucket.put("evaluator", JSON.stringify({ holder: "two" }));
  await advance(1_500);
  assert.equal(lease.held(), false);
  assert.equal(lease.lost.aborted, true);
  await lease.release();
  assert.equal(JSON.parse(Buffer.from((await bucket.get("evaluator"))!.value).toString()).holder, "two");
});

test("a stopping leader does not wait for an unresponsive broker", async () => {
  const { clock, bus, advance, make } = setUp();
  const lease = await acquireLease({ bus, key: "evaluator", holder: "one", clock, signal: NEVER });
  make("silent");
  let released = false;
  const releasing = lease.release().then(() => {
    released = true;
  });
  await advance(1_500);
  await releasing;
  assert.equal(released, true);
});
