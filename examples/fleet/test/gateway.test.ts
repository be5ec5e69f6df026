/** The simulated gateway responds like a real one, byte for byte where the collector reads it. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { changeGateway } from "../src/desired-state.ts";
import { startGatewayOf, WORK_PATH } from "../src/gateway.ts";
import type { FleetPlan } from "../src/layout.ts";
import { testPlan } from "./plan.ts";

describe("the simulated gateway", () => {
  let plan: FleetPlan & Disposable;
  let gateway: Awaited<ReturnType<typeof startGatewayOf>>;
  const name = "mac-a1";
  const call = async (path: string, method = "GET"): Promise<{ status: number; body: string; headers: Headers }> => {
    const response = await fetch(`http://127.0.0.1:${gateway.port}${path}`, { method, signal: AbortSignal.timeout(10_000) });
    return { status: response.status, body: await response.text(), headers: response.headers };
  };
  const started = (): Promise<void> => until("the gateway has started", async () => (await call("/startupz")).status === 200);

  before(async () => {
    plan = await testPlan();
    gateway = await startGatewayOf(plan, name);
  });
  after(async () => {
    await gateway.stop();
    plan[Symbol.dispose]();
  });

  it("a starting gateway is live but neither started nor ready", async () => {
    // A new version restarts the runtime, so the result does not depend on how long earlier tests took.
    changeGateway(plan, name, { version: "2026.9.5" });
    await until("the gateway restarts", async () => (await call("/startupz")).status === 503);
    const ready = await call("/readyz");
    if (ready.status === 503) assert.match(ready.body, /^\{"ready":false,"failing":\["startup-sidecars"\],"uptimeMs":\d+\}$/);
    assert.equal((await call("/healthz")).body, '{"ok":true,"status":"live"}');
    await started();
  });

  it("probe responses match openclaw 2026.9.6", async () => {
    await started();
    for (const path of ["/health", "/healthz"]) {
      const health = await call(path);
      assert.deepEqual([health.status, health.body], [200, '{"ok":true,"status":"live"}']);
      assert.equal(health.headers.get("cache-control"), "no-store");
    }
    assert.match((await call("/startupz")).body, /^\{"ok":true,"status":"started","version":"2026\.9\.5","uptimeMs":\d+\}$/);
    assert.match((await call("/readyz")).body, /^\{"ready":true,"failing":\[\],"uptimeMs":\d+\}$/);
    const posted = await call("/readyz", "POST");
    assert.deepEqual([posted.status, posted.body, posted.headers.get("allow")], [405, "Method Not Allowed", "GET, HEAD"]);
    assert.deepEqual((await call("/healthz/")).status, 404);
    assert.equal((await call("/readyz", "HEAD")).body, "");
  });

  it("an unknown path returns an HTML page with 200, which a status-only probe would accept", async () => {
    await started();
    const page = await call("/metrics");
    assert.equal(page.status, 200);
    assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
    assert.equal((await call("/api/none")).status, 404);
  });

  it("a draining gateway is live, not ready, and returns 503 to users", async () => {
    await started();
    changeGateway(plan, name, { state: "draining" });
    await until("the gateway drains", async () => (await call("/readyz")).status === 503);
    assert.match((await call("/startupz")).body, /^\{"ok":false,"status":"draining","version":"2026\.9\.5","uptimeMs":\d+\}$/);
    assert.match((await call("/readyz")).body, /"failing":\["gateway-draining"\]/);
    assert.equal((await call("/healthz")).status, 200);
    const work = await call(WORK_PATH, "POST");
    assert.equal(work.status, 503);
    assert.match(work.body, /"code":"gateway_unavailable"/);
    changeGateway(plan, name, { state: "suppressed" });
    await until("a channel is suppressed", async () => (await call("/readyz")).body.includes('"suppressed":["telegram"]'));
    changeGateway(plan, name, { state: "channel" });
    await until("a channel fails", async () => (await call("/readyz")).body.includes('"failing":["telegram"]'));
    changeGateway(plan, name, { state: "up" });
    await until("the gateway is ready", async () => (await call("/readyz")).status === 200);
  });

  it("work requests fail at the configured error ratio", async () => {
    await started();
    assert.equal((await call(WORK_PATH, "POST")).status, 200);
    changeGateway(plan, name, { errorRatio: 1 });
    await until("work requests fail", async () => (await call(WORK_PATH, "POST")).status === 500);
    changeGateway(plan, name, { errorRatio: 0 });
    await until("work requests succeed", async () => (await call(WORK_PATH, "POST")).status === 200);
  });
});
