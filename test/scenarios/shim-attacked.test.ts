/**
 * Requests without a token, to unknown routes, too large or too slow get a clear rejection, and other clients are not affected.
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { shimClient } from "../fleet/shim-client.ts";
import { startTestFleet, type TestFleet } from "../fleet/test-fleet.ts";

/** Sends raw bytes, and returns the response until the shim closes the connection. */
function raw(fleet: TestFleet, send: (socket: Socket) => void): { socket: Socket; closed: Promise<string> } {
  const socket = connect(fleet.plan.shimPort, fleet.plan.host);
  let text = "";
  socket.setEncoding("latin1").on("data", (part) => {
    text += String(part);
  });
  socket.on("error", () => undefined);
  const closed = new Promise<string>((resolve) => socket.once("close", () => resolve(text)));
  socket.once("connect", () => send(socket));
  return { socket, closed };
}

async function answer(fleet: TestFleet, path: string, init: RequestInit = {}) {
  const response = await fetch(`${fleet.shimUrl}${path}`, { signal: AbortSignal.timeout(10_000), redirect: "manual", ...init });
  const text = await response.text();
  return {
    status: response.status,
    type: response.headers.get("content-type") ?? "",
    body: JSON.parse(text) as Record<string, unknown>,
  };
}

test("invalid requests to the real shim are rejected clearly", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["shim"] });
  if (fleet === undefined) return;
  const client = shimClient(fleet);
  t.after(() => client.close());
  const authorization = `Bearer ${fleet.tokens.operator}`;
  const large = "x".repeat(1024 * 1024);
  const cases: [number, string, RequestInit][] = [
    [401, "/rollouts/analysis", {}],
    [401, "/rollouts/analysis", { headers: { authorization: "Bearer avy_wrong" } }],
    [401, "/rollouts/analysis", { headers: { authorization: "Basic not-base64" } }],
    [401, "/rollouts/analysis", { method: "POST", body: large }],
    [404, "/rollouts/analysis/", { headers: { authorization } }],
    [404, "/no/such/path", { headers: { authorization } }],
    [404, "/../etc/passwd", { headers: { authorization } }],
    [404, `/${"a/".repeat(2_000)}`, { headers: { authorization } }],
    [405, "/rollouts/analysis", { headers: { authorization }, method: "DELETE" }],
    [413, "/rollouts/analysis", { headers: { authorization }, method: "POST", body: large }],
  ];
  for (const [status, path, init] of cases) {
    const got = await answer(fleet, path, init);
    const what = `${init.method ?? "GET"} ${path.slice(0, 60)}`;
    assert.equal(got.status, status, what);
    assert.match(got.type, /^application\/json/, what);
    assert.equal(typeof got.body.error, "string", what);
  }
  const endless = raw(fleet, (socket) => {
    socket.write(
      `POST /rollouts/analysis HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    const more = (): void =>
      void (socket.writable && socket.write(`10000\r\n${"x".repeat(0x10000)}\r\n`, () => setImmediate(more)));
    more();
  });
  assert.match(await endless.closed, /^HTTP\/1\.1 413 /, "an endless body is cut off");
  const noise = raw(fleet, (socket) => socket.write("\x16\x03\x01\x02\x00nonsense\r\n\r\n"));
  assert.match(await noise.closed, /^HTTP\/1\.1 400 /);
  const headers = raw(fleet, (socket) => socket.write(`GET / HTTP/1.1\r\nx: ${"y".repeat(100_000)}\r\n\r\n`));
  assert.match(await headers.closed, /^HTTP\/1\.1 431 /);
  assert.equal((await client.get()).status, 200);
  fleet.assertNoCrashes();
});

test("fifty slow clients do not affect others", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["shim"] });
  if (fleet === undefined) return;
  const client = shimClient(fleet);
  t.after(() => client.close());
  const bodyStart = `POST /rollouts/analysis HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${fleet.tokens.operator}\r\ncontent-length: 1000\r\n\r\n`;
  const slow = Array.from({ length: 50 }, (_, index) =>
    raw(fleet, (socket) => socket.write(index % 2 === 0 ? "GET /rollouts/analysis HTTP/1.1\r\nx: " : bodyStart)),
  );
  const drip = setInterval(() => {
    for (const { socket } of slow) if (socket.writable) socket.write("y");
  }, 200);
  t.after(() => {
    clearInterval(drip);
    for (const { socket } of slow) socket.destroy();
  });
  let ended = 0;
  for (const { closed } of slow) void closed.then(() => ended++);
  await until("all fifty are connected", async () => ((await fleet.metric("shim", "aviary_shim_connections")) ?? 0) >= 50, {
    pollMs: 50,
  });
  await until(
    "all fifty were disconnected",
    async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => client.get()));
      assert.ok(answers.every(({ status, body }) => status === 200 && body.verdict === "hold"));
      return ended === slow.length;
    },
    { pollMs: 100, deadlineMs: 60_000 },
  );
  fleet.assertNoCrashes();
});
