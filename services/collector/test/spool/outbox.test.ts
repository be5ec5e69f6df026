/** The outbox against a scripted broker on a manual clock. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import type { BusStatus, Stored } from "@aviary/shared/bus/bus.ts";
import { retryable, terminal } from "@aviary/shared/runtime/faults.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { type OutboxOptions, openOutbox } from "../../src/spool/outbox.ts";
import type { SpoolRecord } from "../../src/spool/record.ts";
import { openSpool } from "../../src/spool/spool.ts";

const record = (n: number): SpoolRecord => ({ subject: "s", id: `boot.${n}`, data: "x" });
const STORED: Stored = { stream: "INPUTS", sequence: 1, duplicate: false };

/** A broker that handles each publish as `outcome` decides; `hang` never returns. */
function fakeBroker() {
  const listeners = new Set<(status: BusStatus) => void>();
  const stored: string[] = [];
  const broker = {
    status: "connected" as BusStatus,
    stored,
    inFlight: 0,
    mostInFlight: 0,
    outcome: (_id: string): "store" | "again" | "reject" | "hang" => "store",
    onStatus(listener: (status: BusStatus) => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async publish({ id = "" }: { id?: string }) {
      const outcome = broker.status === "connected" ? broker.outcome(id) : "hang";
      broker.inFlight += 1;
      broker.mostInFlight = Math.max(broker.mostInFlight, broker.inFlight);
      await Promise.resolve();
      if (outcome === "hang") await new Promise(() => {});
      broker.inFlight -= 1;
      if (outcome === "again") throw retryable("publish_timeout", "no answer");
      if (outcome === "reject") throw terminal("publish_refused", "no");
      if (!stored.includes(id)) stored.push(id);
      return STORED;
    },
    become(status: BusStatus) {
      broker.status = status;
      for (const listener of [...listeners]) listener(status);
    },
  };
  return broker;
}

async function setUp(test: TestContext, change: Partial<OutboxOptions> & { directory?: string; red?: () => boolean } = {}) {
  const clock = manualClock();
  const broker = fakeBroker();
  const directory = change.directory ?? (await temporaryDirectory(test));
  const readVolume = async () => ({ totalBytes: 1, usedRatio: change.red?.() ? 0.95 : 0.1 });
  const make = () => openSpool({ directory, maxBytes: 2 ** 20, redRatio: 0.9, readVolume, segmentBytes: 400 });
  const outbox = openOutbox({ bus: broker, openSpool: make, clock, random: () => 0.5, log: silentLogger, ...change });
  const take = (from: number, to: number): void => {
    for (let n = from; n < to; n++) outbox.enqueue(record(n));
  };
  return { clock, broker, outbox, take, directory, make };
}

const ids = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => `boot.${from + n}`);

describe("an outbox with a connected broker", () => {
  it("publishes in order, one record at a time without a backlog", async (test) => {
    const { broker, outbox, take } = await setUp(test);
    take(0, 10);
    await outbox.settled();
    assert.deepEqual(broker.stored, ids(0, 10));
    assert.equal(broker.mostInFlight, 1);
    assert.equal(outbox.counts.published, 10);
  });

  it("publishes a backlog in batches", async (test) => {
    const { broker, outbox, take } = await setUp(test, { window: 8 });
    take(0, 100);
    await outbox.settled();
    assert.deepEqual(broker.stored, ids(0, 100));
    assert.equal(broker.mostInFlight, 8);
  });

  it("arms no timer while idle", async (test) => {
    const { clock, outbox, take } = await setUp(test);
    take(0, 3);
    await outbox.settled();
    let fired = 0;
    const before = clock.timers;
    clock.setTimer(59_999, () => {
      fired += 1;
    });
    clock.advance(60_000);
    assert.equal(fired, 1);
    assert.equal(clock.timers, before, "a timer fired and was armed again");
  });

  it("resumes at the first failed record, so that order survives", async (test) => {
    const { clock, broker, take } = await setUp(test, { window: 8, openSpool: undefined });
    let failures = 2;
    broker.outcome = (id) => (id === "boot.3" && failures-- > 0 ? "again" : "store");
    take(0, 40);
    await until("every record is stored", () => {
      clock.advance(1_000);
      return broker.stored.length === 40;
    });
    assert.deepEqual(broker.stored.slice(0, 3), ids(0, 3));
    assert.deepEqual([...broker.stored].sort(), ids(0, 40).sort());
  });

  it("drops only the permanently rejected record", async (test) => {
    const { broker, outbox, take } = await setUp(test);
    broker.outcome = (id) => (id === "boot.1" ? "reject" : "store");
    take(0, 4);
    await outbox.settled();
    assert.deepEqual(broker.stored, ["boot.0", "boot.2", "boot.3"]);
    assert.equal(outbox.counts.rejected, 1);
  });
});

