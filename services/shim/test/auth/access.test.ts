/** Authentication and authorization over HTTP, and the records of rejected requests. */
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { aFleet, aVerdict } from "@aviary/shared/testing/builders.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { hashToken } from "../../src/auth/tokens.ts";
import { LIMITS } from "../../src/limits.ts";
import { EXPIRES_AFTER_MS, flaggerBody, type ShimHarness, startHarness, TOKENS } from "../harness.ts";

let harness: ShimHarness;
afterEach(() => harness[Symbol.asyncDispose]());
const rejections = () => harness.log.filter(({ event }) => event === "auth.refused");
const challenges = () => harness.log.filter(({ event }) => event === "auth.challenged");

describe("credentials", () => {
  it("a request without a valid token gets the same 401 for every cause", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    const answers = await Promise.all(
      (
        [
          {},
          { authorization: "Bearer nope" },
          { authorization: "Basic !!!" },
          { authorization: "Digest x" },
          { "x-api-key": "nope" },
        ] as Record<string, string>[]
      ).map((headers) => harness.get("/flagger/metrics", null, { headers })),
    );
    assert.deepEqual([...new Set(answers.map(({ status, text }) => `${status} ${text}`))].length, 1);
    assert.equal(answers[0]?.status, 401);
    assert.equal(answers[0]?.headers.get("content-type"), "application/json");
    assert.match(answers[0]?.headers.get("www-authenticate") ?? "", /^Basic/);
    for (const path of ["/", "/api/v1/canaries", "/api/v1/stream", "/openapi.json", "/flagger/gate/rollback"]) {
      const { status } = await harness.get(path, null, path.includes("gate") ? { method: "POST", body: "{}" } : {});
      assert.equal(status, 401, path);
    }
  });

  it("one valid token among several Authorization headers is accepted, even among five hundred", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    const { request } = await import("node:http");
    const statusWith = (values: string[]) =>
      new Promise<number>((resolve, reject) => {
        const sent = request(`${harness.shim.url}/flagger/metrics`, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        });
        sent.setHeader("authorization", values);
        sent.on("error", reject).end();
      });
    const good = `Bearer ${TOKENS.flagger}`;
    assert.equal(await statusWith(["Bearer old", good]), 200);
    assert.equal(await statusWith([good, "Bearer old"]), 200);
    assert.equal(await statusWith([...Array.from({ length: 500 }, (_, index) => `Bearer old-${index}`), good]), 200);
    assert.equal(await statusWith(["Bearer old", "Bearer older"]), 401);
  });

  it("a different credential on a cached connection is rejected", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    const { request, Agent } = await import("node:http");
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const statusWith = (token: string) =>
      new Promise<number>((resolve, reject) => {
        const sent = request(
          `${harness.shim.url}/flagger/metrics`,
          { agent, headers: { authorization: `Bearer ${token}` } },
          (response) => {
            response.resume().on("end", () => resolve(response.statusCode ?? 0));
          },
        );
        sent.on("error", reject).end();
      });
    assert.equal(await statusWith(TOKENS.flagger), 200);
    assert.equal(await statusWith(TOKENS.flagger), 200);
    assert.equal(await statusWith("token-flaggeR"), 401, "another credential on the same connection");
    assert.equal(await statusWith(TOKENS.flagger), 200);
    agent.destroy();
  });
});

