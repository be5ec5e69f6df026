import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { healthBody } from "@aviary/shared/contract/signal.ts";
import fc from "fast-check";
import { classifyHealth, type GatewayProbeResults, type HealthState, type ProbeResult } from "../../src/core/health.ts";

const fixture = (name: string): string => readFileSync(new URL(`../fixtures/openclaw/${name}`, import.meta.url), "utf8");
const recorded = (name: string, status = 200): ProbeResult => ({
  kind: "json",
  status,
  value: JSON.parse(fixture(`http/${name}.json`)),
});
const json = (status: number, value: unknown): ProbeResult => ({ kind: "json", status, value });

const FRESH: HealthState = { upSinceMs: null };
const HEALTHY: GatewayProbeResults = {
  healthz: recorded("healthz"),
  startupz: recorded("startupz"),
  readyz: recorded("readyz"),
  worker: undefined,
};
const WARM_UP_MS = 60_000;
const judge = (change: Partial<GatewayProbeResults>, state = FRESH, at = 1_000_000) =>
  classifyHealth({ ...HEALTHY, ...change }, state, at, WARM_UP_MS);

describe("recorded responses", () => {
  it("a healthy gateway is up, warm and reachable, with its version", () => {
    const { body, version } = judge({});
    assert.deepEqual(body, { state: "up", failing: [], suppressed: [], uptime_ms: 87_717, warm: true, worker_reachable: true });
    assert.equal(version, "2026.9.6");
    for (const variant of ["auth", "badauth"]) {
      const answers = {
        healthz: recorded(`healthz-${variant}`),
        startupz: recorded(`startupz-${variant}`),
        readyz: recorded(`readyz-${variant}`),
      };
      assert.equal(judge(answers).body.state, "up", variant);
    }
    assert.equal(judge({ healthz: recorded("healthz-query") }).body.state, "up");
  });

  it("a failing channel makes the gateway not_ready and is named", () => {
    const { body } = judge({ readyz: recorded("readyz-channel-failing", 503) });
    assert.equal(body.state, "not_ready");
    assert.deepEqual(body.failing, ["telegram"]);
    assert.equal(body.worker_reachable, true);
  });

  it("channels suppressed by a crash loop are listed although the gateway is ready", () => {
    const { body } = judge({ readyz: recorded("readyz-autostart-suppressed") });
    assert.equal(body.state, "up");
    assert.deepEqual(body.suppressed, ["telegram"]);
  });

  it("a gateway that recovered from a stall is up", () =>
    assert.equal(judge({ readyz: recorded("readyz-after-stall") }).body.state, "up"));

  it("responses without details still determine readiness, and warm-up is measured from the first of them", () => {
    const remote = { startupz: recorded("startupz-remote-unauth"), readyz: recorded("readyz-remote-unauth") };
    const first = judge(remote);
    assert.deepEqual([first.body.state, first.body.uptime_ms, first.body.warm, first.version], ["up", null, false, undefined]);
    const soon = judge(remote, first.state, 1_000_000 + WARM_UP_MS - 1);
    const later = judge(remote, soon.state, 1_000_000 + WARM_UP_MS);
    assert.deepEqual([soon.body.warm, later.body.warm], [false, true]);
    const gap = judge({ readyz: { kind: "refused" } }, later.state, 1_100_000);
    assert.equal(gap.state.upSinceMs, null);
  });

  it("responses of other routes are never up", () => {
    const errors = JSON.parse(fixture("http/error-bodies.json")) as Record<string, { status: number; body?: unknown }>;
    for (const [name, { status, body }] of Object.entries(errors)) {
      const answer: ProbeResult = typeof body === "object" ? json(status, body) : { kind: "other", status };
      assert.equal(judge({ readyz: answer }).body.state, "not_ready", name);
      assert.equal(judge({ healthz: answer }).body.state, "not_ready", name);
      assert.notDeepEqual(judge({ readyz: answer }).body.failing, [], name);
      assert.equal(judge({ readyz: answer }).body.worker_reachable, false, name);
    }
    assert.equal(fixture("http/healthz-slash.txt").trim(), "Not Found");
    assert.equal(fixture("http/readyz-post.txt").trim(), "Method Not Allowed");
  });
});

describe("recorded series", () => {
  const cases: Readonly<Record<string, readonly string[]>> = {
    "poll-cold-start.jsonl": ["refused", "starting", "up cold"],
    "poll-sigterm-drain.jsonl": ["up warm", "draining", "refused"],
    "poll-channel-failing-after-grace.jsonl": ["refused", "starting", "up cold", "not_ready telegram"],
    "poll-inprocess-restart-sigusr2.jsonl": ["up warm", "draining", "refused", "starting", "up cold"],
  };
  for (const [name, expected] of Object.entries(cases)) {
    it(name, () => {
      const lines = fixture(name).trim().split("\n");
      const latest: Partial<Record<"healthz" | "startupz" | "readyz", ProbeResult>> = {};
      const seen: string[] = [];
      let state = FRESH;
      for (const line of lines) {
        const { t, path, status, body } = JSON.parse(line) as { t: number; path: string; status: number | "ERR"; body: string };
        latest[path.slice(1) as keyof typeof latest] = status === "ERR" ? { kind: "refused" } : json(status, JSON.parse(body));
        const { healthz, startupz, readyz } = latest;
        if (healthz === undefined || startupz === undefined || readyz === undefined) continue;
        const health = classifyHealth({ healthz, startupz, readyz, worker: undefined }, state, t * 1_000, WARM_UP_MS);
        state = health.state;
        const channels = health.body.state === "not_ready" ? ` ${health.body.failing.join()}` : "";
        const summary = health.body.state + (health.body.state === "up" ? (health.body.warm ? " warm" : " cold") : channels);
        if (seen.at(-1) !== summary) seen.push(summary);
      }
      assert.deepEqual(seen, expected);
    });
  }
});

