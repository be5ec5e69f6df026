/** The API of the CLI and the dashboard: canaries, event stream, page, OpenAPI description, schemas. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { verdictRecordSchema } from "@aviary/shared/contract/verdict.ts";
import { aFleet, aReason, aVerdict } from "@aviary/shared/testing/builders.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { jsonSchemas, openApi } from "../src/api/openapi.ts";
import { LIMITS } from "../src/limits.ts";
import { routesOf } from "../src/routes.ts";
import { EXPIRES_AFTER_MS, type ShimHarness, startHarness, TOKENS } from "./harness.ts";

let harness: ShimHarness;
before(async () => {
  harness = await startHarness({ verdicts: [aVerdict()] });
});
after(() => harness[Symbol.asyncDispose]());

interface Stream {
  readonly events: Record<string, unknown>[];
  raw: string;
  ended: boolean;
  close(): void;
}

async function openStream(token: keyof typeof TOKENS = "operator"): Promise<Stream> {
  const abort = new AbortController();
  const headers = { authorization: `Basic ${btoa(`x:${TOKENS[token]}`)}` };
  const response = await fetch(`${harness.shim.url}/api/v1/stream`, { headers, signal: abort.signal });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  const stream: Stream = { events: [], raw: "", ended: false, close: () => abort.abort() };
  void (async () => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of response.body!) {
      const text = decoder.decode(chunk as Uint8Array, { stream: true });
      stream.raw += text;
      const parts = (rest + text).split("\n\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const data = part.split("\n").find((line) => line.startsWith("data: "));
        if (data !== undefined) stream.events.push(JSON.parse(data.slice(6)));
      }
    }
  })()
    .catch(() => {})
    .finally(() => {
      stream.ended = true;
    });
  return stream;
}

describe("the API", () => {
  it("lists canaries with their lanes and the state of the evaluator", async () => {
    const { body } = await harness.get("/api/v1/canaries");
    const [canary] = body.canaries as unknown as Record<string, unknown>[];
    assert.deepEqual([canary?.verdict, canary?.stale], ["pass", false]);
    assert.deepEqual(canary?.lanes, [{ lane: "build-az-a", record: null }]);
    assert.deepEqual(body.evaluator, { lease_age_ms: 0, bus: "connected", server: "memory" });
  });

  it("serves one canary in full, with the meanings of its reasons", async () => {
    const reasons = [aReason("queue_high"), aReason("skill_skew")];
    const record = aVerdict({ verdict: "hold", reasons, run: { announced_hash: "a".repeat(64) } });
    await harness.publish(record);
    const { body } = await harness.get("/api/v1/canaries/prod/payments-gateway");
    assert.deepEqual(verdictRecordSchema.shape.body.parse(body), record.body);
    assert.deepEqual(Object.keys(body.meanings as unknown as object), ["queue_high", "skill_skew"]);
    const missing = await harness.get("/api/v1/canaries/prod/nope");
    assert.equal(missing.status, 404);
    assert.match(String(missing.body.error), /no canary prod\/nope is configured; configured: prod\/payments-gateway/);
  });

  it("serves the history of a canary, bounded, oldest first", async () => {
    for (let index = 1; index <= 5; index += 1) {
      harness.clock.advance(1_000);
      await harness.renewLease();
      const window = { start: "2026-11-21T09:55:00.000Z", end: "2026-11-21T10:00:00.000Z", index, weight: 10 };
      await harness.publish(aVerdict({ window }));
    }
    const path = "/api/v1/canaries/prod/payments-gateway/history";
    const { body } = await harness.get(`${path}?limit=3`);
    const entries = body.entries as unknown as { window: { index: number } }[];
    assert.deepEqual(
      entries.map(({ window }) => window.index),
      [3, 4, 5],
    );
    assert.deepEqual([body.complete, Number(body.left_out) > 0], [true, true]);
    for (const bad of ["limit=0", "limit=9999", "limit=x", "hours=0", "hours=1e9"])
      assert.equal((await harness.get(`${path}?${bad}`)).status, 400, bad);
  });
});

describe("the event stream", () => {
  it("ends when its token is no longer valid", async () => {
    const stream = await openStream("expiring");
    const other = await openStream();
    await until("the first event arrives", () => stream.events.length === 1 && other.events.length === 1);
    harness.clock.advance(EXPIRES_AFTER_MS);
    // One second until the cached credential is dropped, and one until the streams are checked.
    for (let second = 0; second < 2; second += 1) harness.clock.advance(1_000);
    await until("the stream ends", () => stream.ended);
    assert.equal(other.ended, false, "a valid token keeps its stream");
    other.close();
    await until("the other stream ends", () => other.ended);
    await harness.renewLease();
  });

  it("sends the full state, then every change, and heartbeats", async () => {
    const stream = await openStream();
    await until("the first event arrives", () => stream.events.length === 1);
    const record = aVerdict({ verdict: "fail" });
    await harness.publish(record);
    await until("the change arrives", () => stream.events.at(-1)?.id === record.body.id);
    harness.clock.advance(LIMITS.heartbeatMs);
    await until("the heartbeat arrives", () => stream.raw.includes(": heartbeat"));
    await harness.publish(aVerdict({ run: { weight: 11 } }));
    await harness.renewLease();
    stream.close();
    await until("the stream ends", () => stream.ended);
  });

  it("sends an event when a verdict goes stale, although no message arrives", async () => {
    await harness.renewLease();
    await harness.publish(aVerdict({ run: { weight: 12 } }));
    const stream = await openStream();
    await until("the verdict is fresh", () => stream.events.at(-1)?.stale === false);
    harness.clock.advance(17_000);
    await until("the verdict is stale", () => stream.events.at(-1)?.stale === true);
    assert.equal(stream.events.at(-1)?.verdict, "hold");
    await harness.renewLease();
    stream.close();
  });

  it("rejects a client beyond the limit with 503, and accepts one after another has disconnected", async () => {
    const streams = await Promise.all(Array.from({ length: LIMITS.eventStreams }, () => openStream()));
    const rejected = await harness.get("/api/v1/stream");
    assert.equal(rejected.status, 503);
    assert.equal(rejected.headers.get("retry-after"), null);
    for (const stream of streams) stream.close();
    await until("a client is accepted again", async () => {
      const again = await fetch(`${harness.shim.url}/api/v1/stream`, { headers: { authorization: `Bearer ${TOKENS.operator}` } });
      await again.body?.cancel();
      return again.status === 200;
    });
  });
});

describe("the page", () => {
  it("accepts Basic credentials, and loads nothing from another origin", async () => {
    const { status, headers, text } = await harness.get("/", null, {
      headers: { authorization: `Basic ${btoa(`me:${TOKENS.operator}`)}` },
    });
    assert.equal(status, 200);
    assert.match(headers.get("content-type") ?? "", /^text\/html/);
    assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'/);
    assert.equal(/https?:\/\//.test(text), false, "no absolute URL");
    assert.equal(text.includes("innerHTML"), false);
  });

  it("embeds the current canaries in an element that no text can close", async () => {
    const reason = aReason("over_5xx", { text: "</script><script>alert(1)</script>" });
    await harness.publish(aVerdict({ verdict: "fail", reasons: [reason] }));
    const { text } = await harness.get("/");
    const [, embedded] = /<script type="application\/json" id="first">(.*?)<\/script>/s.exec(text) ?? [];
    const [canary] = JSON.parse(embedded ?? "") as { verdict: string; reasons: { text: string }[]; lanes: object[] }[];
    assert.deepEqual([canary?.verdict, canary?.reasons[0]?.text, canary?.lanes.length], ["fail", reason.text, 1]);
    assert.ok(text.includes("healthy: no reasons"));
    assert.equal(text.split("</script>").length, 3, "only the page's own two elements");
  });
});

describe("the description", () => {
  it("lists every route, and is served to any valid token", async () => {
    const routes = routesOf();
    const described = openApi(routes) as { paths: Record<string, object> };
    assert.deepEqual(Object.keys(described.paths).sort(), [...new Set(routes.map(({ path }) => path))].sort());
    assert.deepEqual((await harness.get("/openapi.json")).body, JSON.parse(JSON.stringify(described)));
  });

  it("is not served without a valid token, and neither are the schemas", async () => {
    for (const path of ["/openapi.json", "/schemas/verdict.json", "/schemas/verdict", "/schemas/nope"]) {
      for (const headers of [{}, { authorization: "Bearer not-a-token" }]) {
        const { status, body } = await harness.get(path, null, { headers });
        assert.deepEqual([status, body.errorType], [401, "unauthorized"], path);
        assert.equal("paths" in body || "properties" in body, false);
      }
    }
    for (const token of ["flagger", "rollouts", "keda", "prod-only"] as const) {
      assert.equal((await harness.get("/openapi.json", token)).status, 200, token);
      assert.equal((await harness.get("/schemas/verdict.json", token)).status, 200, token);
    }
  });

  it("documents the verdict's shape: an answer of the shim has every required key of the answer schema", async () => {
    const { headers, body } = await harness.get("/schemas/answer.json");
    assert.equal(headers.get("content-type"), "application/json");
    assert.equal(body.$schema, "https://json-schema.org/draft/2020-12/schema");
    const answer = (await harness.get("/rollouts/analysis", "rollouts")).body;
    const required = body.required as unknown as string[];
    assert.ok(required.includes("verdict"));
    for (const key of required) assert.ok(key in answer, key);
    const { components } = (await harness.get("/openapi.json")).body as {
      components?: { schemas: { answer: { required: string[] } } };
    };
    assert.deepEqual(components?.schemas.answer.required, required);
  });

  it("every schema is served by its name, with or without the suffix", async () => {
    for (const [name, schema] of Object.entries(jsonSchemas())) {
      for (const path of [`/schemas/${name}.json`, `/schemas/${name}`])
        assert.deepEqual((await harness.get(path)).body, JSON.parse(JSON.stringify(schema)), path);
    }
    const { status, body } = await harness.get("/schemas/nope");
    assert.equal(status, 404);
    assert.match(String(body.error), /verdict/);
  });
});

describe("a shim that stops", () => {
  it("ends its streams and closes its port", async () => {
    const short = await startHarness({ fleet: aFleet() });
    const response = await fetch(`${short.shim.url}/api/v1/stream`, { headers: { authorization: `Bearer ${TOKENS.operator}` } });
    const reading = response.text().then(
      () => "ended",
      () => "ended",
    );
    await short[Symbol.asyncDispose]();
    assert.equal(await reading, "ended");
    await assert.rejects(fetch(`${short.shim.url}/flagger/metrics`));
  });
});
