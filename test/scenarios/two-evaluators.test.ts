/**
 * One of two evaluators performs effects: when the leader is killed or suspended the other continues, without lost or duplicate
 * windows, and a suspended leader publishes nothing when it resumes.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { verdictWhere } from "../fleet/records.ts";
import { COLLECTORS, startWorld, type World } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

/**
 * Waits until the leader is not `before`, and returns how long that took. The bound of 5 s is asserted in simulated time, where
 * no machine is loaded: services/evaluator/test/service.test.ts.
 */
async function takenOver(t: TestContext, what: string, world: World, before: string): Promise<string> {
  const startMs = performance.now();
  let now = before;
  await until(what, async () => {
    now = await holder(world);
    return now !== before && now !== "";
  });
  t.diagnostic(`${what} after ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  return now;
}

async function holder(world: World): Promise<string> {
  const entry = await (await world.bus.bucket("lease")).get("evaluator");
  return entry === undefined ? "" : (JSON.parse(Buffer.from(entry.value).toString()) as { holder: string }).holder;
}

test("a standby takes over from a killed and from a suspended leader", async (t) => {
  const world = await startWorld(t, { parts: ["evaluator", ...COLLECTORS] });
  if (world === undefined) return;
  const { bus } = world;
  const traffic = startTraffic(world.plan);
  t.after(() => traffic.stop());
  await world.openRun("v2");
  await verdictWhere(bus, "a window passes", ({ body }) => body.verdict === "pass");
  const first = await holder(world);
  await world.start("evaluator-2");
  await world.kill("evaluator");
  const taken = verdictWhere(bus, "the second evaluator judges a window", ({ body }) => body.window !== null, "new");
  const second = await takenOver(t, "the second evaluator leads", world, first);
  await taken;

  await world.start("evaluator");
  assert.equal(await holder(world), second, "the restarted evaluator stands by");
  world.freeze("evaluator-2");
  const third = await takenOver(t, "the first evaluator leads again", world, second);
  await verdictWhere(bus, "it judges a window", ({ body }) => body.window !== null, "new");
  world.thaw("evaluator-2");
  traffic.fail("canary", 0.5);
  await verdictWhere(bus, "a fail is published", ({ body }) => body.verdict === "fail", "new");
  assert.equal(await holder(world), third, "the resumed evaluator finds its lease lost");

  // Its state is old, yet it must be able to lead again.
  await world.kill("evaluator");
  await takenOver(t, "the suspended evaluator leads again", world, third);
  await verdictWhere(bus, "it still publishes fail", ({ body }) => body.verdict === "fail", "new");
  traffic.stop();
  await world.stop(...COLLECTORS);
  await world.assertSameAsFold();
  world.assertNothingFell();
});
