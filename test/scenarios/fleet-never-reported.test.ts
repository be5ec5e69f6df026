/** The answers that controllers and operators receive for a fleet whose collectors were never started, under the default policy. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { type ShimAnswer, shimClient } from "../fleet/shim-client.ts";
import { startTestFleet } from "../fleet/test-fleet.ts";

test("a fleet that has never reported yields a current `not_reporting` hold with the gateway count", async (t) => {
  const fleet = await startTestFleet(t, { policy: {}, parts: ["evaluator", "shim"] });
  if (fleet === undefined) return;
  const client = shimClient(fleet);
  t.after(() => client.close());
  let answer: ShimAnswer | undefined;
  await until(
    "the first verdict is served",
    async () => {
      answer = await client.get();
      return answer.body.reasons[0]?.code !== "not_ready";
    },
    { pollMs: 100, describe: () => JSON.stringify(answer?.body) },
  );
  const { body } = answer!;
  assert.deepEqual(
    body.reasons.map(({ code }) => code),
    ["not_reporting", "not_reporting", "no_run"],
  );
  assert.equal(body.verdict, "hold");
  assert.equal(body.stale, undefined);
  assert.deepEqual([body.gateway.expected, body.gateway.fresh], [2, 0]);
  fleet.assertNoCrashes();
});
