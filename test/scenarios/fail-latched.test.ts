/**
 * A failure stays latched whichever service is down: while no evaluator leads it is served and marked stale, at most a second
 * late, and the next evaluator still publishes it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LEASE_STALE_MS } from "@aviary/shared/contract/lease.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { SHORT_POLICY } from "../fleet/files.ts";
import { verdictWhere } from "../fleet/records.ts";
import { type ShimAnswer, shimClient } from "../fleet/shim-client.ts";
import { COLLECTORS, startTestFleet } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

/** The shim may take a second to detect it. Start and end of each request count, so a slow machine causes no false failure. */
function assertStaleSince(answer: ShimAnswer, sinceMs: number): void {
  if (answer.sentAtMs > sinceMs + 1_000) assert.equal(answer.body.stale, true, "stale but not marked");
  if (answer.answeredAtMs < sinceMs) assert.equal(answer.body.stale, undefined, "marked stale too early");
}

/** A shim that has just connected marks what it serves until it has caught up and read the lease. */
const isFresh = ({ body }: ShimAnswer): boolean => body.stale === undefined;

test("a failure survives a killed evaluator", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["evaluator", "shim", ...COLLECTORS] });
  if (fleet === undefined) return;
  const client = shimClient(fleet);
  t.after(() => client.close());
  const traffic = startTraffic(fleet.plan);
  t.after(() => traffic.stop());
  traffic.fail("canary", 0.5);
  await fleet.openRun("v2");
  const failed = await verdictWhere(fleet.bus, "the run fails", ({ body }) => body.verdict === "fail");
  traffic.fail("canary", 0);
  await until("the shim serves it", async () => {
    const answer = await client.get();
    return answer.body.verdict === "fail" && isFresh(answer);
  });
  await fleet.kill("evaluator");
  await until(
    "it is marked stale",
    async () => {
      const answer = await client.get();
      assert.equal(answer.status, 200);
      assert.equal(answer.body.verdict, "fail");
      assertStaleSince(answer, Date.parse(answer.body.valid_until));
      return answer.body.stale === true;
    },
    { pollMs: 50 },
  );
  await fleet.start("evaluator");
  await until("it is fresh again", async () => (await client.get()).body.stale === undefined, { pollMs: 50 });
  const { body } = await client.get();
  assert.equal(body.verdict, "fail");
  assert.equal(body.run?.state, "failed");
  const verdicts = await verdictWhere(fleet.bus, "a later verdict", ({ body }) => body.at > failed.body.at);
  assert.equal(verdicts.body.run?.latched_by, failed.body.id, "it is the same fail");
  fleet.assertNoCrashes();
});

test("a verdict that is still valid is not served once no evaluator leads", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["evaluator", "shim"], policy: { ...SHORT_POLICY, window: "5m" } });
  if (fleet === undefined) return;
  const client = shimClient(fleet);
  t.after(() => client.close());
  await fleet.openRun("v2");
  await until("the shim serves the run", async () => {
    const answer = await client.get();
    return answer.body.run !== null && isFresh(answer);
  });
  await fleet.kill("evaluator");
  const lease = await (await fleet.bus.bucket("lease")).get("evaluator");
  assert.ok(lease);
  await until(
    "it is marked stale",
    async () => {
      const answer = await client.get();
      assert.equal(answer.body.verdict, "hold");
      assertStaleSince(answer, lease.storedAtMs + LEASE_STALE_MS);
      return answer.body.stale === true;
    },
    { pollMs: 50 },
  );
  assert.equal((await client.get()).body.reasons[0]?.code, "evaluator_down");
  fleet.assertNoCrashes();
});
