import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { isSynthetic, type LoggedRequest, readAccessLine } from "../../src/core/access-line.ts";
import {
  DEFAULT_NGINX_FORMAT,
  type NginxFormat,
  readLocalTime,
  readNginxFormat,
  readNginxLine,
} from "../../src/core/nginx-format.ts";

const formatOf = (text: string): NginxFormat => {
  const format = readNginxFormat(text);
  assert.ok(!("missing" in format), JSON.stringify(format));
  return format;
};
const NGINX = formatOf(DEFAULT_NGINX_FORMAT);
const AT = Date.UTC(2026, 10, 21, 5, 28, 50);

function request(line: string, format: "caddy" | "nginx" | "jsonl", nginx = NGINX): LoggedRequest {
  const result = readAccessLine(line, format, nginx);
  assert.equal(result.kind, "request", line);
  return (result as { request: LoggedRequest }).request;
}

describe("Caddy", () => {
  const line = (change: object): string =>
    JSON.stringify({
      level: "info",
      ts: AT / 1_000 + 0.25,
      logger: "http.log.access.log0",
      msg: "handled request",
      request: { method: "GET", host: "canary.example", uri: "/", headers: { "User-Agent": ["curl/8"] } },
      duration: 0.0125,
      status: 200,
      ...change,
    });
  it("lines have seconds and a list of User-Agents", () => {
    const found = request(line({}), "caddy");
    assert.deepEqual(found, {
      finishedAtMs: AT + 250,
      status: 200,
      durationMs: 12.5,
      userAgent: "curl/8",
      host: "canary.example",
    });
  });
  it("lines may have times as text or milliseconds", () => {
    assert.equal(request(line({ ts: "2026-11-21T05:28:50.250Z" }), "caddy").finishedAtMs, AT + 250);
    assert.equal(request(line({ ts: AT + 250 }), "caddy").finishedAtMs, AT + 250);
  });
  it("messages that are not requests are skipped", () => {
    assert.equal(readAccessLine('{"level":"info","ts":1,"logger":"tls","msg":"cleaning"}', "caddy", NGINX).kind, "other");
  });
  it("a WebSocket is not counted as a request", () =>
    assert.equal(readAccessLine(line({ status: 101 }), "caddy", NGINX).kind, "other"));
  it("a request aborted by the client is counted", () => assert.equal(request(line({ status: 0 }), "caddy").status, 0));
  it("a line with a textual duration is bad", () => {
    assert.equal(readAccessLine(line({ duration: "12ms" }), "caddy", NGINX).kind, "bad");
  });
});

describe("JSON lines of the example fleet", () => {
  it("have ISO times or seconds", () => {
    const record = { ts: "2026-11-21T05:28:50.250Z", status: 503, duration_ms: 7, method: "GET", uri: "/", user_agent: "load/1" };
    const found = request(JSON.stringify(record), "jsonl");
    assert.deepEqual([found.finishedAtMs, found.status, found.durationMs, found.userAgent], [AT + 250, 503, 7, "load/1"]);
    assert.equal(request(JSON.stringify({ ...record, ts: AT / 1_000 }), "jsonl").finishedAtMs, AT);
  });
  it("identify synthetic requests by User-Agent alone", () => {
    const line = (user_agent: string): string => JSON.stringify({ ts: AT / 1_000, status: 200, duration_ms: 1, user_agent });
    assert.equal(isSynthetic(request(line("aviary-synthetic/1"), "jsonl")), true);
    assert.equal(isSynthetic(request(line("Mozilla/5.0 aviary-synthetic/1"), "jsonl")), false);
  });
});

