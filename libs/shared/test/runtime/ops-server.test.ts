import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { Terminal } from "../../src/runtime/faults.ts";
import { createHttpClient } from "../../src/runtime/http-client.ts";
import { createRegistry } from "../../src/runtime/metrics.ts";
import { type OpsServer, type OpsServerOptions, startOpsServer } from "../../src/runtime/ops-server.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { nextTurn } from "../../src/testing/pass-time.ts";

const open: AsyncDisposable[] = [];
const client = createHttpClient({ loopback: true });
afterEach(async () => {
  client[Symbol.dispose]();
  for (const server of open.splice(0)) await server[Symbol.asyncDispose]();
});

async function start(options: Partial<OpsServerOptions> = {}): Promise<OpsServer> {
  const server = await startOpsServer({ registry: createRegistry(), port: 0, ...options });
  open.push(server);
  return server;
}

async function get(server: OpsServer, path: string, method: "GET" | "HEAD" | "POST" = "GET") {
  const url = `http://127.0.0.1:${server.port}${path}`;
  const answer = await client.send({ url, method, timeoutMs: 10_000, maxBytes: 100_000, accept: () => true });
  return { status: answer.status, type: answer.headers["content-type"], text: answer.body.toString() };
}

describe("the ops listener", () => {
  it("reports liveness", async () => {
    assert.deepEqual(await get(await start(), "/healthz"), {
      status: 200,
      type: "application/json; charset=utf-8",
      text: '{"status":"ok"}',
    });
  });

  it("is ready if every check passes, and lists those that do not", async () => {
    let bus: string | undefined = "reconnecting";
    const server = await start({ checks: { bus: () => bus, disk: async () => undefined } });
    const remove = server.addCheck("tokens", () => {
      throw new Error("cannot read redis://me:hunter2@host");
    });
    const failing = await get(server, "/readyz");
    assert.equal(failing.status, 503);
    assert.deepEqual(JSON.parse(failing.text), {
      ready: false,
      failing: [
        { name: "bus", reason: "reconnecting" },
        { name: "tokens", reason: "cannot read redis://[hidden]@host" },
      ],
    });
    bus = undefined;
    remove();
    assert.deepEqual(await get(server, "/readyz?x=1"), {
      status: 200,
      type: "application/json; charset=utf-8",
      text: '{"ready":true,"failing":[]}',
    });
  });

  it("does not wait for a hanging check, and runs it once for concurrent requests", async () => {
    const clock = manualClock();
    let calls = 0;
    const called = Promise.withResolvers<void>();
    const server = await start({
      clock,
      checks: {
        slow: () => {
          calls += 1;
          called.resolve();
          return new Promise(() => {});
        },
      },
    });
    const pending = [get(server, "/readyz"), get(server, "/readyz")];
    await called.promise;
    // Both requests may not have arrived yet; advance time until both are answered.
    const answers = Promise.all(pending);
    let done = false;
    void answers.then(() => {
      done = true;
    });
    while (!done) {
      clock.advance(1_000);
      await nextTurn();
    }
    for (const answer of await answers) {
      assert.equal(answer.status, 503);
      assert.deepEqual(JSON.parse(answer.text).failing, [{ name: "slow", reason: "no result within 1000 ms" }]);
    }
    assert.ok(calls <= 2);
    assert.equal(clock.timers, 0);
  });

  it("exposes the metrics", async () => {
    const registry = createRegistry();
    registry.counter("c_total", "C.").series().inc();
    const answer = await get(await start({ registry }), "/metrics");
    assert.equal(answer.type, "text/plain; version=0.0.4; charset=utf-8");
    assert.equal(answer.text, "# HELP c_total C.\n# TYPE c_total counter\nc_total 1\n");
  });

  it("returns JSON 404 for unknown paths and 405 for other methods; HEAD has no body", async () => {
    const server = await start();
    for (const path of ["/", "/constructor", "/healthz/", "//healthz"]) {
      const answer = await get(server, path);
      assert.equal(answer.status, 404);
      assert.deepEqual(JSON.parse(answer.text), { error: "not_found", known: ["/healthz", "/readyz", "/metrics"] });
    }
    assert.equal((await get(server, "/healthz", "POST")).status, 405);
    assert.deepEqual(await get(server, "/healthz", "HEAD"), { status: 200, type: "application/json; charset=utf-8", text: "" });
  });

  it("reports a port that is in use", async () => {
    const { port } = await start();
    await assert.rejects(
      start({ port }),
      (error) => error instanceof Terminal && error.code === "port_in_use" && error.message.includes(`127.0.0.1:${port}`),
    );
  });

  it("rejects a duplicate check name and more than 64 checks", async () => {
    const server = await start({ checks: { a: () => undefined } });
    assert.throws(() => server.addCheck("a", () => undefined), /already registered/);
    for (let index = 1; index < 64; index += 1) server.addCheck(`c${index}`, () => undefined);
    assert.throws(() => server.addCheck("more", () => undefined), /more than 64/);
  });

  it("stops while connections are open", async () => {
    const server = await start();
    await get(server, "/healthz");
    await server[Symbol.asyncDispose]();
    await assert.rejects(
      get(server, "/healthz"),
      (error) => error instanceof Error && "code" in error && error.code === "refused",
    );
  });
});
