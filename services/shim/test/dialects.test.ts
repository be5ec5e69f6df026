/** Conformance over real HTTP with the way in which Flagger, Argo Rollouts and KEDA interpret a response. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { aFleet, aLaneRecord, aReason, aVerdict } from "@aviary/shared/testing/builders.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { GATES } from "../src/adapters/flagger-gates.ts";
import { LIMITS } from "../src/limits.ts";
import { isServedOn } from "../src/request/canary-lookup.ts";
import { flaggerBody, type ShimHarness, startHarness, TOKENS } from "./harness.ts";

const QUERY = encodeURIComponent('aviary_verdict{namespace="prod",canary="payments-gateway"}');
const OTHER = { namespace: "prod", name: "search-gateway", fleet: "payments" };
const TWO_CANARIES = aFleet({
  canaries: {
    "prod/payments-gateway": {
      fleet: "payments",
      policy: "p.yaml",
      lanes: ["build-az-a"],
      callers: { flagger: { interval: "60s" }, keda: { interval: "30s" } },
    },
    "prod/search-gateway": { fleet: "payments", policy: "p.yaml", hosts: ["canary.gw.example"] },
    "stage/search-gateway": { fleet: "payments", policy: "p.yaml" },
  },
});

let harness: ShimHarness;
const start = (options: Parameters<typeof startHarness>[0] = {}) => {
  before(async () => {
    harness = await startHarness({ verdicts: [aVerdict()], ...options });
  });
  after(() => harness[Symbol.asyncDispose]());
};
const sample = async (path: string, token: keyof typeof TOKENS): Promise<unknown> => {
  const { status, body } = await harness.get(path, token);
  assert.equal(status, 200, JSON.stringify(body));
  const { data } = body as unknown as { data: { resultType: string; result: { value: unknown[] }[] } };
  assert.equal(data.resultType, "vector");
  assert.equal(data.result.length, 1);
  assert.equal(data.result[0]?.value.length, 2);
  assert.equal(typeof data.result[0]?.value[0], "number");
  return data.result[0]?.value[1];
};

describe("every answer", () => {
  start();
  const ROUTES = [
    "/rollouts/analysis",
    "/rollouts/analysis/errors",
    "/rollouts/analysis/latency",
    "/rollouts/analysis/queue",
    "/rollouts/analysis/disk",
    "/flagger/metrics",
    "/keda/metrics?lane=build-az-a",
    `/flagger/api/v1/query?query=${QUERY}`,
    `/rollouts/api/v1/query?query=${QUERY}`,
    `/keda/api/v1/query?query=${QUERY}&time=2026-11-21T05:52:37Z`,
  ];

  it("is exactly 200 with JSON and a length, never a redirect, never Retry-After", async () => {
    for (const path of ROUTES) {
      const { status, headers, text } = await harness.get(path);
      assert.equal(status, 200, path);
      assert.equal(headers.get("content-type"), "application/json");
      assert.equal(headers.get("content-length"), String(Buffer.byteLength(text)));
      assert.equal(headers.get("retry-after"), null);
      assert.ok(JSON.parse(text));
    }
  });

  it("is JSON with 404 for any path that does not exist", async () => {
    for (const path of [
      "/nope",
      "/rollouts/analysis/",
      "/ROLLOUTS/analysis",
      "//rollouts/analysis",
      "/index.html",
      "/flux/nope",
      "/api/v1/canaries/a/b/c/d",
    ]) {
      const { status, headers, body } = await harness.get(path);
      assert.equal(status, 404, path);
      assert.equal(headers.get("content-type"), "application/json");
      assert.equal(body.status, "error");
    }
  });

  it("comes from the same stored verdict in every dialect", async () => {
    const ids = new Set<unknown>();
    for (const path of ROUTES.slice(0, 7)) ids.add((await harness.get(path)).body.id);
    assert.equal(ids.size, 1);
  });

  it("carries the parts of its request: the caller, the measurement index, the controller's key", async () => {
    harness.clock.advance(0);
    const rollouts = await harness.get("/rollouts/analysis?namespace=prod&rollout=payments-gateway", "rollouts");
    assert.equal(rollouts.body.rollout, "payments-gateway");
    assert.deepEqual(rollouts.body.measurement, { index: 6, caller: "rollouts" });
    const flagger = await harness.get("/flagger/metrics?canary=prod/payments-gateway", "operator");
    assert.equal(flagger.body.flagger, "payments-gateway");
    assert.deepEqual(flagger.body.measurement, { index: 6, caller: "operator" }, "an operator gets the controller's index");
    const keda = await harness.get("/keda/metrics?lane=build-az-a", "keda");
    assert.deepEqual([keda.body.keda, keda.body.measurement], ["build-az-a", { index: 11, caller: "keda" }]);
  });

  it("is identical for repeated requests, and a read stores nothing", async () => {
    const first = (await harness.get("/rollouts/analysis?namespace=prod&rollout=payments-gateway")).text;
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => harness.get("/rollouts/analysis?namespace=prod&rollout=payments-gateway")),
    );
    assert.ok(answers.every(({ text }) => text === first));
    assert.deepEqual(await harness.stored("INPUTS"), []);
  });
});

describe("Flagger's metrics", () => {
  start();

  it("vector(1) returns 1", async () => {
    assert.equal(await sample("/flagger/api/v1/query?query=vector%281%29", "flagger"), "1");
  });

  it("a query with whitespace encoded as + is accepted", async () => {
    assert.equal(
      await sample(
        "/flagger/api/v1/query?query=aviary_verdict{namespace%3D%22prod%22,+canary%3D%22payments-gateway%22}",
        "flagger",
      ),
      "1",
    );
  });

  it("an unknown canary and an unsupported query return 400 with an explanation", async () => {
    for (const query of ['aviary_verdict{namespace="prod",canary="nope"}', "up"]) {
      const { status, body } = await harness.get(`/flagger/api/v1/query?query=${encodeURIComponent(query)}`, "flagger");
      assert.equal(status, 400);
      assert.equal(body.errorType, "bad_data");
      assert.ok(String(body.error).length > 10);
    }
  });

  it("a hold is 0 for Flagger until a confirm gate is called in this run, then 0.5; Argo and KEDA read 0.5", async () => {
    await harness.publish(aVerdict({ verdict: "hold" }));
    assert.equal(await sample(`/flagger/api/v1/query?query=${QUERY}`, "flagger"), "0");
    assert.equal(await sample(`/rollouts/api/v1/query?query=${QUERY}`, "rollouts"), "0.5");
    assert.equal(await sample(`/keda/api/v1/query?query=${QUERY}`, "keda"), "0.5");
    await harness.publish(aVerdict({ verdict: "hold", run: { gated: true } }));
    assert.equal(await sample(`/flagger/api/v1/query?query=${QUERY}`, "flagger"), "0.5");
    await harness.publish(aVerdict({ verdict: "fail", run: { gated: true } }));
    for (const [dialect, token] of [
      ["flagger", "flagger"],
      ["rollouts", "rollouts"],
      ["keda", "keda"],
    ] as const) {
      assert.equal(await sample(`/${dialect}/api/v1/query?query=${QUERY}`, token), "0");
    }
  });
});

describe("Argo Rollouts", () => {
  start({ fleet: TWO_CANARIES });

  it("POST with a JSON body, POST without a body, and GET get the same verdict", async () => {
    const posted = await harness.post(
      "/rollouts/analysis",
      { rollout: "payments-gateway", namespace: "prod", az: "az-a" },
      "rollouts",
    );
    const empty = await harness.get("/rollouts/analysis?rollout=payments-gateway", "rollouts", { method: "POST" });
    const got = await harness.get("/rollouts/analysis?canary=prod/payments-gateway", "rollouts");
    for (const { status, body } of [posted, empty, got]) assert.deepEqual([status, body.verdict], [200, "pass"]);
  });

  it("an unknown rollout, an ambiguous one and a body that is not JSON get a hold with an explanation, never an error", async () => {
    const cases: readonly [unknown, RegExp][] = [
      [{ rollout: "nope", namespace: "prod" }, /no canary prod\/nope/],
      [{}, /name one: prod\/payments-gateway/],
      ["{not json", /name one/],
    ];
    for (const [body, text] of cases) {
      const answer = await harness.post("/rollouts/analysis", body, "rollouts");
      assert.deepEqual([answer.status, answer.body.verdict], [200, "hold"]);
      const [reason] = answer.body.reasons as unknown as { code: string; text: string }[];
      assert.equal(reason?.code, "unknown_canary");
      assert.match(reason?.text ?? "", text);
    }
  });

  it("a canary is served on its hosts only; the API serves it on every host", async () => {
    await harness.publish(aVerdict({ subject: OTHER }));
    const elsewhere = await harness.get("/rollouts/analysis?canary=prod/search-gateway", "rollouts");
    assert.equal(elsewhere.body.verdict, "hold");
    assert.match(elsewhere.text, /not served on host 127\.0\.0\.1/);
    for (const host of ["canary.gw.example", "Canary.GW.example:8080", "canary.gw.example.", "canary.gw.example.:8080"])
      assert.ok(isServedOn({ hosts: ["canary.gw.example"] }, host.toLowerCase()), host);
    for (const host of ["gw.example", "xcanary.gw.example", "canary.gw.example..", "canary.gw.example.evil"])
      assert.ok(!isServedOn({ hosts: ["canary.gw.example"] }, host), host);
    assert.ok(isServedOn({ hosts: ["gw.example:8443"] }, "gw.example.:8443"));
    for (const configured of ["gw.example.", "gw.example.:8443"])
      for (const host of ["gw.example:8443", "gw.example.:8443"])
        assert.ok(isServedOn({ hosts: [configured] }, host), `${configured} ${host}`);
    assert.ok(!isServedOn({ hosts: ["gw.example:8443"] }, "gw.example:9443"));
    assert.equal((await harness.get("/api/v1/canaries/prod/search-gateway")).body.verdict, "pass");
  });

  it("the Prometheus provider's POST form is accepted with a time, and its answer carries the reasons as warnings", async () => {
    await harness.publish(aVerdict({ verdict: "hold", reasons: [aReason("queue_high")] }));
    const form = {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: `query=${QUERY}&time=1795240267.59905`,
    };
    const { status, body } = await harness.get("/rollouts/api/v1/query", "rollouts", form);
    assert.equal(status, 200);
    assert.deepEqual(body.warnings, ["queue_high: because of queue_high"]);
    const bad = await harness.get("/rollouts/api/v1/query", "rollouts", { ...form, body: `query=${QUERY}&time=soon` });
    assert.deepEqual([bad.status, bad.body.errorType], [400, "bad_data"]);
    assert.match(String(bad.body.error), /time/);
  });

  it("a revision without a verdict is announced once and held", async () => {
    const analyze = (token: "rollouts" | "operator") =>
      harness.post("/rollouts/analysis", { rollout: "payments-gateway", namespace: "prod", revision: "6f7d9c" }, token);
    assert.equal((await analyze("operator")).body.verdict, "hold");
    assert.deepEqual(await harness.stored("INPUTS"), [], "an operator's request stores nothing");
    for (let count = 0; count < 3; count += 1) assert.equal((await analyze("rollouts")).body.verdict, "hold");
    await until("the announcement is stored", async () => (await harness.stored("INPUTS")).length > 0);
    const stored = await harness.stored("INPUTS");
    assert.equal(stored.length, 1);
    assert.equal(stored[0]?.subject, "control.payments.prod.payments-gateway.announce");
    assert.deepEqual([stored[0]?.value.caller, stored[0]?.value.revision], ["rollouts", "6f7d9c"]);
    await harness.publish(aVerdict({ run: { controller_revision: "6f7d9c" } }));
    assert.equal((await analyze("rollouts")).body.verdict, "pass");
  });
});

describe("KEDA", () => {
  start();

  it("reads the lane's gated depth and whether it may grow, as numbers", async () => {
    await harness.putLane(aLaneRecord({ depth: 16, depth_true: 40, allow: 0 }));
    await until("the lane is read", async () => (await harness.get("/keda/metrics", "keda")).text.includes('"depth":16'));
    const { body } = await harness.get("/keda/metrics?lane=build-az-a", "keda");
    const scale = body.scale as unknown as Record<string, unknown>;
    assert.deepEqual([scale.depth, scale.depth_true, scale.allow, scale.lane], [16, 40, 0, "build-az-a"]);
    for (const key of ["verdict_num", "degraded_num"]) assert.equal(typeof body[key], "number");
    for (const [key, value] of Object.entries(body.gateway as unknown as object))
      if (key.endsWith("_num")) assert.equal(typeof value, "number");
  });

  it("an unknown lane is 200 without growth and without a depth: a depth of zero would scale it down", async () => {
    const { status, body } = await harness.get("/keda/metrics?lane=nope", "keda");
    const scale = body.scale as unknown as Record<string, unknown>;
    assert.deepEqual([status, body.verdict, scale.allow, scale.depth], [200, "hold", 0, null]);
  });

  it("may send the token as X-API-Key, in the query, as Basic or as Bearer", async () => {
    const url = "/keda/metrics?lane=build-az-a";
    const headers = (value: Record<string, string>) => harness.get(url, null, { headers: value });
    assert.equal((await headers({ "x-api-key": TOKENS.keda })).status, 200);
    assert.equal((await harness.get(`${url}&api_key=${TOKENS.keda}`, null)).status, 200);
    assert.equal((await headers({ authorization: `Basic ${btoa(`keda:${TOKENS.keda}`)}` })).status, 200);
    assert.equal((await harness.get(url, "keda")).status, 200);
    assert.equal(
      (await harness.get(`${url}&api_key=${TOKENS.flagger}`, null)).status,
      401,
      "only KEDA's token is accepted in the query",
    );
  });

  it("without an evaluator a lane may not grow, and its depth stays the last one", async () => {
    await harness.putLane(aLaneRecord({ depth: 24, allow: 1 }));
    await until("the lane is read", async () => (await harness.get("/keda/metrics", "keda")).text.includes('"depth":24'));
    harness.clock.advance(20_000);
    const { body } = await harness.get("/keda/metrics?lane=build-az-a", "keda");
    const scale = body.scale as unknown as Record<string, unknown>;
    assert.deepEqual([body.verdict, body.stale, scale.allow, scale.depth], ["hold", true, 0, 24]);
    await harness.renewLease();
    await until("the lease has been read", async () => (await harness.get("/keda/metrics", "keda")).body.verdict === "pass");
  });

  it("a lane whose record is older than three ticks may not grow, although the verdict is current", async () => {
    const atMs = harness.clock.now();
    const putLane = async (depth: number, ageMs: number) => {
      await harness.putLane(aLaneRecord({ depth, allow: 1, at: new Date(atMs - ageMs).toISOString() }));
      await until("the lane is read", async () => (await harness.get("/keda/metrics", "keda")).text.includes(`"depth":${depth}`));
      const { body } = await harness.get("/keda/metrics?lane=build-az-a", "keda");
      return [
        body.verdict,
        ...["allow", "depth", "reasons"].map((key) => (body.scale as unknown as Record<string, unknown>)[key]),
      ];
    };
    assert.deepEqual(await putLane(25, 90_000), ["pass", 1, 25, []]);
    assert.deepEqual(await putLane(26, 106_000), ["pass", 0, 26, ["stale"]]);
  });
});

describe("Flagger's gates and events", () => {
  beforeEach(async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
  });
  const gate = (name: string, change: Record<string, unknown> = {}, token: keyof typeof TOKENS = "flagger") =>
    harness.post(`/flagger/gate/${name}`, flaggerBody(change), token);
  const done = async (): Promise<void> => harness[Symbol.asyncDispose]();

  it("reject with 403 and allow with 200, each with one line of text", async () => {
    await harness.publish(aVerdict({ verdict: "hold", reasons: [aReason("skill_skew")], run: { controller_revision: "v2" } }));
    for (const name of GATES) {
      const { status, text, headers } = await gate(name, { metadata: { version: "v2" } });
      assert.ok(status === 200 || status === 403, `${name}: ${status}`);
      assert.equal(text.trimEnd().includes("\n"), false);
      assert.ok(text.length > 1 && text.length <= 201);
      assert.match(headers.get("content-type") ?? "", /^text\/plain/);
    }
    assert.equal((await gate("confirm-rollout", { metadata: { version: "v2" } })).status, 403);
    await done();
  });

  it("an unknown canary returns 403 on every gate except post-rollout, and a malformed rollback call returns 400", async () => {
    for (const name of GATES)
      assert.equal((await gate(name, { name: "nope" })).status, name === "post-rollout" ? 200 : 403, name);
    for (const body of ["", "{", "[]", '{"name":5}', `${'{"x":'.repeat(9)}1${"}".repeat(9)}`]) {
      assert.equal((await harness.post("/flagger/gate/rollback", body)).status, 400, body);
    }
    await done();
  });

  it("GET on a gate returns 405 with a body", async () => {
    for (const name of GATES) {
      const { status, headers, body } = await harness.get(`/flagger/gate/${name}`, "flagger");
      assert.deepEqual([status, headers.get("allow"), body.errorType], [405, "POST", "method_not_allowed"]);
    }
    await done();
  });

  it("a latched failure opens rollback and closes the confirm gates; a newer revision is not rolled back for it", async () => {
    await harness.publish(aVerdict({ verdict: "fail", run: { controller_revision: "v2", promotable: true, gated: true } }));
    const about = (version: string) => ({ metadata: { version } });
    assert.equal((await gate("rollback", about("v2"))).status, 200);
    for (const name of ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"]) {
      assert.equal((await gate(name, about("v2"))).status, 403, name);
    }
    assert.equal((await gate("rollback", about("v3"))).status, 403);
    assert.equal((await gate("confirm-rollout", about("v3"))).status, 200);
    await done();
  });

  it("confirm-rollout announces the revision of its metadata, once, with the token that named it", async () => {
    const hash = "d".repeat(64);
    for (let count = 0; count < 3; count += 1) {
      assert.equal((await gate("confirm-rollout", { metadata: { version: "v3", skill_hash: hash } })).status, 200);
    }
    const stored = await harness.stored("INPUTS");
    assert.deepEqual(
      stored.map(({ value }) => [value.verb, value.revision, value.skill_hash, value.gate, value.by]),
      [["announce", "v3", hash, "confirm-rollout", "flagger"]],
    );
    await done();
  });

  it("a gate's answer is logged at info with the caller, the revision and the verdict that it is based on", async () => {
    await harness.publish(aVerdict({ verdict: "hold", reasons: [aReason("skill_skew")], run: { controller_revision: "v2" } }));
    const { status, text } = await gate("confirm-rollout", { metadata: { version: "v2" } });
    assert.equal(status, 403);
    const [line, ...more] = harness.log.filter(({ event }) => event === "gate.answered");
    assert.deepEqual(more, []);
    assert.deepEqual(
      [line?.level, line?.gate, line?.caller, line?.caller_class, line?.revision, line?.allowed, line?.verdict, line?.answer],
      ["info", "confirm-rollout", "flagger", "flagger", "v2", false, "hold", text.trimEnd()],
    );
    await gate("rollback", {}, "operator");
    assert.equal(harness.log.findLast(({ event }) => event === "gate.answered")?.caller, "operator");
    await done();
  });

  it("a stored control message is logged once at info with its caller", async () => {
    const event = flaggerBody({ phase: "", metadata: { eventMessage: "Advance x.y canary weight 20", timestamp: "1" } });
    for (let delivery = 0; delivery < 2; delivery += 1) await harness.post("/flagger/events", event);
    const lines = harness.log.filter(({ event: name }) => name === "control_message.accepted");
    assert.deepEqual(
      lines.map(({ level, verb, caller, canary }) => [level, verb, caller, canary]),
      [["info", "weight", "flagger", "prod/payments-gateway"]],
    );
    await done();
  });

  it("an operator's call to a gate is answered and stores nothing", async () => {
    assert.equal((await gate("confirm-rollout", { metadata: { version: "v3" } }, "operator")).status, 200);
    assert.deepEqual(await harness.stored("INPUTS"), []);
    await done();
  });

  it("another controller's token is rejected on a gate", async () => {
    assert.equal((await gate("confirm-rollout", {}, "rollouts")).status, 403);
    await until("the incident is stored", async () => (await harness.stored("INCIDENTS")).length === 1);
    await done();
  });

  it("events are acknowledged once stored, in any order, and a duplicate delivery is stored once", async () => {
    const event = (message: string, timestamp: string) => ({
      metadata: { eventMessage: message, eventType: "Normal", timestamp },
    });
    const deliver = (message: string, timestamp: string) =>
      harness.post("/flagger/events", flaggerBody(event(message, timestamp)));
    for (const [message, timestamp] of [
      ["Advance payments-gateway.prod canary weight 20", "2"],
      ["Advance payments-gateway.prod canary weight 10", "1"],
      ["Advance payments-gateway.prod canary weight 20", "2"],
    ] as const) {
      assert.equal((await deliver(message, timestamp)).status, 200);
    }
    const weights = (await harness.stored("INPUTS")).filter(({ value }) => value.verb === "weight");
    assert.deepEqual(
      weights.map(({ value }) => value.weight),
      [20, 10],
    );
    assert.equal((await harness.post("/flagger/events", flaggerBody({ name: "not-configured" }))).status, 200);
    await done();
  });

  it("an event that cannot be stored is 503, a grant that cannot be stored is 403, and other gates still follow the table", async () => {
    await done();
    const failing = new Error("no broker");
    harness = await startHarness({
      verdicts: [aVerdict({ run: { controller_revision: "v2" } })],
      bus: (bus) => Object.assign(Object.create(bus), { publish: () => Promise.reject(failing) }),
    });
    const event = flaggerBody({ metadata: { eventMessage: "Advance x.y canary weight 20", timestamp: "1" } });
    assert.equal((await harness.post("/flagger/events", event)).status, 503);
    assert.equal(
      (await gate("pre-rollout", { metadata: { version: "v3" } })).status,
      200,
      "a rejection here would count as a failed check",
    );
    assert.equal((await gate("confirm-rollout", { metadata: { version: "v3" } })).status, 403);
    assert.equal(
      (await gate("confirm-traffic-increase", { metadata: { version: "v2" } })).status,
      403,
      "the grant is unknown to the evaluator",
    );
    await done();
  });

  it("the events of one canary are rate-limited", async () => {
    const answers: number[] = [];
    for (let count = 0; count < LIMITS.controlBurst + 10; count += 1) {
      const metadata = { eventMessage: "Advance x.y canary weight 20", timestamp: String(count) };
      answers.push((await harness.post("/flagger/events", flaggerBody({ phase: "", metadata }))).status);
    }
    assert.ok(answers.slice(0, LIMITS.controlBurst).every((status) => status === 200));
    assert.equal(answers.at(-1), 403);
    assert.equal((await harness.stored("INPUTS")).length, LIMITS.controlBurst);
    await done();
  });
});

describe("two controllers on one canary", () => {
  start();

  it("the second gets the same verdict, marked, and raises one incident; KEDA and operators do not conflict", async () => {
    const path = "/rollouts/analysis?namespace=prod&rollout=payments-gateway";
    assert.equal("caller_conflict" in (await harness.get("/flagger/metrics", "flagger")).body, false);
    assert.equal("caller_conflict" in (await harness.get("/keda/metrics", "keda")).body, false);
    assert.equal("caller_conflict" in (await harness.get(path, "operator")).body, false);
    for (let count = 0; count < 3; count += 1) {
      const { status, body } = await harness.get(path, "rollouts");
      assert.deepEqual([status, body.verdict, body.caller_conflict], [200, "pass", true]);
    }
    await until("the incident is stored", async () => (await harness.stored("INCIDENTS")).length > 0);
    const incidents = await harness.stored("INCIDENTS");
    assert.equal(incidents.length, 1);
    assert.equal(incidents[0]?.subject, "incidents.prod.payments-gateway.caller_conflict");
    harness.clock.advance(60_000);
    await harness.renewLease();
    assert.equal("caller_conflict" in (await harness.get(path, "rollouts")).body, false);
  });
});

describe("without an evaluator", () => {
  start({ verdicts: [], lease: false });

  it("every request gets a hold from the start", async () => {
    for (const path of ["/rollouts/analysis", "/flagger/metrics", "/keda/metrics"]) {
      const { status, body } = await harness.get(path);
      assert.deepEqual([status, body.verdict, body.stale, body.degraded], [200, "hold", true, true]);
      assert.match(JSON.stringify(body.reasons), /evaluator_down/);
    }
    assert.equal(await sample(`/flagger/api/v1/query?query=${QUERY}`, "flagger"), "0");
    const { status } = await harness.post("/flagger/gate/confirm-rollout", flaggerBody());
    assert.equal(status, 403);
  });
});

describe("an evaluator that has just started", () => {
  start({ verdicts: [] });

  it("is a hold not_ready in every dialect until it publishes its first verdict", async () => {
    for (const path of ["/rollouts/analysis", "/flagger/metrics", "/keda/metrics"]) {
      const { status, body } = await harness.get(path);
      assert.deepEqual([status, body.verdict, body.stale, body.degraded], [200, "hold", true, true]);
      const [reason] = body.reasons as unknown as { code: string; text: string }[];
      assert.equal(reason?.code, "not_ready");
      assert.match(reason?.text ?? "", /has not published a verdict for this canary yet/);
    }
    const { scale } = (await harness.get("/keda/metrics")).body as { scale?: { allow: number; reasons: string[] } };
    assert.deepEqual([scale?.allow, scale?.reasons], [0, ["not_ready"]]);
    // A 0 would count as a failed check of a healthy canary.
    const early = await harness.get(`/flagger/api/v1/query?query=${QUERY}`, "flagger");
    assert.deepEqual([early.status, early.body.errorType], [503, "unavailable"]);
    harness.clock.advance(LIMITS.catchUpLimitMs);
    await harness.renewLease();
    await until("the lease is read", async () => (await harness.get("/rollouts/analysis")).body.verdict === "hold");
    assert.equal(await sample(`/flagger/api/v1/query?query=${QUERY}`, "flagger"), "0");
    for (const gate of ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion", "rollback"]) {
      const { status, text } = await harness.post(`/flagger/gate/${gate}`, flaggerBody());
      assert.equal(status, 403, `${gate}: ${text}`);
    }
    await harness.publish(aVerdict());
    assert.equal((await harness.get("/rollouts/analysis")).body.verdict, "pass");
  });
});

describe("an evaluator that stops", () => {
  start();

  it("turns a pass into a hold after 15 s without a lease, or after valid_until, and back; a failure stays", async () => {
    const verdict = async () => (await harness.get("/rollouts/analysis")).body.verdict;
    harness.clock.advance(14_999);
    assert.equal(await verdict(), "pass");
    harness.clock.advance(1);
    assert.equal(await verdict(), "hold");
    await harness.renewLease();
    await until("it is a pass again", async () => (await verdict()) === "pass");
    harness.clock.advance(700_000);
    await harness.renewLease();
    assert.equal(await verdict(), "hold");
    await harness.publish(aVerdict({ verdict: "fail" }));
    const { body } = await harness.get("/rollouts/analysis");
    assert.deepEqual([body.verdict, body.stale], ["fail", true]);
  });

  it("an unreadable record is logged and changes nothing", async () => {
    const before = (await harness.get("/rollouts/analysis")).body.id;
    for (const data of [
      "not json",
      "{}",
      JSON.stringify(aVerdict({ subject: { namespace: "prod", name: "other", fleet: "payments" } })),
    ]) {
      await harness.bus.publish({ subject: "verdicts.prod.payments-gateway", data });
    }
    await until("three lines are logged", () => harness.log.filter(({ event }) => event === "record.unreadable").length === 3);
    assert.equal((await harness.get("/rollouts/analysis")).body.id, before);
  });
});
