/**
 * An evaluator killed at any time within a window and restarted publishes the verdicts that the log yields: no duplicates, none
 * missing.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { verdictWhere } from "../fleet/records.ts";
import { COLLECTORS, startWorld } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

test("an evaluator killed within windows, and just after a verdict, loses and duplicates nothing", async (t) => {
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
    // Between this verdict and the checkpoint after it, a crash could lose or duplicate most.
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
  assert.equal(verdicts.at(-1)?.body.verdict, "fail", "a fail is latched");
  world.assertNothingFell();
});
