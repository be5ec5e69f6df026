/** The access-log probe on the logs of real proxies, with a gateway that produces every kind of answer. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { readFile, rename, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { locateTestServer, requireServer, startCaddy, startNginx } from "@aviary/shared/testing/servers.ts";
import { atEnd, temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { accessLog } from "../../src/probes/access-log.ts";
import { openProbe, probeContext } from "../probe-context.ts";
import { listen } from "../serve-http.ts";

/** The format that docs/configuration.md recommends. */
const NGINX_FORMAT =
  '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time $sent_http_content_length "$sent_http_content_type" "$request_completion"';

/** Requests that the gateway has received and leaves unanswered. */
const arrivals = new EventEmitter();

const ANSWERS: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>> = {
  "/ok": (_, response) => void response.writeHead(200, { "content-type": "application/json" }).end("{}"),
  "/missing": (_, response) => void response.writeHead(404).end(),
  "/fail": (_, response) => void response.writeHead(503).end("no"),
  "/events": (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: 1\n\n");
    setTimeout(() => response.end(), 300);
  },
  "/dies": (_, response) => {
    response.writeHead(200, { "content-length": "1000" });
    response.write("half");
    setTimeout(() => response.destroy(), 50);
  },
  "/length": (_, response) => void response.writeHead(200, { "content-length": "2" }).end("{}"),
  // Sends nothing until the client gives up.
  "/silent": () => void arrivals.emit("silent"),
};

async function startGateway(test: TestContext): Promise<number> {
  const server: Server = createServer((request, response) =>
    (ANSWERS[request.url ?? ""] ?? ANSWERS["/missing"])?.(request, response),
  );
  server.on("upgrade", (incoming, socket) => {
    const key = createHash("sha1").update(`${incoming.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key.digest("base64")}\r\n\r\n`,
    );
    setTimeout(() => socket.end(), 400);
  });
  return await listen(test, server);
}

/** Sends one request on a new connection, and reads as much of the answer as arrives. */
async function send(url: string, options: { agent?: string; method?: string; giveUp?: Promise<unknown> } = {}): Promise<void> {
  const { agent = "app/1", method = "GET", giveUp } = options;
  const sent = request(url, { method, agent: false, headers: { "user-agent": agent } });
  const closed = new Promise((resolve) => sent.once("close", resolve));
  sent.once("error", () => {});
  sent.once("response", (response) => response.once("error", () => {}).resume());
  void giveUp?.then(() => sent.destroy());
  sent.end();
  await closed;
}

