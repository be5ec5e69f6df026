/** Each controller model behaves as the upstream code defines. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createRollouts, type Measurement, type RolloutsStep } from "./argo-rollouts.ts";
import { createFlagger, type FlaggerStep } from "./flagger.ts";
import { createKeda } from "./keda.ts";
import { entriesFor, readRunbook } from "./runbook.ts";

/** Argo Rollouts on its own clock. `measured` lists the results of successive measurements; the last one repeats. */
async function rollOut(measured: readonly Measurement[], measurements: number) {
  const steps: RolloutsStep[] = [];
  const asked: { atMs: number; isLast: boolean }[] = [];
  const reports: string[] = [];
  const timers: { atMs: number; fn: () => void }[] = [];
  let nowMs = 0;
  const rollouts = createRollouts({
    measure: async (_revision, isLast) => {
      asked.push({ atMs: nowMs, isLast });
      return measured[Math.min(asked.length, measured.length) - 1]!;
    },
    steps: [10, 50],
    intervalMs: 60_000,
    after: (ms, fn) => void timers.push({ atMs: nowMs + ms, fn }),
    isUp: () => true,
    onStep: (step) => steps.push(step),
    notify: (revision, phase) => reports.push(`${revision} ${phase}`),
  });
  rollouts.deploy("v2");
  for (let count = 0; count < measurements && timers.length > 0; count++) {
    const next = timers.shift()!;
    nowMs = next.atMs;
    next.fn();
    await new Promise(setImmediate);
  }
  return { rollouts, steps: steps.map(({ what, weight }) => `${what} ${weight}`), asked, reports };
}

describe("Argo Rollouts", () => {
  it("widens after a successful analysis, and promotes after the last one", async () => {
    const { steps, asked, reports } = await rollOut(["Successful"], 9);
    assert.deepEqual(steps, ["started 10", "widened 50", "promoted 0"]);
    assert.deepEqual(reports, ["v2 Completed"]);
    assert.deepEqual(
      asked.map(({ isLast }) => isLast),
      [false, true],
    );
  });

  it("aborts at the first failure", async () => {
    const { steps, reports } = await rollOut(["Inconclusive", "Failed"], 9);
    assert.deepEqual(steps, ["started 10", "rolled-back 0"]);
    assert.deepEqual(reports, ["v2 Aborted"]);
  });

  it("pauses after 31 inconclusive measurements, and measures again once resumed", async () => {
    const { rollouts, steps, asked } = await rollOut(["Inconclusive"], 99);
    assert.equal(asked.length, 31);
    assert.deepEqual(steps, ["started 10", "paused 10"]);
    assert.equal(rollouts.isPaused, true);
    rollouts.resume();
    assert.equal(rollouts.isPaused, false);
  });

  it("retries an error every ten seconds, and aborts at the 21st in a row", async () => {
    const { steps, asked } = await rollOut(["Error"], 99);
    assert.equal(asked.length, 21);
    assert.equal(asked[1]!.atMs - asked[0]!.atMs, 10_000);
    assert.deepEqual(steps, ["started 10", "rolled-back 0"]);
  });
});

describe("KEDA", () => {
  const scale = (depth: number | null) => ({ status: 200, body: `{"verdict":"pass","scale":{"lane":"build","depth":${depth}}}` });

  /** The replicas after each tick, 30 seconds apart. */
  async function follow(answers: readonly ({ status: number; body: string } | undefined)[]): Promise<number[]> {
    let tick = 0;
    const keda = createKeda({ read: async () => answers[tick], perReplica: 8, maxReplicas: 10, now: () => tick * 30_000 });
    const replicas: number[] = [];
    for (tick = 0; tick < answers.length; tick++) {
      await keda.tick();
      replicas.push(keda.replicas);
    }
    return replicas;
  }

  it("scales up from zero at the first job, grows at once, and tolerates a deviation of a tenth", async () => {
    assert.deepEqual(await follow([scale(0), scale(1), scale(16), scale(17), scale(18), scale(400)]), [0, 1, 2, 2, 3, 10]);
  });

  it("keeps its replicas without a response, on an error and on null", async () => {
    const failed = { status: 503, body: "" };
    assert.deepEqual(await follow([scale(40), undefined, failed, scale(null)]), [5, 5, 5, 5]);
  });

  it("shrinks only after the stabilization window, and to zero after the cooldown", async () => {
    assert.deepEqual(
      await follow([scale(40), scale(8), scale(8), scale(8), scale(8), scale(0), scale(0), scale(0), scale(0)]),
      [5, 5, 5, 5, 1, 1, 1, 1, 0],
    );
  });
});

