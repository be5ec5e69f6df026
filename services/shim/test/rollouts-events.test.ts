/** Ends that Argo Rollouts reports through its notifications, and the retry that follows a failure. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, describe, it } from "node:test";
import type { RevisionEntry } from "@aviary/shared/contract/verdict.ts";
import { aReason, aVerdict } from "@aviary/shared/testing/builders.ts";
import { passTime } from "@aviary/shared/testing/pass-time.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { readRolloutEnd } from "../src/adapters/rollouts-payload.ts";
import { LIMITS } from "../src/limits.ts";
import { type HarnessOptions, type ShimHarness, startHarness, type TokenName } from "./harness.ts";

const ENDED = { namespace: "prod", rollout: "payments-gateway", revision: "6d5f", phase: "Aborted" };

let harness: ShimHarness | undefined;
async function start(options: HarnessOptions = {}): Promise<ShimHarness> {
  harness = await startHarness({ verdicts: [aVerdict({ run: { controller_revision: "6d5f", seat: "rollouts" } })], ...options });
  return harness;
}
afterEach(async () => {
  await harness?.[Symbol.asyncDispose]();
  harness = undefined;
});

const entry = (change: Partial<RevisionEntry> = {}): RevisionEntry => ({
  name: "6d5f",
  attempt: 1,
  state: "failed",
  at: "2026-11-21T09:00:00.000Z",
  end_reported: true,
  ended_by: "controller",
  ...change,
});
/** A run of 6d5f that failed and whose canary slice was restored. */
const restored = (change: Partial<RevisionEntry> = {}, run = {}) =>
  aVerdict({
    verdict: "fail",
    reasons: [aReason("over_5xx"), aReason("latched")],
    current: [],
    run: { state: "failed", canary_active: false, controller_revision: "6d5f", seat: "rollouts", ...run },
    revisions: [entry(change)],
  });

describe("POST /rollouts/events", () => {
  for (const [phase, result] of [
    ["Aborted", "failed"],
    ["Completed", "succeeded"],
  ] as const) {
    it(`stores the end of the named revision: ${phase} is ${result}`, async () => {
      const { post, stored } = await start();
      const { status, text } = await post("/rollouts/events", { ...ENDED, phase }, "rollouts");
      assert.deepEqual([status, text], [200, "stored\n"]);
      const [message] = await stored("INPUTS");
      const { verb, caller, by, revision, result: end } = message!.value;
      assert.deepEqual(
        { verb, caller, by, revision, end },
        { verb: "end", caller: "rollouts", by: "rollouts", revision: "6d5f", end: result },
      );
    });
  }

  it("stores one end for several notifications of one rollout", async () => {
    const { post, stored } = await start();
    for (let trigger = 0; trigger < 3; trigger += 1) await post("/rollouts/events", ENDED, "rollouts");
    assert.equal((await stored("INPUTS")).length, 1);
  });

  it("accepts tokens of the classes rollouts and operator only", async () => {
    const { post, stored } = await start();
    const statusOf = async (token: TokenName | null) => (await post("/rollouts/events", ENDED, token)).status;
    assert.deepEqual(
      [await statusOf("flagger"), await statusOf("keda"), await statusOf("flux"), await statusOf(null)],
      [403, 403, 403, 401],
    );
    assert.deepEqual(await stored("INPUTS"), []);
    assert.equal(await statusOf("operator"), 200);
  });

  it("rejects a token of another namespace", async () => {
    const { post } = await start();
    assert.equal((await post("/rollouts/events", { ...ENDED, namespace: "dev" }, "prod-only")).status, 403);
  });

  it("rejects a body without a complete end, with the expected fields", async () => {
    const { post, stored } = await start();
    const bodies: unknown[] = ["", "{", "null", "[]", {}, { ...ENDED, phase: "Progressing" }, { ...ENDED, phase: "aborted" }];
    for (const key of Object.keys(ENDED)) bodies.push({ ...ENDED, [key]: undefined }, { ...ENDED, [key]: "<no value>" });
    bodies.push({ ...ENDED, revision: "" }, { ...ENDED, revision: "x".repeat(129) }, { ...ENDED, revision: 7 });
    for (const body of bodies) {
      const { status, text } = await post("/rollouts/events", body, "rollouts");
      assert.equal(status, 400, JSON.stringify(body));
      assert.match(text, /expected a JSON object with namespace, rollout, revision and phase \(Completed or Aborted\)/);
    }
    assert.deepEqual(await stored("INPUTS"), []);
  });

  it("rejects a body over the limit", async () => {
    const { post } = await start();
    const { status } = await post("/rollouts/events", { ...ENDED, more: "x".repeat(LIMITS.bodyBytes) }, "rollouts");
    assert.equal(status, 413);
  });

  it("ignores a rollout that is not configured, and one that another controller judges", async () => {
    const { post, stored } = await start({ verdicts: [aVerdict({ run: { controller_revision: "v2", seat: "flagger" } })] });
    assert.match((await post("/rollouts/events", { ...ENDED, rollout: "other" }, "rollouts")).text, /^ignored: no canary/);
    assert.match((await post("/rollouts/events", ENDED, "rollouts")).text, /^ignored: another controller/);
    assert.deepEqual(await stored("INPUTS"), []);
  });

  it("returns 503 while the broker is away, and stores the end once it is back", async () => {
    const broker = { isUp: false };
    const shim = await start({
      bus: (bus) =>
        Object.assign(Object.create(bus), {
          publish: (...message: Parameters<typeof bus.publish>) =>
            broker.isUp ? bus.publish(...message) : Promise.reject(new Error("no broker")),
        }),
    });
    assert.equal((await shim.post("/rollouts/events", ENDED, "rollouts")).status, 503);
    broker.isUp = true;
    await passTime(shim.clock, 2 * LIMITS.retryStoreMs, 100);
    await until("the end is stored", async () => (await shim.stored("INPUTS")).length === 1);
    assert.equal((await shim.post("/rollouts/events", ENDED, "rollouts")).status, 200, "a repeated notification is one message");
    assert.equal((await shim.stored("INPUTS")).length, 1);
  });

  it("stores nothing for an end that was reported already", async () => {
    const { post, stored } = await start({ verdicts: [restored()] });
    assert.equal((await post("/rollouts/events", ENDED, "rollouts")).status, 200);
    assert.deepEqual(await stored("INPUTS"), []);
  });
});