describe("an outbox with a disconnected broker", () => {
  it("spools signals, and publishes them first and in order on reconnect", async (test) => {
    const { broker, outbox, take } = await setUp(test, { window: 4 });
    take(0, 2);
    await outbox.settled();
    broker.become("reconnecting");
    take(2, 30);
    await outbox.settled();
    assert.equal(outbox.waiting, 0);
    assert.equal(outbox.counts.spooled, 28);
    broker.become("connected");
    take(30, 35);
    await outbox.settled();
    assert.deepEqual(broker.stored, ids(0, 35));
    assert.equal(outbox.counts.replayed, 28);
    assert.equal(outbox.spool?.isEmpty, true);
  });

  it("spools records that were in flight when the connection was lost", async (test) => {
    const { broker, outbox, take } = await setUp(test);
    broker.outcome = () => "hang";
    take(0, 3);
    await until("one record is in flight", () => broker.inFlight === 1);
    broker.become("reconnecting");
    await outbox.settled();
    assert.equal(outbox.counts.spooled, 3);
    broker.outcome = () => "store";
    broker.become("connected");
    await outbox.settled();
    assert.deepEqual(broker.stored, ids(0, 3));
  });

  it("publishes the spool of an earlier process before new records, under the earlier ids", async (test) => {
    const first = await setUp(test);
    first.broker.become("reconnecting");
    first.take(0, 20);
    await first.outbox.settled();
    const next = await setUp(test, { directory: first.directory });
    next.take(100, 103);
    await next.outbox.settled();
    assert.deepEqual(next.broker.stored, [...ids(0, 20), ...ids(100, 103)]);
  });

  it("replays everything in order while the connection flaps", async (test) => {
    const { broker, outbox, take } = await setUp(test, { window: 3 });
    broker.become("reconnecting");
    take(0, 50);
    await outbox.settled();
    for (let round = 0; round < 10; round++) {
      let left = 7;
      broker.outcome = () => (left-- > 0 ? "store" : "hang");
      broker.become("connected");
      await until("the broker hangs or every record is stored", () => left < 0 || broker.stored.length === 50);
      broker.become("reconnecting");
      await outbox.settled();
    }
    assert.deepEqual(broker.stored, ids(0, 50));
  });
});

describe("an outbox with a failing disk", () => {
  it("keeps the newest records in memory and counts the dropped ones", async (test) => {
    const failing = () => Promise.reject(retryable("disk_unwritable", "read-only"));
    const { clock, broker, outbox, take } = await setUp(test, { openSpool: failing, maxInMemory: 10 });
    broker.become("reconnecting");
    take(0, 25);
    await outbox.settled();
    assert.deepEqual([outbox.waiting, outbox.counts.overflowed], [10, 15]);
    clock.advance(30_000);
    broker.become("connected");
    await outbox.settled();
    assert.deepEqual(broker.stored, ids(15, 25));
  });

  it("spools nothing at the red mark, and spools the waiting records below it", async (test) => {
    let red = true;
    const { clock, broker, outbox, take } = await setUp(test, { red: () => red });
    broker.become("reconnecting");
    take(0, 5);
    await outbox.settled();
    assert.deepEqual([outbox.waiting, outbox.counts.spooled], [5, 0]);
    red = false;
    clock.advance(10_001);
    await until("the records are on disk", () => outbox.counts.spooled === 5);
    broker.become("connected");
    await outbox.settled();
    assert.deepEqual(broker.stored, ids(0, 5));
  });

  it("publishes signals while the disk hangs", async (test) => {
    const { clock, broker, take } = await setUp(test, { openSpool: () => new Promise(() => {}) });
    take(0, 5);
    await until("the signals are published", () => {
      clock.advance(1_000);
      return broker.stored.length === 5;
    });
    assert.deepEqual(broker.stored, ids(0, 5));
  });

  it("buffers in memory when no disk is configured", async (test) => {
    const { broker, outbox, take } = await setUp(test, { openSpool: undefined });
    broker.become("reconnecting");
    take(0, 5);
    await outbox.settled();
    broker.become("connected");
    await outbox.settled();
    assert.deepEqual(broker.stored, ids(0, 5));
  });
});

describe("closing an outbox", () => {
  it("publishes the waiting records", async (test) => {
    const { broker, outbox, take } = await setUp(test);
    take(0, 5);
    await outbox.close(1_000);
    assert.deepEqual(broker.stored, ids(0, 5));
  });

  it("spools the records that the broker does not accept", async (test) => {
    const { clock, broker, outbox, take, make } = await setUp(test);
    await outbox.settled();
    broker.outcome = () => "hang";
    take(0, 5);
    let isClosed = false;
    void outbox.close(1_000).then(() => {
      isClosed = true;
    });
    await until("the outbox is closed", () => {
      clock.advance(500);
      return isClosed;
    });
    const left = await (await make()).head();
    assert.deepEqual(
      left.map(({ id }) => id),
      ids(0, 5),
    );
  });
});
