/** Who is let in, who is not, and what is said about it. */
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { aFleet, aVerdict } from "@aviary/shared/testing/builders.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { LIMITS } from "../src/limits.ts";
import { flaggerBody, startWorld, TOKENS, type World } from "./harness.ts";

let world: World;
afterEach(() => world[Symbol.asyncDispose]());
const refusals = () => world.log.filter(({ msg }) => String(msg).startsWith("refused"));

describe("credentials", () => {
  it("nobody without a valid token gets more than one constant 401, whatever is wrong", async () => {
    world = await startWorld({ verdicts: [aVerdict()] });
    const answers = await Promise.all(
      (
        [
          {},
          { authorization: "Bearer nope" },
          { authorization: "Basic !!!" },
          { authorization: "Digest x" },
          { "x-api-key": "nope" },
        ] as Record<string, string>[]
      ).map((headers) => world.get("/flagger/metrics", null, { headers })),
    );
    assert.deepEqual([...new Set(answers.map(({ status, text }) => `${status} ${text}`))].length, 1);
    assert.equal(answers[0]?.status, 401);
    assert.equal(answers[0]?.headers.get("content-type"), "application/json");
    assert.match(answers[0]?.headers.get("www-authenticate") ?? "", /^Basic/);
    for (const path of ["/", "/api/v1/canaries", "/api/v1/stream", "/openapi.json", "/flagger/gate/rollback"]) {
      const { status } = await world.get(path, null, path.includes("gate") ? { method: "POST", body: "{}" } : {});
      assert.equal(status, 401, path);
    }
  });

  it("of several Authorization headers any valid one counts, also of five hundred (items 8 and 9)", async () => {
    world = await startWorld({ verdicts: [aVerdict()] });
    const { request } = await import("node:http");
    const statusWith = (values: string[]) =>
      new Promise<number>((resolve, reject) => {
        const sent = request(`${world.shim.url}/flagger/metrics`, (response) => {
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

  it("a token that is taken back is refused within a second, also on an open connection", async () => {
    world = await startWorld({ verdicts: [aVerdict()] });
    const { request, Agent } = await import("node:http");
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const statusWith = (token: string) =>
      new Promise<number>((resolve, reject) => {
        const sent = request(
          `${world.shim.url}/flagger/metrics`,
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

describe("a refusal", () => {
  it("is logged with namespace, name and measurement, and is one incident", async () => {
    world = await startWorld({ verdicts: [aVerdict()] });
    await world.get("/rollouts/analysis?namespace=prod&rollout=payments-gateway", null);
    const answer = await world.get("/flagger/gate/rollback", null, { method: "POST", body: JSON.stringify(flaggerBody()) });
    assert.equal(answer.status, 401);
    await until("both are logged", () => refusals().length === 2);
    for (const line of refusals()) {
      assert.deepEqual([line.namespace, line.name, line.measurement_index], ["prod", "payments-gateway", 6]);
    }
    await until("the incident is stored", async () => (await world.stored("INCIDENTS")).length > 0);
    const [stored, ...more] = await world.stored("INCIDENTS");
    assert.deepEqual(more, []);
    assert.equal(stored?.subject, "incidents.prod.payments-gateway.auth_failed");
    const facts = stored?.value.facts as Record<string, unknown>;
    assert.deepEqual(
      [facts.namespace, facts.name, facts.measurement_index, facts.reason],
      ["prod", "payments-gateway", 6, "missing_credentials"],
    );
  });

  it("without credentials on a page or the API is the browser's first request: logged at info, and no incident", async () => {
    world = await startWorld({ verdicts: [aVerdict()] });
    assert.equal((await world.get("/", null)).status, 401);
    assert.equal((await world.get("/api/v1/canaries", null)).status, 401);
    await world.get("/api/v1/canaries", null, { headers: { authorization: "Bearer not-a-token" } });
    await until("all three are logged", () => refusals().length === 3);
    assert.deepEqual(
      refusals().map(({ level, reason }) => [level, reason]),
      [
        ["info", "missing_credentials"],
        ["info", "missing_credentials"],
        ["warn", "unknown_token"],
      ],
    );
    await until("the wrong token is an incident", async () => (await world.stored("INCIDENTS")).length > 0);
    const reasons = (await world.stored("INCIDENTS")).map(({ value }) => (value.facts as { reason: string }).reason);
    assert.deepEqual(reasons, ["unknown_token"]);
  });

  it("never shows what was sent", async () => {
    world = await startWorld({ verdicts: [aVerdict()] });
    await world.get("/flagger/metrics?api_key=avy_secret-in-the-query", null, {
      headers: { authorization: "Bearer avy_secret-in-a-header" },
    });
    await until("it is logged", () => refusals().length === 1);
    await until("the incident is stored", async () => (await world.stored("INCIDENTS")).length === 1);
    assert.equal(JSON.stringify([world.log, await world.stored("INCIDENTS")]).includes("secret-in"), false);
  });

  it("repeated a thousand times by one source is a few lines and one incident, and every one is answered", async () => {
    world = await startWorld({ verdicts: [aVerdict()] });
    for (let round = 0; round < 20; round += 1) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => world.get("/flagger/metrics", null)));
      assert.ok(answers.every(({ status }) => status === 401));
    }
    assert.equal(refusals().length, LIMITS.refusalBurst);
    assert.equal((await world.stored("INCIDENTS")).length, 1);
    world.clock.advance(60_000);
    await world.get("/flagger/metrics", null);
    assert.equal(refusals().at(-1)?.suppressed, 990);
  });
});

describe("namespaces", () => {
  it("a token for one namespace sees and asks about that one only", async () => {
    const canary = { fleet: "payments", policy: "p.yaml" };
    world = await startWorld({ fleet: aFleet({ canaries: { "prod/gw": canary, "stage/gw": canary }, lanes: {} }) });
    const mine = await world.get("/rollouts/analysis?namespace=prod&rollout=gw", "prod-only");
    assert.equal(mine.status, 200);
    const other = await world.get("/rollouts/analysis?namespace=stage&rollout=gw", "prod-only");
    assert.deepEqual([other.status, other.body.errorType], [403, "forbidden"]);
    assert.equal(
      (await world.get("/rollouts/analysis?rollout=gw", "prod-only")).body.rollout,
      "gw",
      "the only one that it may see",
    );
    const { body } = await world.get("/api/v1/canaries", "prod-only");
    assert.equal((body.canaries as unknown as unknown[]).length, 1);
    assert.equal((await world.get("/api/v1/canaries/stage/gw", "prod-only")).status, 404);
    await until("the incident is stored", async () => (await world.stored("INCIDENTS")).length === 1);
  });
});