describe("a measurement of a revision that failed", () => {
  const measure = async (record: ReturnType<typeof aVerdict>, token: TokenName = "rollouts", revision = "6d5f") => {
    const { post } = await start({ verdicts: [record] });
    const { body } = await post("/rollouts/analysis", { namespace: "prod", rollout: "payments-gateway", revision }, token);
    await harness![Symbol.asyncDispose]();
    harness = undefined;
    return body.verdict;
  };

  it("is a hold once its run is over and its end was reported: the call asks for the next attempt", async () => {
    assert.equal(await measure(restored()), "hold");
  });

  it("is a fail until its end was reported, until it is restored, and for everybody but the judging caller", async () => {
    assert.equal(await measure(restored({ end_reported: false })), "fail");
    assert.equal(await measure(restored({}, { canary_active: true })), "fail");
    assert.equal(await measure(restored(), "operator"), "fail");
    assert.equal(await measure(restored(), "flagger"), "fail");
  });

  it("is a hold after a newer run too, and a fail while that one is open", async () => {
    const newer = (state: "aborted" | "active") =>
      aVerdict({
        run: { state, canary_active: state === "active", controller_revision: "7e60", seat: "rollouts" },
        revisions: [entry(), entry({ name: "7e60", state })],
      });
    assert.equal(await measure(newer("aborted")), "hold");
    assert.equal(await measure(newer("active")), "fail");
  });
});

describe("the published notification templates", () => {
  it("render to bodies that are accepted", () => {
    const docs = readFileSync(new URL("../../../docs/controllers.md", import.meta.url), "utf8");
    const values: Readonly<Record<string, string>> = {
      ".rollout.metadata.namespace": "prod",
      ".rollout.metadata.name": "payments-gateway",
      ".rollout.status.currentPodHash": "6d5f",
    };
    const bodies = [...docs.matchAll(/^ +(\{"namespace": .*\})$/gm)].map(([, body]) =>
      body!.replaceAll(/\{\{([^}]+)\}\}/g, (_, path: string) => values[path] ?? "<no value>"),
    );
    assert.deepEqual(
      bodies.map((body) => readRolloutEnd(JSON.parse(body))?.result),
      ["succeeded", "failed"],
    );
  });
});
