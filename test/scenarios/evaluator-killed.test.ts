/**
 * An evaluator killed at any time within a window and restarted publishes the verdicts that the log yields: no duplicates, none
 * missing.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { verdictWhere } from "../fleet/records.ts";
import { COLLECTORS, startTestFleet } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

test("an evaluator that is killed within a window or just after a verdict loses and duplicates nothing", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["evaluator", ...COLLECTORS] });
  if (fleet === undefined) return;
  const { bus } = fleet;
  const traffic = startTraffic(fleet.plan);
  t.after(() => traffic.stop());
  await fleet.openRun("v2");
  await verdictWhere(bus, "a window passes", ({ body }) => body.verdict === "pass");
  await fleet.kill("evaluator");
  await fleet.start("evaluator");
  for (const errorRatio of [0, 0.5]) {
    // A crash between this verdict and the next checkpoint could lose or duplicate the most.
    await verdictWhere(bus, "a window is judged", ({ body }) => body.window !== null, "new");
    await fleet.kill("evaluator");
    traffic.fail("canary", errorRatio);
    await fleet.start("evaluator");
  }
  await verdictWhere(bus, "the failure is published", ({ body }) => body.verdict === "fail");
  await fleet.kill("evaluator");
  await fleet.start("evaluator");
  await verdictWhere(bus, "the failure is published again", ({ body }) => body.verdict === "fail", "new");
  traffic.stop();
  await fleet.stop(...COLLECTORS);
  const verdicts = await fleet.assertMatchesReplay();
  assert.equal(verdicts.at(-1)?.body.verdict, "fail", "a failure is latched");
  fleet.assertNoCrashes();
});