describe("unexpected responses", () => {
  it("an HTML control page is not_ready", () => {
    const page: ProbeResult = { kind: "other", status: 200 };
    assert.deepEqual(judge({ readyz: page }).body.failing, ["readyz: status 200 without JSON"]);
    assert.equal(judge({ healthz: page }).body.state, "not_ready");
  });

  it("a status that contradicts its body is not_ready", () => {
    assert.equal(judge({ readyz: json(200, { ready: false, failing: ["x"] }) }).body.state, "not_ready");
    assert.equal(judge({ readyz: json(503, { ready: true }) }).body.state, "not_ready");
    assert.equal(
      judge({ startupz: json(200, { ok: false, status: "draining" }) }).body.state,
      "up",
      "readyz and healthz are fine",
    );
  });

  it("an entry of `failing` that is not a text does not hide the others", () => {
    const failing = [{ id: "channel:telegram", reason: "stale" }, { name: "x" }, 7, null, "gateway-draining"];
    const { body } = judge({ startupz: { kind: "other", status: 200 }, readyz: json(503, { ready: false, failing }) });
    assert.deepEqual(body.failing, ["channel:telegram", "x", "unnamed", "unnamed", "gateway-draining"]);
    assert.equal(body.state, "draining");
    assert.equal(judge({ readyz: json(503, { ready: false, failing: [] }) }).body.state, "not_ready");
  });

  it("a 403, a redirect and an authentication error are named in `failing`", () => {
    for (const [readyz, text] of [
      [json(403, { error: { type: "forbidden" } }), "readyz: unexpected JSON with status 403"],
      [{ kind: "other", status: 403 }, "readyz: status 403 without JSON"],
      [{ kind: "failed", code: "redirect" }, "readyz: redirect"],
    ] as const) {
      const { body } = judge({ readyz });
      assert.deepEqual([body.state, body.failing], ["not_ready", [text]]);
    }
    assert.deepEqual(judge({ readyz: json(503, { ready: false, failing: ["plugin-reload"] }) }).body.failing, ["plugin-reload"]);
    assert.equal(
      judge({ startupz: json(200, { ok: true, status: "started" }), readyz: json(200, { ready: true }) }).body.state,
      "up",
    );
  });

  it("a gateway without /startupz is classified by the other routes", () => {
    const { body, version } = judge({ startupz: { kind: "other", status: 200 } });
    assert.deepEqual([body.state, body.uptime_ms, version], ["up", 87_739, undefined]);
  });

  it("a timeout, a closed port and an invalid response have distinct states", () => {
    assert.equal(judge({ readyz: { kind: "timeout" } }).body.state, "timeout");
    assert.equal(judge({ healthz: { kind: "timeout" }, readyz: { kind: "refused" } }).body.state, "timeout");
    assert.equal(judge({ readyz: { kind: "refused" } }).body.state, "refused");
    assert.deepEqual(judge({ readyz: { kind: "failed", code: "tls" } }).body.failing, ["readyz: tls"]);
  });

  it("an uptime of 0 from a failed readiness check is ignored", () => {
    const { body } = judge({
      startupz: { kind: "other", status: 200 },
      readyz: json(503, { ready: false, failing: ["internal"], uptimeMs: 0 }),
    });
    assert.deepEqual([body.state, body.uptime_ms], ["not_ready", null]);
  });

  it("a configured worker path determines reachability", () => {
    assert.equal(judge({ worker: { kind: "refused" } }).body.worker_reachable, false);
    assert.equal(judge({ worker: { kind: "other", status: 502 } }).body.worker_reachable, false);
    assert.equal(judge({ worker: { kind: "other", status: 401 } }).body.worker_reachable, true);
  });

  it("any responses yield a valid body, and up requires JSON from both paths", () => {
    const answer: fc.Arbitrary<ProbeResult> = fc.oneof(
      fc.record({ kind: fc.constant("json" as const), status: fc.constantFrom(200, 404, 503), value: fc.jsonValue() }),
      fc.record({
        kind: fc.constant("json" as const),
        status: fc.constantFrom(200, 503),
        value: fc.record({
          ready: fc.boolean(),
          ok: fc.boolean(),
          status: fc.constantFrom("live", "started", "starting", "draining"),
          uptimeMs: fc.double({ min: -1, max: 1e15 }),
          failing: fc.array(fc.string({ maxLength: 300 }), { maxLength: 100 }),
          suppressed: fc.anything(),
        }),
      }),
      fc.constantFrom<ProbeResult>(
        { kind: "timeout" },
        { kind: "refused" },
        { kind: "other", status: 200 },
        { kind: "failed", code: "reset" },
      ),
    );
    const answers = fc.record({
      healthz: answer,
      startupz: answer,
      readyz: answer,
      worker: fc.option(answer, { nil: undefined }),
    });
    fc.assert(
      fc.property(answers, (given) => {
        const { body } = classifyHealth(given, FRESH, 1_000, WARM_UP_MS);
        healthBody.parse(body);
        if (body.state === "up") assert.deepEqual([given.healthz.kind, given.readyz.kind], ["json", "json"]);
      }),
    );
  });
});
