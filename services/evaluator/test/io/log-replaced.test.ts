import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { parseVerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { createRegistry } from "@aviary/shared/runtime/metrics.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { encodeCheckpoint } from "../../src/core/checkpoint.ts";
import { saveCheckpoint } from "../../src/io/checkpoint.ts";
import { CANARY, createSimulatedFleet, reduceLog } from "../core/simulated-fleet.ts";
import { publishInput, startLiveEvaluator } from "../live-fleet.ts";

test("a log that ends before the checkpoint is applied from its first message, and the gap is a hold", async () => {
  const fleet = createSimulatedFleet({ azs: ["az-a"] });
  fleet.advance(60);
  const { state } = reduceLog(fleet.config, fleet.log);
  const clock = manualClock(fleet.now());
  const bus = createMemoryBus({ clock });
  after(() => bus[Symbol.asyncDispose]());
  await saveCheckpoint(bus, encodeCheckpoint(state), () => true);
  const from = fleet.log.length;
  clock.advance(5_000);
  fleet.advance(5);
  for (const input of fleet.log.slice(from)) {
    assert.ok(input.kind === "signal");
    await publishInput(bus, input);
  }
  const metrics = createRegistry();
  const evaluator = startLiveEvaluator({ bus, config: fleet.config, clock, metrics, holder: "one" });
  const applied = fleet.log.length - from;
  await until("the whole new log is applied, and the evaluator's own configuration", () => {
    clock.advance(20);
    return metrics.expose().includes(`aviary_evaluator_log_sequence ${applied + 1}\n`);
  });
  await until("a verdict is published", async () => {
    clock.advance(20);
    return (await bus.last("VERDICTS", verdictSubject(CANARY))) !== undefined;
  });
  const published = await bus.last("VERDICTS", verdictSubject(CANARY));
  const parsed = parseVerdictRecord(JSON.parse(Buffer.from(published!.data).toString()));
  assert.ok(parsed.success);
  assert.equal(parsed.data.body.verdict, "hold");
  assert.ok(parsed.data.body.reasons.some(({ code }) => code === "gap"));
  assert.match(metrics.expose(), new RegExp(`inputs_total\\{kind="signal"\\} ${applied}\n`), "no message is skipped");
  await evaluator[Symbol.asyncDispose]();
});
