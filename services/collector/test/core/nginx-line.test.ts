import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { LoggedRequest } from "../../src/core/access-line.ts";
import { DEFAULT_NGINX_FORMAT, type NginxFormat, readNginxFormat, readNginxLine } from "../../src/core/nginx-format.ts";
import { nginxReader } from "../../src/core/nginx-line.ts";
import { classOf } from "../../src/core/request-class.ts";

const AT = Date.UTC(2026, 10, 21, 5, 28, 50);
const RULES = { healthCheckers: [], longLivedPaths: [] };

const formatOf = (text: string): NginxFormat => {
  const format = readNginxFormat(text);
  assert.ok(!("missing" in format), JSON.stringify(format));
  return format;
};
const NGINX = formatOf(DEFAULT_NGINX_FORMAT);

function read(line: string, format = NGINX): LoggedRequest {
  const result = nginxReader(format)(line);
  assert.equal(result.kind, "request", line);
  return (result as { request: LoggedRequest }).request;
}

const missingIn = (text: string): string => {
  const result = readNginxFormat(text);
  assert.ok("missing" in result, text);
  return result.missing;
};

describe("an nginx line", () => {
  const combined = '10.0.0.7 - - [21/Nov/2026:06:28:50 +0100] "GET /a b HTTP/1.1" 502 157 "-" "curl \\x22/8" 0.125';

  it("of the combined format with a duration is read", () => {
    const found = read(combined);
    assert.deepEqual([found.finishedAtMs, found.status, found.durationMs, found.userAgent], [AT, 502, 125, "curl \\x22/8"]);
    assert.deepEqual([found.method, found.path, found.host], ["GET", "/a", undefined]);
  });

  it("of a custom format with milliseconds and host is read", () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: nginx writes variables this way
    const format = formatOf('{"t":$msec,"h":"$host","s":$status,"d":${request_time},"ua":"$http_user_agent"}');
    const found = read('{"t":1795238930.250,"h":"canary.example","s":200,"d":0.010,"ua":"x"}', format);
    assert.deepEqual([found.finishedAtMs, found.host, found.durationMs], [1795238930250, "canary.example", 10]);
    const iso = formatOf("$time_iso8601 $status $request_time $http_user_agent");
    assert.equal(read("2026-11-21T06:28:50+01:00 200 0.010 x", iso).finishedAtMs, AT);
  });

  it("of a format with escaped tabs and quotes is read", () => {
    const format = formatOf("$msec\\t$status\\t$request_time\\t$http_user_agent\\t$upstream_response_time");
    const found = read("1795238930.250\t200\t0.010\tapp 1, x\t0.001, 0.009", format);
    assert.deepEqual([found.userAgent, found.durationMs], ["app 1, x", 10]);
  });

  it("with escape=json may contain escaped quotes and backslashes", () => {
    const format = formatOf(
      '{"ua":"$http_user_agent","t":"$time_iso8601","s":$status,"d":$request_time,"u":"$upstream_response_time"}',
    );
    for (const agent of ['a \\"b\\" c', "a\\\\", 'a\\\\\\"', ""]) {
      const found = read(`{"ua":"${agent}","t":"2026-11-21T05:28:50+00:00","s":503,"d":0.004,"u":""}`, format);
      assert.deepEqual([found.userAgent, found.status], [agent, 503]);
    }
  });

  it("may contain lists of upstream values, wherever they are", () => {
    const first = formatOf('$upstream_status $upstream_response_time $status $request_time [$time_local] "$http_user_agent"');
    for (const [lists, status] of [
      ["502, 200 0.000, 0.016", 200],
      ["502, 502, 503 0.000, 0.001, 0.002", 503],
      ["502, 200 : 504 0.000, 0.016 : 5.001", 504],
      ["- -", 400],
      ["502, - 0.001, -", 502],
      ["200 0.034", 200],
    ] as const) {
      const found = read(`${lists} ${status} 0.125 [21/Nov/2026:06:28:50 +0100] "app/1"`, first);
      assert.deepEqual([found.status, found.durationMs, found.userAgent], [status, 125, "app/1"], lists);
    }
    const joined = formatOf('[$time_local] $request_time-$upstream_response_time-$status "$http_user_agent"');
    for (const [list, status] of [
      ["0.000, 0.002", 200],
      ["-", 499],
    ] as const)
      assert.equal(read(`[21/Nov/2026:06:28:50 +0100] 0.002-${list}-${status} "app/1"`, joined).status, status, list);
    const csv = formatOf("$upstream_status,$status,$request_time,$msec,$http_user_agent");
    assert.equal(read("502, 200,200,0.1,1795238930.250,app", csv).status, 200);
  });

  it("ends the user name where the time starts, whatever name the client sends", () => {
    for (const user of ["-", "a [b", "x [21/Nov/2020:00:00:00 +0000] y", "[", " [ ["]) {
      const found = read(`10.0.0.7 - ${user} [21/Nov/2026:06:28:50 +0100] "GET / HTTP/1.1" 401 1 "-" "app/1" 0.125`);
      assert.deepEqual([found.finishedAtMs, found.status], [AT, 401], user);
    }
  });

  it("is read for unusual requests: no request line, TLS bytes, HTTP/3, a dropped connection", () => {
    const odd = (request: string, status: string, rest = '"-" "-"') =>
      read(`10.0.0.7 - - [21/Nov/2026:06:28:50 +0100] "${request}" ${status} 157 ${rest} 0.000`);
    assert.deepEqual([odd("\\x16\\x03\\x01\\x00\\xF4\\x01", "400").method, odd("", "400").path], [undefined, undefined]);
    assert.equal(odd("GET /h3 HTTP/3.0", "503", '"-" "app/1 \\x22quoted\\x22"').status, 503);
    assert.equal(odd("", "000").status, 0);
    assert.equal(odd("-", "408").userAgent, "");
  });

  it("of another format is unread", () => {
    for (const line of [
      "",
      "x",
      combined.slice(0, 40),
      combined.replace("502", "five"),
      combined.replace("0.125", "-"),
      combined.replace("502", "009"),
    ])
      assert.equal(nginxReader(NGINX)(line).kind, "unread", line);
  });

  it("round-trips any escaped values", () => {
    const text = fc.string({ unit: fc.constantFrom("a", " ", "[", "]", "-", "/", "\\x22", "ü"), maxLength: 30 });
    fc.assert(
      fc.property(text, text, text, fc.integer({ min: 100, max: 599 }), (user, request, agent, status) => {
        const line = `1.2.3.4 - ${user} [21/Nov/2026:05:28:50 +0100] "${request}" ${status} 1 "-" "${agent}" 0.5`;
        const values = readNginxLine(NGINX, line);
        assert.equal(values?.get("remote_user"), user);
        assert.equal(values?.get("request"), request);
        assert.equal(values?.get("http_user_agent"), agent);
        assert.equal(values?.get("status"), String(status));
      }),
    );
  });
});