/** Opens a WebSocket, and waits until the gateway has closed it. */
async function openWebSocket(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  socket.write(
    `GET /ws HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUser-Agent: app/1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  );
  const [data] = (await once(socket, "data")) as [Buffer];
  assert.match(data.toString(), /^HTTP\/1.1 101 /);
  socket.resume();
  await once(socket, "end");
  socket.destroy();
}

/** Every kind of request: ten in `requests`, of which two failed and one was cut off. Fourteen lines. */
async function sendEverything(url: string): Promise<void> {
  for (let count = 0; count < 4; count += 1) await send(`${url}/ok`);
  await send(`${url}/length`);
  await send(`${url}/length`, { method: "HEAD" });
  await send(`${url}/missing`);
  await send(`${url}/fail`);
  await send(`${url}/fail`);
  await send(`${url}/dies`);
  await send(`${url}/events`);
  await openWebSocket(url);
  await send(`${url}/ok`, { agent: "kube-probe/1.31" });
  await send(`${url}/silent`, { giveUp: once(arrivals, "silent") });
}

const LINES = 14;
const EXPECTED = { requests: 10, errors_5xx: 3, errors_4xx: 1, aborted: 1, probes: 1, streams: 2, unread: 0 };

/** @param elapsedMs how long all requests took together; a latency in a wrong unit is longer */
function assertCounted({ latency, source: _, ...counts }: SignalBody<"http">, elapsedMs: number): void {
  assert.deepEqual(counts, EXPECTED);
  const timed = histogram.fromWire(latency);
  assert.equal(histogram.count(timed), EXPECTED.requests);
  const longestMs = histogram.quantile(timed, 1) ?? 0;
  assert.ok(longestMs > 0 && longestMs < elapsedMs, `${longestMs} ms of ${elapsedMs} ms`);
}

async function untilLogged(path: string, lines: number): Promise<void> {
  const logged = async (): Promise<number> => (await readFile(path, "utf8").catch(() => "")).split("\n").length - 1;
  await until(`the proxy has logged ${lines} lines`, async () => (await logged()) >= lines);
}

/** Opens the probe as if it had started earlier: nginx writes whole seconds, and those before the start are left out. */
function openAccessLog(test: TestContext, settings: object) {
  const context = probeContext(test);
  const clock = { ...context.clock, now: () => context.clock.now() - 10_000 };
  const probe = openProbe(test, accessLog, settings, { ...context, clock });
  // A period that ends later contains every request so far, also one of this millisecond.
  return { read: () => probe.read(context.clock.now() + 1_000) };
}

/** Reads the log of the proxy at `url` with the probe, and checks the counts. */
async function checkEverything(test: TestContext, url: string, path: string, settings: object): Promise<void> {
  const probe = openAccessLog(test, { path, ...settings });
  await probe.read();
  const startedMs = performance.now();
  await sendEverything(url);
  await untilLogged(path, LINES);
  assertCounted((await probe.read()).bodies[0] as SignalBody<"http">, performance.now() - startedMs);
}

/** Starts Caddy in front of a gateway, with `block` in the block of its access log, which is empty; undefined without caddy. */
async function startLoggingCaddy(test: TestContext, block: string): Promise<{ url: string; path: string } | undefined> {
  if (!requireServer(test, "caddy")) return undefined;
  const path = join(await temporaryDirectory(test), "access.log");
  await writeFile(path, "");
  const target = await startGateway(test);
  const caddy = await startCaddy({
    binary: locateTestServer("caddy") as string,
    caddyfile: (port) =>
      `http://127.0.0.1:${port} {\n  log {\n    output file ${path}\n    ${block}\n  }\n  reverse_proxy 127.0.0.1:${target}\n}`,
  });
  atEnd(test, () => caddy.stop());
  return { url: caddy.url, path };
}

describe("Caddy", () => {
  for (const [encoder, settings] of [
    ["", {}],
    ["format json {\n duration_format seconds\n time_format iso8601\n }", {}],
    ["format json {\n duration_format string\n time_format rfc3339_nano\n }", {}],
    ["format json {\n duration_format nano\n time_format unix_nano\n }", { durationUnit: "ns" }],
  ] as const)
    it(`has every kind of request in its log with ${encoder === "" ? "the default encoder" : encoder.split("\n")[1]?.trim()}`, async (test) => {
      const caddy = await startLoggingCaddy(test, encoder);
      if (caddy === undefined) return;
      await checkEverything(test, caddy.url, caddy.path, { format: "caddy", ...settings });
    });

  for (const [what, block, agent, message] of [
    [
      "whose encoder uses another unit than the configuration is rejected",
      "format json {\n duration_format nano\n }",
      "app/1",
      /durationUnit/,
    ],
    [
      "whose log filter deletes the User-Agent is rejected, because health checks would be counted as users",
      "format filter {\n wrap json\n fields {\n request>headers>User-Agent delete\n }\n }",
      "aviary-synthetic/1",
      /User-Agent/,
    ],
  ] as const)
    it(what, async (test) => {
      const caddy = await startLoggingCaddy(test, block);
      if (caddy === undefined) return;
      const probe = openAccessLog(test, { path: caddy.path, format: "caddy" });
      await probe.read();
      await send(`${caddy.url}/ok`, { agent });
      await untilLogged(caddy.path, 1);
      await assert.rejects(probe.read(), { code: "wrong_format", message });
    });
});