describe("a rejected request", () => {
  it("is logged with namespace, name and measurement, and raises one incident", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    await harness.get("/rollouts/analysis?namespace=prod&rollout=payments-gateway", null);
    const answer = await harness.get("/flagger/gate/rollback", null, { method: "POST", body: JSON.stringify(flaggerBody()) });
    assert.equal(answer.status, 401);
    await until("both are logged", () => rejections().length === 2);
    for (const line of rejections()) {
      assert.deepEqual([line.namespace, line.name, line.measurement_index], ["prod", "payments-gateway", 6]);
    }
    await until("the incident is stored", async () => (await harness.stored("INCIDENTS")).length > 0);
    const [stored, ...more] = await harness.stored("INCIDENTS");
    assert.deepEqual(more, []);
    assert.equal(stored?.subject, "incidents.prod.payments-gateway.auth_failed");
    const facts = stored?.value.facts as Record<string, unknown>;
    assert.deepEqual(
      [facts.namespace, facts.name, facts.measurement_index, facts.reason],
      ["prod", "payments-gateway", 6, "missing_credentials"],
    );
  });

  it("without credentials on the dashboard or the API is a challenge: it is logged at info and raises no incident", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    assert.equal((await harness.get("/", null)).status, 401);
    assert.equal((await harness.get("/api/v1/canaries", null)).status, 401);
    await harness.get("/api/v1/canaries", null, { headers: { authorization: "Bearer not-a-token" } });
    await until("the rejection is logged", () => rejections().length === 1);
    assert.deepEqual(
      challenges().map(({ level, reason }) => [level, reason]),
      [
        ["info", "missing_credentials"],
        ["info", "missing_credentials"],
      ],
    );
    assert.deepEqual([rejections()[0]?.level, rejections()[0]?.reason], ["warn", "unknown_token"]);
    await until("the incident is stored", async () => (await harness.stored("INCIDENTS")).length > 0);
    const reasons = (await harness.stored("INCIDENTS")).map(({ value }) => (value.facts as { reason: string }).reason);
    assert.deepEqual(reasons, ["unknown_token"]);
  });

  it("is recorded regardless of how many challenges its source has caused before", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    const pageLoads = LIMITS.rejectionLogBurst + 5;
    for (let load = 0; load < pageLoads; load += 1) await harness.get("/", null);
    assert.equal(challenges().length, LIMITS.rejectionLogBurst, "further challenges are only counted");
    await harness.get("/", null, { headers: { authorization: "Bearer not-a-token" } });
    await until("the rejection is logged", () => rejections().length === 1);
    assert.deepEqual([rejections()[0]?.level, rejections()[0]?.reason], ["warn", "unknown_token"]);
    assert.equal(rejections()[0]?.suppressed, undefined, "suppressed challenges are not counted as rejections");
    await until("the incident is stored", async () => (await harness.stored("INCIDENTS")).length === 1);
    harness.clock.advance(60_000);
    await harness.get("/", null);
    assert.equal(challenges().at(-1)?.suppressed, 5);
  });

  it("without credentials raises an incident on every controller's route, and on no other", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    const other = ["/", "/api/v1/canaries", "/api/v1/stream", "/openapi.json", "/schemas/verdict.json"];
    for (const path of other) assert.equal((await harness.get(path, null)).status, 401, path);
    const controller = ["/flagger/metrics", "/rollouts/analysis", "/keda/metrics"];
    for (const path of controller) assert.equal((await harness.get(path, null)).status, 401, path);
    await until("all are logged", () => rejections().length + challenges().length === other.length + controller.length);
    assert.deepEqual(
      challenges().map(({ path }) => path),
      other,
    );
    assert.deepEqual(
      rejections().map(({ path }) => path),
      controller,
    );
  });

  it("with an expired token is logged with the token's id and hash digits, and raises an incident, even on the dashboard", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    harness.clock.advance(EXPIRES_AFTER_MS - 1);
    assert.equal((await harness.get("/", "expiring")).status, 200, "accepted until its end");
    // An accepted credential is remembered for one second per connection.
    harness.clock.advance(1_000);
    const answer = await harness.get("/", "expiring");
    assert.deepEqual([answer.status, answer.body.errorType], [401, "unauthorized"]);
    assert.equal(answer.text.includes("expired"), false, "the response does not reveal the cause");
    const [line] = rejections();
    assert.deepEqual([line?.level, line?.reason], ["warn", "expired_token"]);
    assert.equal(line?.token_id, hashToken(TOKENS.expiring).slice(0, 8));
    assert.match(String(line?.msg), /the token expiring has expired/);
    await until("the incident is stored", async () => (await harness.stored("INCIDENTS")).length === 1);
  });

  it("with a valid token but without the permission is never a challenge: it causes a warning and an incident on every route", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    const answer = await harness.post("/flagger/gate/rollback", flaggerBody(), "rollouts");
    assert.deepEqual([answer.status, answer.body.errorType], [403, "forbidden"]);
    const other = await harness.get("/rollouts/analysis?namespace=stage&rollout=gw", "prod-only");
    assert.equal(other.status, 403);
    assert.deepEqual(
      rejections().map(({ level, reason }) => [level, reason]),
      [
        ["warn", "forbidden"],
        ["warn", "forbidden"],
      ],
    );
    assert.deepEqual(challenges(), []);
    await until("both incidents are stored", async () => (await harness.stored("INCIDENTS")).length === 2);
  });

  it("is recorded without its credentials", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    await harness.get("/flagger/metrics?api_key=avy_secret-in-the-query", null, {
      headers: { authorization: "Bearer avy_secret-in-a-header" },
    });
    await until("it is logged", () => rejections().length === 1);
    await until("the incident is stored", async () => (await harness.stored("INCIDENTS")).length === 1);
    assert.equal(JSON.stringify([harness.log, await harness.stored("INCIDENTS")]).includes("secret-in"), false);
  });

  it("repeated a thousand times by one source causes a few log lines and one incident, and a 401 for each", async () => {
    harness = await startHarness({ verdicts: [aVerdict()] });
    for (let round = 0; round < 20; round += 1) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => harness.get("/flagger/metrics", null)));
      assert.ok(answers.every(({ status }) => status === 401));
    }
    assert.equal(rejections().length, LIMITS.rejectionLogBurst);
    assert.equal((await harness.stored("INCIDENTS")).length, 1);
    harness.clock.advance(60_000);
    await harness.get("/flagger/metrics", null);
    assert.equal(rejections().at(-1)?.suppressed, 990);
  });
});

describe("namespaces", () => {
  it("a token for one namespace lists and reads that namespace only", async () => {
    const canary = { fleet: "payments", policy: "p.yaml" };
    harness = await startHarness({ fleet: aFleet({ canaries: { "prod/gw": canary, "stage/gw": canary }, lanes: {} }) });
    const mine = await harness.get("/rollouts/analysis?namespace=prod&rollout=gw", "prod-only");
    assert.equal(mine.status, 200);
    const other = await harness.get("/rollouts/analysis?namespace=stage&rollout=gw", "prod-only");
    assert.deepEqual([other.status, other.body.errorType], [403, "forbidden"]);
    assert.equal(
      (await harness.get("/rollouts/analysis?rollout=gw", "prod-only")).body.rollout,
      "gw",
      "the only canary that it may read",
    );
    const { body } = await harness.get("/api/v1/canaries", "prod-only");
    assert.equal((body.canaries as unknown as unknown[]).length, 1);
    assert.equal((await harness.get("/api/v1/canaries/stage/gw", "prod-only")).status, 404);
    await until("the incident is stored", async () => (await harness.stored("INCIDENTS")).length === 1);
  });
});
