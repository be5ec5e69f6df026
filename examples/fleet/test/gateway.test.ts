/** The stand-in gateway says what a real one says, byte for byte where the collector reads it. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { changeGateway } from "../src/control.ts";
import { startGatewayOf, WORK_PATH } from "../src/gateway.ts";
import type { FleetPlan } from "../src/layout.ts";
import { testPlan, until } from "./plan.ts";

describe("gateway", () => {
  let plan: FleetPlan & Disposable;
  let gateway: Awaited<ReturnType<typeof startGatewayOf>>;
  const name = "mac-a1";
  const ask = async (path: string, method = "GET"): Promise<{ status: number; body: string; headers: Headers }> => {
    const answer = await fetch(`http://127.0.0.1:${gateway.port}${path}`, { method, signal: AbortSignal.timeout(10_000) });
    return { status: answer.status, body: await answer.text(), headers: answer.headers };
  };
  const started = (): Promise<void> => until("the gateway has started", async () => (await ask("/startupz")).status === 200);

  before(async () => {
    plan = await testPlan();
    gateway = await startGatewayOf(plan, name);
  });
  after(async () => {
    await gateway.stop();
    plan[Symbol.dispose]();
  });

  it("says that it is starting, on every probe in its own way", async () => {
    // A new version restarts the runtime, so this holds however long the tests before took.
    changeGateway(plan, name, { version: "2026.9.5" });
    await until("a restart", async () => (await ask("/startupz")).status === 503);
    const ready = await ask("/readyz");
    if (ready.status === 503) assert.match(ready.body, /^\{"ready":false,"failing":\["startup-sidecars"\],"uptimeMs":\d+\}$/);
    assert.equal((await ask("/healthz")).body, '{"ok":true,"status":"live"}');
    await started();
  });

  it("answers its probes as openclaw 2026.9.6 does", async () => {
    await started();
    for (const path of ["/health", "/healthz"]) {
      const health = await ask(path);
      assert.deepEqual([health.status, health.body], [200, '{"ok":true,"status":"live"}']);
      assert.equal(health.headers.get("cache-control"), "no-store");
    }
    assert.match((await ask("/startupz")).body, /^\{"ok":true,"status":"started","version":"2026\.9\.5","uptimeMs":\d+\}$/);
    assert.match((await ask("/readyz")).body, /^\{"ready":true,"failing":\[\],"uptimeMs":\d+\}$/);
    const posted = await ask("/readyz", "POST");
    assert.deepEqual([posted.status, posted.body, posted.headers.get("allow")], [405, "Method Not Allowed", "GET, HEAD"]);
    assert.deepEqual((await ask("/healthz/")).status, 404);
    assert.equal((await ask("/readyz", "HEAD")).body, "");
  });

  it("answers unknown paths with a page and 200, which a status-only probe would take for health", async () => {
    await started();
    const page = await ask("/metrics");
    assert.equal(page.status, 200);
    assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
    assert.equal((await ask("/api/none")).status, 404);
  });

  it("drains: live, not ready, and 503 for everybody else", async () => {
    await started();
    changeGateway(plan, name, { state: "draining" });
    await until("draining", async () => (await ask("/readyz")).status === 503);
    assert.match((await ask("/startupz")).body, /^\{"ok":false,"status":"draining","version":"2026\.9\.5","uptimeMs":\d+\}$/);
    assert.match((await ask("/readyz")).body, /"failing":\["gateway-draining"\]/);
    assert.equal((await ask("/healthz")).status, 200);
    const work = await ask(WORK_PATH, "POST");
    assert.equal(work.status, 503);
    assert.match(work.body, /"code":"gateway_unavailable"/);
    changeGateway(plan, name, { state: "suppressed" });
    await until("ready with a suppressed channel", async () => (await ask("/readyz")).body.includes('"suppressed":["telegram"]'));
    changeGateway(plan, name, { state: "channel" });
    await until("a failing channel", async () => (await ask("/readyz")).body.includes('"failing":["telegram"]'));
    changeGateway(plan, name, { state: "up" });
    await until("up again", async () => (await ask("/readyz")).status === 200);
  });

  it("works, and fails as often as it is told", async () => {
    await started();
    assert.equal((await ask(WORK_PATH, "POST")).status, 200);
    changeGateway(plan, name, { errorRatio: 1 });
    await until("500s", async () => (await ask(WORK_PATH, "POST")).status === 500);
    changeGateway(plan, name, { errorRatio: 0 });
    await until("200s", async () => (await ask(WORK_PATH, "POST")).status === 200);
  });
});