describe("nginx", () => {
  const start = async (test: TestContext, path: string, format: string, escaping = "") => {
    const target = await startGateway(test);
    const nginx = await startNginx({
      binary: locateTestServer("nginx") as string,
      http: (port) => `log_format measured ${escaping}'${format}';
server {
  listen 127.0.0.1:${port};
  access_log ${path} measured;
  location / {
    proxy_pass http://127.0.0.1:${target};
    proxy_buffering off;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $http_connection;
  }
  location /drop { return 444; }
}`,
    });
    atEnd(test, () => nginx.stop());
    return nginx;
  };

  for (const [what, format, escaping] of [
    ["the recommended format", NGINX_FORMAT, ""],
    [
      "JSON",
      '{"t":"$time_iso8601","method":"$request_method","uri":"$request_uri","s":$status,"d":$request_time,"u":"$upstream_response_time","ua":"$http_user_agent","n":$body_bytes_sent,"l":"$sent_http_content_length","ct":"$sent_http_content_type","up":"$sent_http_upgrade","end":"$request_completion"}',
      "escape=json ",
    ],
  ] as const)
    it(`has every kind of request in its log with ${what}`, async (test) => {
      if (!requireServer(test, "nginx")) return;
      const path = join(await temporaryDirectory(test), "access.log");
      const { url } = await start(test, path, format, escaping);
      await untilLogged(path, 0);
      await checkEverything(test, url, path, { format: "nginx", logFormat: format });
    });

  it("writes unusual lines for unusual requests, and each is counted in a class", async (test) => {
    if (!requireServer(test, "nginx")) return;
    const path = join(await temporaryDirectory(test), "access.log");
    const { url, port } = await start(test, path, NGINX_FORMAT);
    const probe = openAccessLog(test, { path, format: "nginx", logFormat: NGINX_FORMAT });
    await probe.read();
    const raw = async (bytes: string): Promise<void> => {
      const socket = connect(port, "127.0.0.1");
      await once(socket, "connect");
      socket.write(bytes, "latin1");
      socket.resume();
      await once(socket, "close");
    };
    await raw("\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\r\n\r\n");
    await raw("GET / HTTP/1.1\r\nno colon\r\n\r\n");
    await raw(
      'GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: a "b" \\c\td\r\nAuthorization: Basic YSBbYl0gIg==\r\n\r\n',
    );
    await send(`${url}/drop`);
    await untilLogged(path, 4);
    const body = (await probe.read()).bodies[0] as SignalBody<"http">;
    const { requests = 0, errors_4xx, aborted, unread } = body;
    assert.deepEqual({ requests, errors_4xx, aborted, unread }, { requests: 3, errors_4xx: 2, aborted: 1, unread: 0 });
  });

  it("that reopens its log after a rotation loses no line", async (test) => {
    if (!requireServer(test, "nginx")) return;
    const path = join(await temporaryDirectory(test), "access.log");
    const nginx = await start(test, path, NGINX_FORMAT);
    const probe = openAccessLog(test, { path, format: "nginx", logFormat: NGINX_FORMAT });
    await probe.read();
    let counted = 0;
    const read = async (): Promise<void> => {
      counted += ((await probe.read()).bodies[0] as SignalBody<"http">).requests;
    };
    for (let rotation = 0; rotation < 3; rotation += 1) {
      await send(`${nginx.url}/ok`);
      await rename(path, `${path}.${rotation}`);
      await read();
      await send(`${nginx.url}/ok`);
      process.kill(nginx.pid, "SIGUSR1");
      await until("nginx has reopened its log", async () => (await readFile(path).catch(() => undefined)) !== undefined);
      await send(`${nginx.url}/ok`);
      await until("nginx has logged the request", async () => (await readFile(path, "utf8")) !== "");
      await read();
    }
    await read();
    assert.equal(counted, 9);
  });
});
