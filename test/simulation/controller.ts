/**
 * The controllers. Flagger calls gates, queries and events in its own order every two seconds; a failed call counts as a
 * rejection. Argo Rollouts takes one measurement after another. Both wait, and both eventually give up.
 */
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";
import type { History } from "./history.ts";
import { packOf, type RevisionPlan } from "./plan.ts";
import type { ShimResponse } from "./shim-node.ts";
import { CANARY } from "./shim-node.ts";

export interface ControllerEnvironment {
  readonly history: History;
  /** Milliseconds since the start. */
  nowMs(): number;
  sleep(ms: number): Promise<void>;
  /** Calls the shim; undefined without a response in time. */
  request(caller: CallerClass, path: string, query: string, body: string): Promise<ShimResponse | undefined>;
  log(text: string): void;
  /** Called when the controller has started or finished a revision. */
  onOutcome(revision: RevisionPlan, outcome: "succeeded" | "failed"): void;
}

const INTERVAL_MS = 2_000;
const WEIGHTS = [10, 30, 50];
/** The number of failed checks after which Flagger rolls back. */
const THRESHOLD = 5;

/** Runs until the simulation ends. */
export async function runFlagger(environment: ControllerEnvironment, revisions: readonly RevisionPlan[]): Promise<void> {
  for (let index = 0; index < revisions.length; index++) {
    const revision = revisions[index]!;
    const next = revisions[index + 1]?.atMs ?? Number.POSITIVE_INFINITY;
    if (environment.nowMs() < revision.atMs) await environment.sleep(revision.atMs - environment.nowMs());
    const outcome = await analyze(environment, revision, next);
    if (outcome !== undefined) environment.onOutcome(revision, outcome);
  }
}

/** Rolls out one revision, from confirm-rollout to its end; undefined if the next revision arrived meanwhile. */
async function analyze(
  environment: ControllerEnvironment,
  revision: RevisionPlan,
  untilMs: number,
): Promise<"succeeded" | "failed" | undefined> {
  const pack = revision.announcesPack && revision.packAfterMs !== undefined ? { skill_hash: packOf(revision) } : {};
  const metadata = { revision: revision.name, ...pack };
  const hook = (phase: string, more: object = {}): string =>
    JSON.stringify({ ...CANARY, phase, checksum: `sum-${revision.name}`, metadata: { ...metadata, ...more } });
  const gate = async (name: string, phase: string): Promise<boolean> => {
    const answer = await environment.request("flagger", `/flagger/gate/${name}`, "", hook(phase));
    environment.log(
      `flagger  gate ${name} (${revision.name}): ${answer === undefined ? "no response" : `${answer.status} ${answer.body.trim()}`}`,
    );
    return answer?.status === 200;
  };
  const event = async (phase: string, eventMessage: string): Promise<void> => {
    const more = { eventMessage, eventType: "Normal", timestamp: String(environment.nowMs()) };
    const answer = await environment.request("flagger", "/flagger/events", "", hook(phase, more));
    environment.log(`flagger  event ${eventMessage}: ${answer?.status ?? "no response"}`);
  };
  const rollBack = async (): Promise<"failed"> => {
    await event("Failed", "Canary failed! Scaling down payments-gateway.prod");
    await gate("post-rollout", "Failed");
    return "failed";
  };
  const measure = async (): Promise<boolean> => {
    const query = `query=${encodeURIComponent(`aviary_verdict{namespace="${CANARY.namespace}",canary="${CANARY.name}"}`)}`;
    const answer = await environment.request("flagger", "/flagger/api/v1/query", query, "");
    const value = /"value":\[\d+,"([^"]*)"\]/.exec(answer?.body ?? "")?.[1];
    environment.log(`flagger  measured ${value ?? "nothing"}`);
    return Number(value ?? 0) >= 0.5;
  };

  let isStarted = false;
  let step = 0;
  let failed = 0;
  for (; environment.nowMs() < untilMs; await environment.sleep(INTERVAL_MS)) {
    if (!isStarted) {
      if (!(await gate("confirm-rollout", "Waiting"))) continue;
      if (!(await gate("pre-rollout", "Progressing"))) {
        failed += 1;
        if (failed >= THRESHOLD) return rollBack();
        continue;
      }
      isStarted = true;
      await event("Progressing", "Starting canary analysis for payments-gateway.prod");
      continue;
    }
    if ((await gate("rollback", "Progressing")) || failed >= THRESHOLD) return rollBack();
    if (step < WEIGHTS.length) {
      if (!(await gate("confirm-traffic-increase", "Progressing"))) continue;
      if (step > 0 && !(await gate("rollout", "Progressing"))) {
        failed += 1;
        continue;
      }
      if (step > 0 && !(await measure())) {
        failed += 1;
        continue;
      }
      await event("Progressing", `Advance payments-gateway.prod canary weight ${WEIGHTS[step]}`);
      step += 1;
      continue;
    }
    if (!(await measure())) {
      failed += 1;
      continue;
    }
    if (!(await gate("confirm-promotion", "WaitingPromotion"))) continue;
    await event("Promoting", "Advance payments-gateway.prod primary weight 100");
    await event("Succeeded", "Promotion completed! Scaling down payments-gateway.prod");
    await gate("post-rollout", "Succeeded");
    return "succeeded";
  }
  return undefined;
}

/** Measures until one measurement fails, enough have passed, or the next revision arrives. */
export async function runRollouts(environment: ControllerEnvironment, revisions: readonly RevisionPlan[]): Promise<void> {
  for (let index = 0; index < revisions.length; index++) {
    const revision = revisions[index]!;
    const next = revisions[index + 1]?.atMs ?? Number.POSITIVE_INFINITY;
    if (environment.nowMs() < revision.atMs) await environment.sleep(revision.atMs - environment.nowMs());
    let passed = 0;
    for (; environment.nowMs() < next; await environment.sleep(INTERVAL_MS)) {
      const query = `namespace=${CANARY.namespace}&rollout=${CANARY.name}&revision=${revision.name}`;
      const answer = await environment.request("rollouts", "/rollouts/analysis", query, "");
      const verdict = /"verdict":"(pass|hold|fail)"/.exec(answer?.body ?? "")?.[1];
      environment.log(`rollouts measured ${verdict ?? "nothing"} of ${revision.name}`);
      if (verdict === "fail") {
        environment.onOutcome(revision, "failed");
        break;
      }
      if (verdict === "pass") passed += 1;
      if (passed >= 5) {
        environment.onOutcome(revision, "succeeded");
        break;
      }
    }
  }
}
