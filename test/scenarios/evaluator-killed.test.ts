/** An evaluator that is killed at any moment of a window and started again publishes the verdicts that a fold of the log gives: none twice, none missing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { verdictWhere } from "../fleet/records.ts";
import { COLLECTORS, startWorld } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

test("kill -9 of the evaluator in the middle of windows, and just after a verdict", async (t) => {
  const world = await startWorld(t, { parts: ["evaluator", ...COLLECTORS] });
  if (world === undefined) return;
  const { bus } = world;
  const traffic = startTraffic(world.plan);
  t.after(() => traffic.stop());
  await world.openRun("v2");
  await verdictWhere(bus, "a window passes", ({ body }) => body.verdict === "pass");
  await world.kill("evaluator");
  await world.start("evaluator");
  for (const errorRatio of [0, 0.5]) {
    // Between this verdict and the checkpoint behind it lies the moment at which most could be lost or doubled.
    await verdictWhere(bus, "a window is judged", ({ body }) => body.window !== null, "new");
    await world.kill("evaluator");
    traffic.fail("canary", errorRatio);
    await world.start("evaluator");
  }
  await verdictWhere(bus, "the fail is published", ({ body }) => body.verdict === "fail");
  await world.kill("evaluator");
  await world.start("evaluator");
  await verdictWhere(bus, "the fail is published again", ({ body }) => body.verdict === "fail", "new");
  traffic.stop();
  await world.stop(...COLLECTORS);
  const verdicts = await world.assertSameAsFold();
  assert.equal(verdicts.at(-1)?.body.verdict, "fail", "a fail latches");
  world.assertNothingFell();
});