describe("a request in nginx's log", () => {
  const format = formatOf(
    '$msec $status $request_time "$request" "$http_user_agent" $body_bytes_sent $sent_http_content_length "$sent_http_content_type" "$request_completion"',
  );
  const found = (values: {
    status?: number;
    request?: string;
    bytes?: string;
    length?: string;
    type?: string;
    completion?: string;
  }) =>
    read(
      `1795238930.250 ${values.status ?? 200} 0.010 "${values.request ?? "GET / HTTP/1.1"}" "app/1" ${values.bytes ?? "2"} ${values.length ?? "2"} "${values.type ?? "-"}" "${values.completion ?? "OK"}"`,
      format,
    );
  const classIn = (values: Parameters<typeof found>[0]) => classOf(found(values), RULES);

  it("is long-lived for an upgrade, an event stream and a tunnel", () => {
    assert.equal(classIn({ status: 101, completion: "-" }), "long_lived");
    assert.equal(classIn({ type: "text/event-stream", length: "-", completion: "-" }), "long_lived");
    assert.equal(classIn({ request: "CONNECT gw.example:443 HTTP/2.0" }), "long_lived");
  });

  it("is aborted for 499, 408, 444 and 000", () => {
    for (const status of [499, 408, 444])
      assert.equal(classIn({ status, completion: "-", bytes: "0" }), "aborted", String(status));
  });

  it("is a cut-off answer if it is shorter than announced or was not completed", () => {
    assert.equal(found({ bytes: "4", length: "1000" }).end, "cut_off");
    assert.equal(found({ completion: "-", length: "-" }).end, "cut_off");
    assert.equal(found({ completion: "", length: "-" }).end, "cut_off");
    assert.equal(found({ bytes: "0", length: "1000", request: "HEAD / HTTP/1.1" }).end, "complete");
    assert.equal(found({ bytes: "0", length: "1000", status: 304 }).end, "complete");
    assert.equal(found({}).end, "complete");
  });
});

describe("a log_format", () => {
  it("is rejected with the missing variable", () => {
    for (const [format, missing] of [
      ["$status $request_time $http_user_agent", /finished: add \$msec/],
      ["$msec $request_time $http_user_agent", /status/],
      ["$msec $status $http_user_agent", /duration/],
      ["$msec $status $request_time", /User-Agent/],
      ["$msec$status $request_time $http_user_agent", /text between \$msec and \$status/],
    ] as const)
      assert.match(missingIn(format), missing);
  });

  it("is rejected if a list in it has no certain end", () => {
    for (const separator of [", ", " : "])
      assert.match(
        missingIn(`$upstream_status${separator}$status $request_time $msec $http_user_agent`),
        /text after \$upstream_status that cannot be part of its list/,
      );
  });

  it("is rejected if clients could write the text that ends a value", () => {
    for (const [format, name] of [
      ["$msec $http_user_agent $status $request_time", "http_user_agent"],
      ["$msec $request $status $request_time $http_user_agent", "request"],
      ['$msec $status $http_x_forwarded_for, $request_time "$http_user_agent"', "http_x_forwarded_for"],
      ['$msec $sent_http_content_type $status $request_time "$http_user_agent"', "sent_http_content_type"],
    ] as const)
      assert.equal(missingIn(format), `quotes around $${name}: "$${name}"`);
    formatOf('$msec $status $sent_http_content_length $request_uri $request_time "$http_user_agent"');
  });
});
