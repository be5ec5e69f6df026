import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LoggedRequest } from "../../src/core/access-line.ts";
import { caddyReader } from "../../src/core/caddy-line.ts";
import type { DurationUnit } from "../../src/core/log-time.ts";
import { classOf, isServerError } from "../../src/core/request-class.ts";

const AT = Date.UTC(2026, 10, 21, 5, 28, 50);
const RULES = { healthCheckers: [], longLivedPaths: [] };

const line = (change: object = {}, request: object = {}): string =>
  JSON.stringify({
    level: "info",
    ts: AT / 1_000 + 0.25,
    logger: "http.log.access.log0",
    msg: "handled request",
    request: {
      proto: "HTTP/2.0",
      method: "GET",
      host: "canary.example",
      uri: "/v1/models",
      headers: { "User-Agent": ["curl/8"] },
      ...request,
    },
    bytes_read: 0,
    duration: 0.0125,
    size: 2,
    status: 200,
    resp_headers: { "Content-Type": ["application/json"] },
    ...change,
  });

function read(text: string, unit: DurationUnit = "s"): LoggedRequest {
  const result = caddyReader(unit)(text);
  assert.equal(result.kind, "request", `${JSON.stringify(result)} ${text}`);
  return (result as { request: LoggedRequest }).request;
}

function whyUnread(text: string, unit: DurationUnit = "s"): string {
  const result = caddyReader(unit)(text);
  assert.equal(result.kind, "unread", text);
  return (result as { why: string }).why;
}

describe("a Caddy line", () => {
  it("has its duration in seconds, and headers as lists", () => {
    assert.deepEqual(read(line()), {
      finishedAtMs: AT + 250,
      status: 200,
      durationMs: 12.5,
      userAgent: "curl/8",
      host: "canary.example",
      method: "GET",
      path: "/v1/models",
      contentType: "application/json",
      hasUpgrade: false,
      end: "complete",
    });
  });

  it("may have its time in any time_format with a zone", () => {
    for (const ts of ["2026-11-21T05:28:50.250Z", "2026-11-21T06:28:50.250+0100", AT + 250, (AT + 250) * 1_000_000])
      assert.equal(Math.round(read(line({ ts })).finishedAtMs), AT + 250, String(ts));
    assert.equal(read(line({ ts: "21/Nov/2026:06:28:50 +0100" })).finishedAtMs, AT);
    assert.match(whyUnread(line({ ts: "2026/11/21 05:28:50" })), /no time zone/);
  });

  it("may have its duration in any duration_format", () => {
    assert.equal(read(line({ duration: 41 }), "ms").durationMs, 41);
    assert.equal(Math.round(read(line({ duration: 41_250_000 }), "ns").durationMs ?? 0), 41);
    assert.equal(read(line({ duration: "41.25ms" })).durationMs, 41.25);
  });

  it("is not read in a unit that its number contradicts", () => {
    for (const [duration, unit] of [
      [41, "s"],
      [41_250_000, "s"],
      [0.041250137, "ms"],
      [1.2e-7, "ms"],
      [0.04125, "ns"],
      [41, "ns"],
    ] as const)
      assert.match(whyUnread(line({ duration }), unit), /durationUnit/, `${duration} ${unit}`);
    assert.match(whyUnread(line({ duration: "soon" })), /not a duration/);
  });

  it("is unread if a log filter deleted a required field", () => {
    for (const [change, why] of [
      [{ ts: undefined }, /ts is missing/],
      [{ status: undefined }, /status is missing/],
      [{ duration: undefined }, /duration is missing/],
      [{ request: undefined }, /request is missing/],
      [{ logger: undefined, msg: undefined }, /default keys/],
    ] as const)
      assert.match(whyUnread(line(change)), why);
    assert.equal(read(line({}, { headers: undefined })).userAgent, undefined);
    assert.equal(read(line({}, { headers: { Accept: ["*/*"] } })).userAgent, undefined);
  });

  it("of another logger is left out, even if it has the fields of a request", () => {
    for (const change of [
      { logger: "http.log.error.log0", msg: "dial tcp: connection refused", status: 502 },
      { logger: "http.handlers.reverse_proxy", msg: "upstream roundtrip" },
      { logger: "tls", msg: "cleaning storage unit", request: undefined, status: undefined },
      { logger: undefined, msg: "autosaved config", request: undefined, status: undefined },
    ])
      assert.equal(caddyReader("s")(line(change)).kind, "other", JSON.stringify(change));
  });

  it("of another format is unread", () => {
    for (const text of ["", "x", "[]", "null", "7", '{"a":1', '10.0.0.7 - - [21/Nov/2026:06:28:50 +0100] "GET /"'])
      assert.match(whyUnread(text), /not a JSON object/);
    assert.match(whyUnread('{"ts":1,"status":200,"duration_ms":3}'), /neither a logger nor a message/);
  });
});