describe("Flagger", () => {
  it("restarts at weight 0 without confirm-rollout when a new revision arrives during an analysis", async () => {
    const steps: FlaggerStep[] = [];
    const asked: string[] = [];
    const flagger = createFlagger({
      namespace: "prod",
      name: "payments-gateway",
      post: async (path) => {
        asked.push(path);
        return { status: path.endsWith("/rollback") ? 403 : 200, body: "" };
      },
      measure: async () => 1,
      metadata: () => ({}),
      steps: [10, 50],
      threshold: 2,
      now: () => 0,
      onStep: (step) => steps.push(step),
    });
    flagger.deploy("v2");
    for (let tick = 0; tick < 2; tick++) await flagger.tick();
    flagger.deploy("v3");
    const before = asked.length;
    await flagger.tick();
    assert.equal(flagger.weight, 0);
    assert.deepEqual(
      steps.map(({ what, revision, weight }) => `${what} ${revision} ${weight}`),
      ["started v2 0", "widened v2 10", "superseded v2 10", "started v3 0"],
    );
    assert.ok(!asked.slice(before).some((path) => path.endsWith("confirm-rollout")));
  });

  it("rolls back when failed checks reach the threshold, and counts a missing response as a failed check", async () => {
    let isDown = false;
    const flagger = createFlagger({
      namespace: "prod",
      name: "payments-gateway",
      post: async (path) => (isDown ? undefined : { status: path.endsWith("/rollback") ? 403 : 200, body: "" }),
      measure: async () => 1,
      metadata: () => ({}),
      steps: [10, 50],
      threshold: 2,
      now: () => 0,
    });
    flagger.deploy("v2");
    for (let tick = 0; tick < 2; tick++) await flagger.tick();
    isDown = true;
    for (let tick = 0; tick < 2; tick++) await flagger.tick();
    assert.equal(flagger.failedChecks, 2);
    await flagger.tick();
    assert.equal(flagger.phase, "Failed");
  });
});

describe("the runbook", () => {
  const text =
    "# Runbook\n\n## Symptoms\n\n| Symptom | Meaning | Action |\n|---|---|---|\n| `hold`, `clock_skew` | A clock. | Fix NTP. |\n| `hold` for more than 30 minutes | Too long. | Wait. |\n| `fail`, run state `failed` | Failed. | Clear. |\n\n## Next\n";

  it("is parsed from its table of symptoms", () => {
    assert.deepEqual(readRunbook(text)[0], { symptom: "`hold`, `clock_skew`", action: "Fix NTP." });
    assert.ok(readRunbook().length > 10);
  });

  it("matches a reason, the state of a failed run, and a hold whose budget is exhausted", () => {
    const entries = readRunbook(text);
    const actions = (verdict: string, state: string, codes: string[]) =>
      entriesFor(entries, { verdict, state, codes }).map(({ action }) => action);
    assert.deepEqual(actions("hold", "active", ["clock_skew"]), ["Fix NTP."]);
    assert.deepEqual(actions("hold", "active", ["low_traffic", "hold_expired"]), ["Wait."]);
    assert.deepEqual(actions("fail", "failed", ["over_5xx"]), ["Clear."]);
    assert.deepEqual(actions("hold", "active", ["low_traffic"]), []);
  });
});
