import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { LineReader, LoggedRequest } from "../../src/core/access-line.ts";
import { caddyReader } from "../../src/core/caddy-line.ts";
import { JSONL_FIELDS, type JsonFields, jsonReader, TRAEFIK_FIELDS } from "../../src/core/json-line.ts";
import { DEFAULT_NGINX_FORMAT, type NginxFormat, readNginxFormat } from "../../src/core/nginx-format.ts";
import { nginxReader } from "../../src/core/nginx-line.ts";
import { classOf, isServerError } from "../../src/core/request-class.ts";

const AT = Date.UTC(2026, 10, 21, 5, 28, 50, 250);
const RULES = { healthCheckers: [], longLivedPaths: [] };

function read(reader: LineReader, record: object): LoggedRequest {
  const result = reader(JSON.stringify(record));
  assert.equal(result.kind, "request", `${JSON.stringify(result)} ${JSON.stringify(record)}`);
  return (result as { request: LoggedRequest }).request;
}

describe("JSON lines of the example fleet", () => {
  const reader = jsonReader(JSONL_FIELDS, "ms");
  const record = { ts: "2026-11-21T05:28:50.250Z", status: 503, duration_ms: 7, method: "GET", uri: "/", user_agent: "load/1" };

  it("may have their time in ISO format or in seconds", () => {
    const found = read(reader, record);
    assert.deepEqual([found.finishedAtMs, found.status, found.durationMs, found.userAgent], [AT, 503, 7, "load/1"]);
    assert.equal(read(reader, { ...record, ts: AT / 1_000 }).finishedAtMs, AT);
  });

  it("mark event streams and cut-off answers, if the proxy logs them", () => {
    assert.equal(classOf(read(reader, { ...record, status: 200, content_type: "text/event-stream" }), RULES), "long_lived");
    assert.equal(read(reader, { ...record, status: 200, complete: false }).end, "cut_off");
    assert.equal(read(reader, { ...record, status: 200, complete: true }).end, "complete");
  });

  it("are unread without a time, a status or a duration", () => {
    for (const key of ["ts", "status", "duration_ms"])
      assert.equal(reader(JSON.stringify({ ...record, [key]: undefined })).kind, "unread", key);
    assert.equal(read(reader, { ...record, user_agent: undefined }).userAgent, undefined);
    assert.equal(read(reader, { ...record, user_agent: "" }).userAgent, "");
  });
});

describe("Traefik's JSON log", () => {
  const reader = jsonReader(TRAEFIK_FIELDS, "ns");
  const record = {
    ClientHost: "10.0.0.7",
    DownstreamContentSize: 2,
    DownstreamStatus: 200,
    Duration: 12_500_000,
    OriginDuration: 12_000_000,
    OriginStatus: 200,
    RequestHost: "canary.example",
    RequestMethod: "GET",
    RequestPath: "/v1/models",
    RequestProtocol: "HTTP/2.0",
    StartUTC: "2026-11-21T05:28:50.237500000Z",
    level: "info",
    msg: "",
    "downstream_Content-Type": "application/json",
    "request_User-Agent": "app/1",
    time: "2026-11-21T06:28:50.250+01:00",
  };

  it("has nanoseconds, and headers as fields", () => {
    const found = read(reader, record);
    assert.deepEqual(
      [found.finishedAtMs, found.status, found.durationMs, found.userAgent, found.host, found.path],
      [AT, 200, 12.5, "app/1", "canary.example", "/v1/models"],
    );
    assert.equal(read(reader, { ...record, "request_User-Agent": undefined }).userAgent, undefined);
  });

  it("shows aborted requests, upgrades, event streams and cut-off answers", () => {
    const classIn = (change: object) => classOf(read(reader, { ...record, ...change }), RULES);
    assert.equal(classIn({ DownstreamStatus: 499 }), "aborted");
    assert.equal(classIn({ DownstreamStatus: 101 }), "long_lived");
    assert.equal(classIn({ DownstreamStatus: 0, request_Upgrade: "websocket" }), "long_lived");
    assert.equal(classIn({ "downstream_Content-Type": "text/event-stream" }), "long_lived");
    assert.equal(read(reader, { ...record, "downstream_Content-Length": "1000" }).end, "cut_off");
  });
});

