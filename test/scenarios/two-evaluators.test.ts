/**
 * Of two evaluators one performs: when the leader is killed or frozen the other continues within five seconds, without a window lost or
 * doubled, and a leader that was frozen publishes nothing when it wakes up.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { verdictWhere } from "../world/records.ts";
import { startTraffic } from "../world/traffic.ts";
import { COLLECTORS, startWorld, type World } from "../world/world.ts";

/** From the leader's last moment until the other one holds the lease. In simulated time: services/evaluator/test/evaluator.test.ts. */
const TAKE_OVER = { deadlineMs: 5_000 } as const;

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
  await until("the second evaluator leads", async () => ![first, ""].includes(await holder(world)), TAKE_OVER);
  await taken;
  const second = await holder(world);

  await world.start("evaluator");
  assert.equal(await holder(world), second, "who comes back stands by");
  world.freeze("evaluator-2");
  await until("the first evaluator leads again", async () => ![second, ""].includes(await holder(world)), TAKE_OVER);
  const third = await holder(world);
  await verdictWhere(bus, "it judges a window", ({ body }) => body.window !== null, "new");
  world.thaw("evaluator-2");
  traffic.fail("canary", 0.5);
  await verdictWhere(bus, "a fail is published", ({ body }) => body.verdict === "fail", "new");
  assert.equal(await holder(world), third, "who wakes up finds that the lease is gone");

  // What it knows is old, yet it must be able to lead again.
  await world.kill("evaluator");
  await until("the one that was frozen leads again", async () => ![third, ""].includes(await holder(world)), TAKE_OVER);
  await verdictWhere(bus, "it still says fail", ({ body }) => body.verdict === "fail", "new");
  traffic.stop();
  await world.stop(...COLLECTORS);
  await world.assertSameAsFold();
  world.assertNothingFell();
});
