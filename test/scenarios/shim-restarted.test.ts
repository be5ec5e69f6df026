/**
 * A shim that is restarted or killed under load returns 200 to every request that reaches it, and then serves the same verdicts
 * as before; one that starts without a broker responds too.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { publishedVerdicts } from "../fleet/records.ts";
import { shimClient, type TestShimClient } from "../fleet/shim-client.ts";
import { COLLECTORS, startTestFleet } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

const CLIENTS = 16;

/** Sends requests continuously until stopped. */
function startLoad(client: TestShimClient) {
  const counts = { answers: 0, connections: 0 };
  const wrong: string[] = [];
  let stopped = false;
  /** Whether a response arrived. */
  const attempt = async (): Promise<boolean> => {
    try {
      const { status, body } = await client.get();
      counts.answers += 1;
      if (status !== 200 || !["pass", "hold", "fail"].includes(body.verdict)) wrong.push(`${status} ${JSON.stringify(body)}`);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      counts.connections += 1;
      if (code !== "ECONNREFUSED" && code !== "ECONNRESET") wrong.push(String(error));
      return false;
    }
  };
  const ask = async (): Promise<void> => {
    while (!stopped) await until("a response arrives", async () => stopped || (await attempt()), { pollMs: 10 });
  };
  const clients = Array.from({ length: CLIENTS }, ask);
  return {
    counts,
    wrong,
    stop: async () => {
      stopped = true;
      await Promise.all(clients);
    },
  };
}

test("a shim restarted and killed under load serves the same verdicts afterwards", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["evaluator", "shim", ...COLLECTORS] });
  if (fleet === undefined) return;
  const client = shimClient(fleet, CLIENTS);
  t.after(() => client.close());
  const traffic = startTraffic(fleet.plan);
  t.after(() => traffic.stop());
  await fleet.openRun("v2");
  const serves = (verdict: string) => async () => (await client.get()).body.verdict === verdict;
  await until("a pass is served", serves("pass"), { pollMs: 50 });
  traffic.fail("canary", 0.5);
  await until("the failure is served", serves("fail"), { pollMs: 50 });

  const load = startLoad(client);
  t.after(() => load.stop());
  for (const how of ["stop", "kill", "stop"] as const) {
    const before = load.counts.answers;
    await fleet[how]("shim");
    await until("no response arrives", () => load.counts.connections > 0);
    await fleet.start("shim");
    await until("responses arrive again", () => load.counts.answers > before + 200);
  }
  await load.stop();
  assert.deepEqual(load.wrong, []);

  // Until a new shim has read the verdicts, it returns hold.
  await until("the failure is served again", serves("fail"), { pollMs: 50 });
  const answer = await client.get();
  const verdicts = await publishedVerdicts(fleet.bus);
  assert.ok(
    verdicts.some(({ body }) => body.id === answer.body.id),
    "every served verdict was published",
  );
  assert.equal(answer.body.run?.state, "failed", "and the failure is still latched");
  fleet.assertNoCrashes();
});

test("shim and evaluator start without a broker", async (t) => {
  const fleet = await startTestFleet(t, { parts: [] });
  if (fleet === undefined) return;
  const client = shimClient(fleet);
  t.after(() => client.close());
  await fleet.kill("nats-server");
  await fleet.start("shim");
  const { status, body } = await client.get();
  assert.deepEqual([status, body.verdict, body.reasons[0]?.code], [200, "hold", "not_ready"]);
  await fleet.stop("shim");
  await fleet.start("shim");

  const evaluator = fleet.start("evaluator");
  await fleet.start("nats-server");
  await evaluator;
  await until("the test client is connected", () => fleet.bus.status === "connected");
  await fleet.openRun("v2");
  await until("the shim serves the run", async () => (await client.get()).body.run !== null, { pollMs: 50 });
  await fleet.stop("evaluator", "shim");
  fleet.assertNoCrashes();
});
