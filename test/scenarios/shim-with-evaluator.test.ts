/** Complete rollouts: Flagger's sequence of requests, the shim, the evaluator and a fleet, on one bus and one manual clock. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { aFleet } from "@aviary/shared/testing/builders.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { nextTurn } from "@aviary/shared/testing/pass-time.ts";
import { until } from "@aviary/shared/testing/until.ts";
import {
  CANARY,
  createSimulatedFleet,
  NEW_PACK,
  STABLE_PACK,
  START_MS,
} from "../../services/evaluator/test/core/simulated-fleet.ts";
import { passTick, startLiveEvaluator } from "../../services/evaluator/test/live-fleet.ts";
import { createTokenStore, hashToken } from "../../services/shim/src/auth/tokens.ts";
import { startShim } from "../../services/shim/src/service.ts";
import { TOKENS } from "../../services/shim/test/harness.ts";
import { createFlagger, type Flagger, type Phase } from "../closed-loop/actors/flagger.ts";

const INTERVAL_S = 10;

async function startAll(metadata: boolean) {
  const clock = manualClock(START_MS);
  const bus = createMemoryBus({ clock });
  const fleet = createSimulatedFleet({ azs: ["az-a"] });
  const evaluator = startLiveEvaluator({ bus, clock, config: fleet.config, holder: "only" });
  const entries = (["flagger", "operator"] as const).map((caller) => ({ id: caller, caller, sha256: hashToken(TOKENS[caller]) }));
  const store = createTokenStore(entries);
  const tokens = {
    authenticate: (request: Parameters<typeof store.authenticate>[0]) => store.authenticate(request, clock.now()),
  };
  const shim = await startShim({ bus, fleet: aFleet(), tokens, port: 0, clock, logger: silentLogger });
  await until("the shim has read everything", () => shim.notReady() === undefined);
  const flagger = createFlagger({
    ...CANARY,
    metadata: (revision) => (metadata ? { version: revision } : {}),
    // Userinfo of the webhook's URL becomes Basic.
    post: async (path, body) => {
      const headers = { "content-type": "application/json", authorization: `Basic ${btoa(`flagger:${TOKENS.flagger}`)}` };
      const response = await fetch(shim.url + path, { method: "POST", headers, body });
      return { status: response.status, body: await response.text() };
    },
    measure: async () => {
      const query = encodeURIComponent(`aviary_verdict{namespace="${CANARY.namespace}",canary="${CANARY.name}"}`);
      const headers = { authorization: `Bearer ${TOKENS.flagger}` };
      const response = await fetch(`${shim.url}/flagger/api/v1/query?query=${query}`, { headers });
      const { data } = (await response.json()) as { data: { result: { value: [number, string] }[] } };
      return Number(data.result.at(-1)?.value[1]);
    },
    steps: [20, 40],
    threshold: 2,
    now: clock.now,
  });

  /** Lets an interval pass, in which the fleet reports, and then Flagger's tick. */
  const interval = async (): Promise<void> => {
    for (let second = 0; second < INTERVAL_S; second += 5) await passTick(fleet, bus, clock);
    await flagger.tick();
    await nextTurn();
  };
  const askRun = async () => {
    const response = await fetch(`${shim.url}/api/v1/canaries/prod/payments-gateway`, {
      headers: { authorization: `Bearer ${TOKENS.operator}` },
    });
    return (await response.json()) as {
      verdict: string;
      run: { state: string; controller_revision: string; gated: boolean; canary_active: boolean } | null;
    };
  };
  const untilPhase = async (phase: Phase): Promise<void> => {
    for (let count = 0; flagger.phase !== phase; count += 1) {
      assert.ok(
        count < 150,
        `Flagger is ${flagger.phase} at weight ${flagger.weight}, not ${phase}; its last responses:\n${flagger.history.slice(-12).join("\n")}`,
      );
      await interval();
    }
  };
  /** The evaluator, the shim and their sockets take real time, so intervals pass until the run is as expected. */
  const untilRun = async (what: string, holds: (run: NonNullable<Awaited<ReturnType<typeof askRun>>["run"]>) => boolean) => {
    for (let count = 0; ; count += 1) {
      const { run } = await askRun();
      if (run !== null && holds(run)) return run;
      assert.ok(count < 20, `the run is not ${what}: ${JSON.stringify(run)}`);
      await interval();
    }
  };
  const stop = async (): Promise<void> => {
    const closing = shim[Symbol.asyncDispose]();
    clock.advance(5_000);
    await closing;
    await evaluator[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
  };
  const put = (pack: string): void => {
    fleet.install("canary", pack);
  };
  return { flagger, fleet, interval, untilPhase, untilRun, put, stop };
}

const asked = (flagger: Flagger, start: string): string[] => flagger.history.filter((line) => line.startsWith(start));

for (const metadata of [true, false]) {
  describe(`Flagger with ${metadata ? "the revision in its metadata" : "nothing but its checksum"}`, () => {
    it("rolls a good revision out, and the run passes", async (t) => {
      const rollout = await startAll(metadata);
      t.after(rollout.stop);
      const { flagger } = rollout;
      for (let count = 0; count < 6; count += 1) await rollout.interval();
      rollout.put(NEW_PACK);
      flagger.deploy("v2");
      await rollout.untilPhase("Succeeded");
      const run = await rollout.untilRun("passed", ({ state }) => state === "passed");
      assert.equal(run.controller_revision, metadata ? "v2" : "checksum:sum-of-v2");
      assert.equal(run.gated, true);
      assert.deepEqual(asked(flagger, "/flagger/gate/rollback 200"), []);
      assert.ok(asked(flagger, "/flagger/gate/confirm-promotion 200").length > 0);
    });

    it("rolls a bad revision back, and then a good one out", async (t) => {
      const rollout = await startAll(metadata);
      t.after(rollout.stop);
      const { flagger, fleet } = rollout;
      for (let count = 0; count < 6; count += 1) await rollout.interval();
      rollout.put(NEW_PACK);
      for (const gateway of fleet.slice("canary")) gateway.errors = 30;
      flagger.deploy("v2");
      await rollout.untilPhase("Failed");
      assert.ok(asked(flagger, "/flagger/gate/rollback 200").length === 1 || flagger.failedChecks === 0);
      assert.ok(flagger.history.every((line) => !line.startsWith("/flagger/gate/confirm-promotion 200")));
      for (const gateway of fleet.slice("canary")) gateway.errors = 0;
      rollout.put(STABLE_PACK);
      await rollout.untilRun("over", ({ canary_active }) => !canary_active);
      rollout.put(NEW_PACK);
      flagger.deploy("v3");
      await rollout.untilPhase("Succeeded");
      await rollout.untilRun("passed", ({ state }) => state === "passed");
    });

    it("rolls out an earlier revision again", async (t) => {
      const rollout = await startAll(metadata);
      t.after(rollout.stop);
      const { flagger } = rollout;
      for (let count = 0; count < 6; count += 1) await rollout.interval();
      for (const [revision, pack] of [
        ["v2", NEW_PACK],
        ["v3", "c".repeat(64)],
        ["v2", NEW_PACK],
      ] as const) {
        rollout.put(pack);
        flagger.deploy(revision);
        await rollout.interval();
        await rollout.untilPhase("Succeeded");
        rollout.fleet.install("stable", pack);
        for (let count = 0; count < 3; count += 1) await rollout.interval();
        await rollout.untilRun("passed", ({ state }) => state === "passed");
      }
    });
  });
}