describe("a cut-off answer in Caddy's log", () => {
  const headers = { "Content-Length": ["1000"] };
  it("is shorter than its Content-Length, and an error", () => {
    const found = read(line({ size: 4, resp_headers: headers, duration: 0.057 }));
    assert.deepEqual([found.end, found.durationMs, isServerError(found)], ["cut_off", 57, true]);
  });

  it("has no latency when the handler ended without one", () => {
    for (const [change, unit] of [
      [{ size: 4, duration: 0, resp_headers: headers }, "s"],
      [{ size: 4, duration: 0, resp_headers: headers }, "ms"],
      [{ size: 4, duration: 0, resp_headers: {} }, "s"],
      [{ size: 4, duration: 0, resp_headers: {} }, "ns"],
      [{ size: 4, duration: "0s", resp_headers: {} }, "s"],
    ] as const) {
      const found = read(line(change), unit);
      assert.deepEqual(
        [found.end, found.durationMs, classOf(found, RULES)],
        ["cut_off", undefined, "request"],
        JSON.stringify(change),
      );
    }
  });

  it("is assumed neither of answers without a body, nor below the resolution of a log in milliseconds", () => {
    assert.equal(read(line({ size: 0, resp_headers: headers }, { method: "HEAD" })).end, "complete");
    assert.equal(read(line({ size: 0, resp_headers: headers, status: 304 })).end, "complete");
    assert.equal(read(line({ size: 1000, resp_headers: headers })).end, "complete");
    assert.deepEqual(read(line({ duration: 0, size: 2 }), "ms").durationMs, 0);
  });
});

describe("a long-lived connection in Caddy's log", () => {
  const classIn = (change: object, request: object = {}) => classOf(read(line(change, request)), RULES);
  const upgrade = { Connection: ["Upgrade"], Upgrade: ["websocket"] };

  it("is an upgraded connection: status 101, or 0 with the header Upgrade", () => {
    assert.equal(classIn({ status: 101 }), "long_lived");
    assert.equal(classIn({ status: 0, duration: 3.0035, resp_headers: upgrade }), "long_lived");
    assert.equal(classIn({ status: 0, duration: 3.0035, resp_headers: undefined }, { headers: upgrade }), "long_lived");
  });

  it("is a WebSocket over HTTP/2 or HTTP/3, which has method CONNECT and status 200", () => {
    assert.equal(
      classIn({ duration: 7_200.5 }, { method: "CONNECT", proto: "HTTP/2.0", headers: { ":protocol": ["websocket"] } }),
      "long_lived",
    );
    assert.equal(classIn({ duration: 7_200.5, size: 0 }, { method: "CONNECT", proto: "HTTP/3.0" }), "long_lived");
  });

  it("is an event stream of any length, cut off or not", () => {
    for (const type of [
      "text/event-stream",
      "text/event-stream;charset=utf-8",
      "Text/Event-Stream",
      "multipart/x-mixed-replace; boundary=x",
    ])
      assert.equal(classIn({ duration: 10_800.5, resp_headers: { "Content-Type": [type] } }), "long_lived", type);
    assert.equal(classIn({ duration: 0, resp_headers: { "Content-Type": ["text/event-stream"] } }), "long_lived");
  });

  it("is not assumed of a failed attempt, which is a request", () => {
    assert.equal(classIn({ status: 502 }, { headers: upgrade }), "request");
    assert.equal(classIn({ status: 503, resp_headers: { "Content-Type": ["text/event-stream"] } }), "request");
    assert.equal(classIn({ status: 405 }, { method: "CONNECT" }), "request");
  });
});

it("a Caddy request that ended before an answer is aborted", () => {
  for (const status of [0, 408, 499]) assert.equal(classOf(read(line({ status })), RULES), "aborted", String(status));
});