describe("nginx", () => {
  const combined = '10.0.0.7 - - [21/Nov/2026:06:28:50 +0100] "GET /a b HTTP/1.1" 502 157 "-" "curl \\x22/8" 0.125';
  it("the combined format with a duration is parsed", () => {
    const found = request(combined, "nginx");
    assert.deepEqual([found.finishedAtMs, found.status, found.durationMs, found.userAgent], [AT, 502, 125, "curl \\x22/8"]);
  });
  it("a custom format with milliseconds and host is parsed", () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: nginx writes variables this way
    const format = formatOf('{"t":$msec,"h":"$host","s":$status,"d":${request_time},"ua":"$http_user_agent"}');
    const found = request('{"t":1795238930.250,"h":"canary.example","s":200,"d":0.010,"ua":"x"}', "nginx", format);
    assert.deepEqual([found.finishedAtMs, found.host, found.durationMs], [1795238930250, "canary.example", 10]);
    const iso = formatOf("$time_iso8601 $status $request_time $http_user_agent");
    assert.equal(request("2026-11-21T06:28:50+01:00 200 0.010 x", "nginx", iso).finishedAtMs, AT);
  });
  it("lists of upstream values are parsed, wherever they are in the line", () => {
    const first = formatOf('$upstream_status $upstream_response_time $status $request_time [$time_local] "$http_user_agent"');
    for (const [lists, status] of [
      ["502, 200 0.000, 0.016", 200],
      ["502, 502, 503 0.000, 0.001, 0.002", 503],
      ["502, 200 : 504 0.000, 0.016 : 5.001", 504],
      ["- -", 400],
      ["502, - 0.001, -", 502],
      ["200 0.034", 200],
    ] as const) {
      const found = request(`${lists} ${status} 0.125 [21/Nov/2026:06:28:50 +0100] "app/1"`, "nginx", first);
      assert.deepEqual([found.status, found.durationMs, found.userAgent], [status, 125, "app/1"], lists);
    }
    const joined = formatOf('[$time_local] $request_time-$upstream_response_time-$status "$http_user_agent"');
    for (const [list, status] of [
      ["0.000, 0.002", 200],
      ["-", 499],
    ] as const)
      assert.equal(request(`[21/Nov/2026:06:28:50 +0100] 0.002-${list}-${status} "app/1"`, "nginx", joined).status, status, list);
    const csv = formatOf("$upstream_status,$status,$request_time,$msec,$http_user_agent");
    assert.equal(request("502, 200,200,0.1,1795238930.250,app", "nginx", csv).status, 200);
  });
  it("a format in which a list has no end is rejected", () => {
    for (const separator of [", ", " : "]) {
      const result = readNginxFormat(`$upstream_status${separator}$status $request_time $msec $http_user_agent`);
      assert.ok("missing" in result);
      assert.match(result.missing, /text after \$upstream_status that cannot be part of its list/);
    }
  });
  it("an incomplete format is rejected with the missing variable", () => {
    for (const [format, missing] of [
      ["$status $request_time $http_user_agent", /finished: add \$msec/],
      ["$msec $request_time $http_user_agent", /status/],
      ["$msec $status $http_user_agent", /duration/],
      ["$msec $status $request_time", /User-Agent/],
      ["$msec$status $request_time $http_user_agent", /text between \$msec and \$status/],
    ] as const) {
      const result = readNginxFormat(format);
      assert.ok("missing" in result);
      assert.match(result.missing, missing);
    }
  });
  it("a line of another format is bad", () => {
    for (const line of ["", "x", combined.slice(0, 40), combined.replace("502", "five"), combined.replace("0.125", "-")]) {
      assert.equal(readAccessLine(line, "nginx", NGINX).kind, "bad", line);
    }
    assert.equal(readLocalTime("21/Foo/2026:06:28:50 +0100"), undefined);
  });
  it("any escaped values round-trip", () => {
    const text = fc.string({ unit: fc.constantFrom("a", " ", "[", "]", "-", "/", "\\x22", "ü"), maxLength: 30 });
    fc.assert(
      fc.property(text, text, fc.integer({ min: 100, max: 599 }), (request, agent, status) => {
        const line = `1.2.3.4 - u [21/Nov/2026:06:28:50 +0100] "${request}" ${status} 1 "-" "${agent}" 0.5`;
        const values = readNginxLine(NGINX, line);
        assert.equal(values?.get("request"), request);
        assert.equal(values?.get("http_user_agent"), agent);
        assert.equal(values?.get("status"), String(status));
      }),
    );
  });
});

it("the parser throws for no line of any format", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), fc.constantFrom("caddy", "nginx", "jsonl" as const), (line, format) => {
      assert.ok(["request", "other", "bad"].includes(readAccessLine(line, format as "caddy", NGINX).kind));
    }),
  );
});