describe("a JSON log with configured fields", () => {
  const envoy: JsonFields = {
    startTime: "start_time",
    status: "response_code",
    duration: "duration",
    userAgent: "user_agent",
    method: "method",
    envoyFlags: "response_flags",
  };
  const record = {
    start_time: "2026-11-21T05:28:50.200Z",
    response_code: 200,
    duration: 50,
    user_agent: "app/1",
    method: "GET",
    response_flags: "-",
  };
  const inEnvoy = (change: object) => read(jsonReader(envoy, "ms"), { ...record, ...change });

  it("may have the start time of a request, to which the duration is added", () => {
    assert.equal(inEnvoy({}).finishedAtMs, AT);
    assert.equal(inEnvoy({ duration: "50", response_code: "200" }).finishedAtMs, AT);
  });

  it("may have Envoy's response flags", () => {
    for (const [response_code, response_flags, expected] of [
      [200, "-", "complete"],
      [0, "DC", "client"],
      [200, "DC", "client"],
      [200, "UC", "cut_off"],
      [200, "UPE", "cut_off"],
      [206, "UT,DT", "cut_off"],
      [503, "UF,URX", "complete"],
      [403, "UAEX", "complete"],
      [404, "NR", "complete"],
    ] as const)
      assert.equal(inEnvoy({ response_code, response_flags }).end, expected, `${response_code} ${response_flags}`);
    const timeout = inEnvoy({ response_code: 504, response_flags: "UT" });
    assert.deepEqual([classOf(timeout, RULES), isServerError(timeout)], ["request", true]);
    assert.equal(classOf(inEnvoy({ method: "CONNECT", duration: 7_200_000 }), RULES), "long_lived");
  });

  it("may have HAProxy's termination state", () => {
    const haproxy: JsonFields = { time: "t", status: "st", duration: "ta", userAgent: "ua", haproxyTermination: "ts" };
    const inHaproxy = (st: number, ts: string, ta = 12) =>
      read(jsonReader(haproxy, "ms"), { t: AT / 1_000, st, ta, ua: "app/1", ts });
    for (const [st, ts, expected] of [
      [200, "--", "complete"],
      [302, "LR", "complete"],
      [403, "PR", "complete"],
      [200, "CD", "client"],
      [408, "cR", "client"],
      [-1, "CR", "client"],
      [200, "SD", "cut_off"],
      [200, "sD", "cut_off"],
      [503, "SC", "complete"],
    ] as const)
      assert.equal(inHaproxy(st, ts).end, expected, `${st} ${ts}`);
    assert.equal(classOf(inHaproxy(-1, "CR", -1), RULES), "aborted");
    assert.equal(classOf(inHaproxy(101, "CD"), RULES), "long_lived");
  });
});

it("no reader throws for any line", () => {
  const readers = [
    caddyReader("s"),
    nginxReader(readNginxFormat(DEFAULT_NGINX_FORMAT) as NginxFormat),
    jsonReader(JSONL_FIELDS, "ms"),
    jsonReader(TRAEFIK_FIELDS, "ns"),
  ];
  const keys = fc.constantFrom("ts", "status", "duration", "request", "headers", "resp_headers", "msg", "logger", "User-Agent");
  const record = fc.dictionary(keys, fc.oneof(fc.jsonValue(), fc.constantFrom("handled request", "http.log.access")));
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        record.map((value) => JSON.stringify(value)),
      ),
      (line) => {
        for (const reader of readers) assert.ok(["request", "other", "unread"].includes(reader(line).kind));
      },
    ),
    { numRuns: 500 },
  );
});
