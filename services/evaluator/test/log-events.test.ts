import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { EVALUATOR_LEASE_KEY } from "@aviary/shared/contract/lease.ts";
import { createLogger } from "@aviary/shared/runtime/logger.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { encodeCheckpoint } from "../src/core/checkpoint.ts";
import { saveCheckpoint } from "../src/io/checkpoint.ts";
import { createSimulatedFleet, reduceFleet } from "./core/simulated-fleet.ts";
import { startLiveEvaluator } from "./live-fleet.ts";

interface LogEntry {
  readonly event?: string;
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** An evaluator on its own bus; `logged` waits for a line with that event. */
function createTestEvaluator() {
  const fleet = createSimulatedFleet({ azs: ["az-a"] });
  fleet.advance(60);
  const clock = manualClock(fleet.now());
  const bus = createMemoryBus({ clock });
  const lines: LogEntry[] = [];
  const log = createLogger({ service: "evaluator", level: "debug", write: (line) => void lines.push(JSON.parse(line)) });
  after(() => bus[Symbol.asyncDispose]());
  const start = (): void => {
    const evaluator = startLiveEvaluator({ bus, config: fleet.config, clock, log, holder: "replica-1" });
    after(() => evaluator[Symbol.asyncDispose]());
  };
  const logged = async (event: string): Promise<LogEntry> => {
    const find = (): LogEntry | undefined => lines.find((line) => line.event === event);
    await until(`${event} is logged`, () => {
      clock.advance(100);
      return find() !== undefined;
    });
    return find()!;
  };
  return { fleet, bus, lines, start, logged };
}

describe("the evaluator's log", () => {
  it("contains the acquired lease and the lost one", async () => {
    const { bus, start, logged } = createTestEvaluator();
    start();
    const acquired = await logged("lease.acquired");
    assert.equal(acquired.level, "info");
    assert.equal(acquired.holder, "replica-1");
    assert.equal(acquired.msg, "acquired the lease");
    await (await bus.bucket("lease")).put(EVALUATOR_LEASE_KEY, JSON.stringify({ holder: "replica-2" }));
    const lost = await logged("lease.lost");
    assert.equal(lost.level, "warn");
    assert.equal(lost.msg, "lost the lease; standing by");
  });

  it("contains the restored checkpoint with its position", async () => {
    const { fleet, bus, start, logged } = createTestEvaluator();
    await saveCheckpoint(bus, encodeCheckpoint(reduceFleet(fleet).state), () => true);
    start();
    const restored = await logged("checkpoint.restored");
    assert.equal(restored.sequence, fleet.log.length);
  });

  it("contains a warning for an unreadable checkpoint, after which the event log is applied from its start", async () => {
    for (const value of ["not gzip", undefined]) {
      const { bus, lines, start, logged } = createTestEvaluator();
      if (value === undefined) await saveCheckpoint(bus, '{"schema":"aviary/checkpoint.v99"}', () => true);
      else await (await bus.bucket("checkpoint")).put("evaluator", value);
      start();
      const unreadable = await logged("checkpoint.unreadable");
      assert.equal(unreadable.level, "warn");
      assert.match(unreadable.msg, /^the checkpoint (?:is|was) .*; replaying the log$/);
      await logged("event_log.caught_up");
      assert.ok(!lines.some(({ event }) => event === "checkpoint.restored"));
    }
  });

  it("contains each rejected input with its reason", async () => {
    const { bus, start, logged } = createTestEvaluator();
    start();
    await bus.publish({ subject: "signals.az-a.payments.canary-a.http", data: "{" });
    const rejected = await logged("input.rejected");
    assert.equal(rejected.reason, "bad_json");
    assert.equal(rejected.subject, "signals.az-a.payments.canary-a.http");
  });

  it("has an event in every line", async () => {
    const { lines, start, logged } = createTestEvaluator();
    start();
    await logged("event_log.caught_up");
    assert.deepEqual(
      lines.filter(({ event }) => event === undefined),
      [],
    );
  });
});
