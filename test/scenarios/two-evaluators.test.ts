/**
 * Of two evaluators one performs: when the leader is killed or frozen the other continues, without a window lost or doubled, and a leader that was frozen publishes nothing when it wakes up.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { verdictWhere } from "../fleet/records.ts";
import { COLLECTORS, startWorld, type World } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

/** Waits until somebody else leads than `before`, and tells how long that took. That it takes at most 5 s is shown in simulated time, where no machine is busy: services/evaluator/test/service.test.ts. */
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

test("the leader is killed, then its successor is frozen and wakes up", async (t) => {
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
  assert.equal(await holder(world), second, "who comes back stands by");
  world.freeze("evaluator-2");
  const third = await takenOver(t, "the first evaluator leads again", world, second);
  await verdictWhere(bus, "it judges a window", ({ body }) => body.window !== null, "new");
  world.thaw("evaluator-2");
  traffic.fail("canary", 0.5);
  await verdictWhere(bus, "a fail is published", ({ body }) => body.verdict === "fail", "new");
  assert.equal(await holder(world), third, "who wakes up finds that the lease is gone");

  // What it knows is old, yet it must be able to lead again.
  await world.kill("evaluator");
  await takenOver(t, "the one that was frozen leads again", world, third);
  await verdictWhere(bus, "it still says fail", ({ body }) => body.verdict === "fail", "new");
  traffic.stop();
  await world.stop(...COLLECTORS);
  await world.assertSameAsFold();
  world.assertNothingFell();
});
