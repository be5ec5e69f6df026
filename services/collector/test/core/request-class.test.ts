import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { LoggedRequest } from "../../src/core/access-line.ts";
import { classOf, HEALTH_CHECKERS, isServerError } from "../../src/core/request-class.ts";

const RULES = { healthCheckers: HEALTH_CHECKERS.map((prefix) => prefix.toLowerCase()), longLivedPaths: ["/v1/events"] };
const request = (change: Partial<LoggedRequest>): LoggedRequest => ({
  finishedAtMs: 1,
  status: 200,
  durationMs: 10,
  userAgent: "app/1",
  host: undefined,
  method: "GET",
  path: "/",
  contentType: undefined,
  hasUpgrade: false,
  end: "complete",
  ...change,
});
const classIn = (change: Partial<LoggedRequest>) => classOf(request(change), RULES);

describe("the class of a request", () => {
  it("is a health check by its User-Agent, regardless of its status", () => {
    for (const userAgent of [
      "kube-probe/1.31",
      "ELB-HealthChecker/2.0",
      "GoogleHC/1.0",
      "Envoy/HC",
      "Amazon-Route53-Health-Check-Service (ref 1; report http://amzn.to/1vsZADi)",
      "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
      "KUBE-PROBE/1.31",
      "aviary-synthetic/1",
    ])
      for (const status of [200, 404, 499, 503]) assert.equal(classIn({ userAgent, status }), "health_check", userAgent);
    for (const userAgent of ["Mozilla/5.0 aviary-synthetic/1", "my-kube-probe/1", "", "app/1"])
      assert.equal(classIn({ userAgent }), "request", userAgent);
  });

  it("is long-lived by a configured path, when the answer began", () => {
    assert.equal(classIn({ path: "/v1/events?since=7" }), "long_lived");
    assert.equal(classIn({ path: "/v1/events", status: 502 }), "request");
    assert.equal(classIn({ path: "/v1/models" }), "request");
  });

  it("is aborted if the client or the proxy ended it before an answer", () => {
    for (const status of [0, 408, 444, 460, 499]) assert.equal(classIn({ status }), "aborted", String(status));
    assert.equal(classIn({ end: "client" }), "aborted");
  });

  it("is never an error because of the client, and always one for a cut-off answer", () => {
    for (const status of [200, 302, 404, 429, 600]) assert.equal(isServerError(request({ status })), false, String(status));
    for (const status of [500, 503, 599]) assert.equal(isServerError(request({ status })), true, String(status));
    assert.equal(isServerError(request({ end: "cut_off" })), true);
  });

  it("is one of the four classes for any request", () => {
    fc.assert(
      fc.property(
        fc.record({
          status: fc.constantFrom(0, 101, 200, 204, 404, 408, 444, 499, 500, 599),
          userAgent: fc.option(fc.constantFrom("app/1", "kube-probe/1", ""), { nil: undefined }),
          method: fc.constantFrom("GET", "HEAD", "CONNECT", undefined),
          contentType: fc.constantFrom("text/event-stream", "text/html", undefined),
          hasUpgrade: fc.boolean(),
          end: fc.constantFrom("complete" as const, "client" as const, "cut_off" as const),
        }),
        (change) => {
          assert.ok(["request", "aborted", "health_check", "long_lived"].includes(classIn(change)));
        },
      ),
    );
  });
});
