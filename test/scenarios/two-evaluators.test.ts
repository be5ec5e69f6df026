/**
 * One of two evaluators performs effects: when the leader is killed or suspended the other continues, without lost or duplicate
 * windows, and a suspended leader publishes nothing when it resumes.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { verdictWhere } from "../fleet/records.ts";
import { COLLECTORS, startTestFleet, type TestFleet } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

/**
 * Waits until the leader is no longer `before`, and returns the duration. The bound of 5 s is asserted in simulated time, where
 * no machine is loaded: services/evaluator/test/service.test.ts.
 */
async function takenOver(t: TestContext, what: string, fleet: TestFleet, before: string): Promise<string> {
  const startMs = performance.now();
  let now = before;
  await until(what, async () => {
    now = await holder(fleet);
    return now !== before && now !== "";
  });
  t.diagnostic(`${what} after ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  return now;
}

async function holder(fleet: TestFleet): Promise<string> {
  const entry = await (await fleet.bus.bucket("lease")).get("evaluator");
  return entry === undefined ? "" : (JSON.parse(Buffer.from(entry.value).toString()) as { holder: string }).holder;
}

test("a standby takes over from a killed and from a suspended leader", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["evaluator", ...COLLECTORS] });
  if (fleet === undefined) return;
  const { bus } = fleet;
  const traffic = startTraffic(fleet.plan);
  t.after(() => traffic.stop());
  await fleet.openRun("v2");
  await verdictWhere(bus, "a window passes", ({ body }) => body.verdict === "pass");
  const first = await holder(fleet);
  await fleet.start("evaluator-2");
  await fleet.kill("evaluator");
  const taken = verdictWhere(bus, "the second evaluator judges a window", ({ body }) => body.window !== null, "new");
  const second = await takenOver(t, "the second evaluator leads", fleet, first);
  await taken;

  await fleet.start("evaluator");
  assert.equal(await holder(fleet), second, "the restarted evaluator stands by");
  fleet.freeze("evaluator-2");
  const third = await takenOver(t, "the first evaluator leads again", fleet, second);
  await verdictWhere(bus, "it judges a window", ({ body }) => body.window !== null, "new");
  fleet.thaw("evaluator-2");
  traffic.fail("canary", 0.5);
  await verdictWhere(bus, "a failure is published", ({ body }) => body.verdict === "fail", "new");
  assert.equal(await holder(fleet), third, "the resumed evaluator finds its lease lost");

  // Its state is outdated, but it must be able to lead again.
  await fleet.kill("evaluator");
  await takenOver(t, "the suspended evaluator leads again", fleet, third);
  await verdictWhere(bus, "it still publishes fail", ({ body }) => body.verdict === "fail", "new");
  traffic.stop();
  await fleet.stop(...COLLECTORS);
  await fleet.assertMatchesReplay();
  fleet.assertNoCrashes();
});
