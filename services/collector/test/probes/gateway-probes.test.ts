/** The gateway probe against an HTTP server that replays recorded responses, hangs, starts, drains and stops. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { describe, it, type TestContext } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { freePort } from "@aviary/shared/testing/servers.ts";
import type { ProbeOutcome } from "../../src/probe.ts";
import { gatewayProbes } from "../../src/probes/gateway-probes.ts";
import { openProbe, probeContext } from "../probe-context.ts";
import { listen } from "../serve-http.ts";

const fixture = (name: string): string => readFileSync(new URL(`../fixtures/openclaw/http/${name}`, import.meta.url), "utf8");

type Respond = (path: string, response: ServerResponse) => void;
const sendJson = (response: ServerResponse, status: number, body: string): void => {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" }).end(body);
};
const asRecorded =
  (readyz: string, readyStatus = 200, startupz = fixture("startupz.json"), startStatus = 200): Respond =>
  (path, response) => {
    if (path === "/healthz") sendJson(response, 200, fixture("healthz.json"));
    else if (path === "/startupz") sendJson(response, startStatus, startupz);
    else if (path === "/readyz") sendJson(response, readyStatus, readyz);
    else response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<!doctype html><title>Control</title>");
  };

async function startGateway(
  test: TestContext,
  respond: Respond,
): Promise<{ server: Server; url: string; requests: string[]; become(next: Respond): void }> {
  let now = respond;
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.url} ${Object.keys(request.headers).sort().join()} ${request.headers["user-agent"]}`);
    now(request.url ?? "", response);
  });
  const port = await listen(test, server);
  const become = (next: Respond): void => {
    now = next;
  };
  return { server, url: `http://127.0.0.1:${port}`, requests, become };
}

const health = (outcome: ProbeOutcome): SignalBody<"health"> => outcome.bodies[0] as SignalBody<"health">;
const QUICK = { answerTimeout: "150ms", period: "100ms" };

describe("the gateway probe", () => {
  it("reports a healthy gateway, and sends no proxy headers", async (test) => {
    const gateway = await startGateway(test, asRecorded(fixture("readyz.json")));
    const outcome = await openProbe(test, gatewayProbes, { url: gateway.url }).read();
    assert.deepEqual(health(outcome), {
      state: "up",
      failing: [],
      suppressed: [],
      uptime_ms: 87_717,
      warm: true,
      worker_reachable: true,
    });
    assert.deepEqual(outcome.learned, { gatewayVersion: "2026.9.6", uptimeMs: 87_717 });
    assert.equal(gateway.requests.length, 3);
    assert.ok(
      gateway.requests.every((request) => !/forwarded|authorization/.test(request)),
      gateway.requests.join("; "),
    );
  });

  it("distinguishes starting, draining, a failing channel and a suppressed channel", async (test) => {
    const starting = '{"ok":false,"status":"starting","version":"2026.9.7","uptimeMs":420,"pendingReason":"startup-sidecars"}';
    const draining = '{"ok":false,"status":"draining","version":"2026.9.6","uptimeMs":2725307}';
    const gateway = await startGateway(
      test,
      asRecorded('{"ready":false,"failing":["startup-sidecars"],"uptimeMs":423}', 503, starting, 503),
    );
    const probe = openProbe(test, gatewayProbes, { url: gateway.url });
    const first = await probe.read();
    assert.deepEqual([health(first).state, health(first).warm, first.learned.gatewayVersion], ["starting", false, "2026.9.7"]);
    gateway.become(asRecorded('{"ready":false,"failing":["gateway-draining"],"uptimeMs":2725320}', 503, draining, 503));
    assert.equal(health(await probe.read()).state, "draining");
    gateway.become(asRecorded(fixture("readyz-channel-failing.json"), 503));
    assert.deepEqual([health(await probe.read()).state, health(await probe.read()).failing], ["not_ready", ["telegram"]]);
    gateway.become(asRecorded(fixture("readyz-autostart-suppressed.json")));
    assert.deepEqual([health(await probe.read()).state, health(await probe.read()).suppressed], ["up", ["telegram"]]);
  });

  it("reports refused for a closed port after three attempts", async (test) => {
    const probe = openProbe(test, gatewayProbes, { url: `http://127.0.0.1:${await freePort()}`, ...QUICK });
    const outcome = await probe.read();
    assert.deepEqual([health(outcome).state, health(outcome).worker_reachable], ["refused", false]);
    assert.equal(outcome.learned.gatewayVersion, null, "the version was not observed");
    await assert.rejects(probe.read(), { code: "backing_off" });
  });

  it("reports timeout for a gateway that accepts but never responds", async (test) => {
    const gateway = await startGateway(test, () => {});
    const probe = openProbe(test, gatewayProbes, { url: gateway.url, ...QUICK });
    assert.equal(health(await probe.read()).state, "timeout");
    assert.equal(gateway.requests.length, 9, "three attempts on three paths");
  });

  it("reports up for a gateway that resets once and then responds", async (test) => {
    const gateway = await startGateway(test, asRecorded(fixture("readyz.json")));
    let hangUps = 3;
    gateway.become((path, response) => {
      if (hangUps-- > 0) response.destroy();
      else asRecorded(fixture("readyz.json"))(path, response);
    });
    assert.equal(health(await openProbe(test, gatewayProbes, { url: gateway.url }).read()).state, "up");
  });

  it("reports not_ready for a control page that returns 200 on every path", async (test) => {
    const gateway = await startGateway(test, (_path, response) => asRecorded("")("/unknown", response));
    const { state, failing } = health(await openProbe(test, gatewayProbes, { url: gateway.url }).read());
    assert.deepEqual([state, failing], ["not_ready", ["healthz: status 200 without JSON", "readyz: status 200 without JSON"]]);
  });

  it("rejects an endless or oversized response", async (test) => {
    const gateway = await startGateway(test, (path, response) => {
      if (path === "/readyz") sendJson(response, 200, `{"ready":true,"pad":"${"x".repeat(100_000)}"}`);
      else asRecorded("")(path, response);
    });
    assert.deepEqual(health(await openProbe(test, gatewayProbes, { url: gateway.url }).read()).failing, ["readyz: too_large"]);
  });

  it("checks the worker URL independently", async (test) => {
    const gateway = await startGateway(test, asRecorded(fixture("readyz.json")));
    const vip = await startGateway(test, (_path, response) => void response.writeHead(502).end());
    const probe = openProbe(test, gatewayProbes, { url: gateway.url, workerUrl: `${vip.url}/healthz` });
    assert.deepEqual([health(await probe.read()).state, health(await probe.read()).worker_reachable], ["up", false]);
    vip.become(asRecorded(""));
    assert.equal(health(await probe.read()).worker_reachable, true);
    assert.ok(
      vip.requests.every((request) => request.endsWith(" aviary-synthetic/1")),
      "the load balancer logs these requests, and their User-Agent excludes them from user traffic",
    );
  });

  it("detects a recovery on the first attempt after a backoff", async (test) => {
    const gateway = await startGateway(test, () => {});
    let nowMs = 0;
    const context = probeContext(test);
    const clock = { ...context.clock, monotonicMs: () => nowMs };
    const probe = openProbe(
      test,
      gatewayProbes,
      { url: gateway.url, answerTimeout: "100ms", period: "5s" },
      { ...context, clock },
    );
    assert.equal(health(await probe.read()).state, "timeout");
    await assert.rejects(probe.read(), { code: "backing_off" });
    gateway.become(asRecorded(fixture("readyz.json")));
    nowMs += 5_000;
    assert.equal(health(await probe.read()).state, "up");
  });

  it("reports refused for a gateway that stops between requests", async (test) => {
    const gateway = await startGateway(test, asRecorded(fixture("readyz.json")));
    const probe = openProbe(test, gatewayProbes, { url: gateway.url, ...QUICK });
    assert.equal(health(await probe.read()).state, "up");
    gateway.server.closeAllConnections();
    await new Promise((resolve) => gateway.server.close(resolve));
    assert.equal(health(await probe.read()).state, "refused");
  });
});
