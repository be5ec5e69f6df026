/** Invariants 9 and 13: a failed run stays failed, and every run ends. */
import { START_MS } from "../kernel.ts";
import type { InvariantCheck } from "./check.ts";
import { seconds } from "./check.ts";

export const failsLatch: InvariantCheck = ({ finished, verdicts }) => {
  const clears = finished.history.stored.filter(({ subject }) => subject.endsWith(".clear")).map(({ atMs }) => atMs);
  const failed = new Map<string, { readonly atMs: number; readonly revision: string | null }>();
  let newest: { readonly run: string; readonly revision: string | null } | undefined;
  for (const { body } of verdicts) {
    const { run } = body;
    const atMs = Date.parse(body.at);
    if (body.verdict === "fail" && run === null)
      return { invariant: "9", what: `${body.id} fails no run`, atMs: atMs - START_MS };
    if (run === null) continue;
    const before = failed.get(run.id);
    const isCleared = before !== undefined && clears.some((clear) => clear >= before.atMs && clear <= atMs);
    if (before !== undefined && body.verdict !== "fail" && !isCleared) {
      const what = `run ${run.id} failed at ${seconds(before.atMs - START_MS)} and is ${body.verdict} at ${seconds(atMs - START_MS)}, without a clear`;
      return { invariant: "9", what, atMs: atMs - START_MS };
    }
    const previous = newest !== undefined && newest.run !== run.id ? newest : undefined;
    if (
      previous !== undefined &&
      failed.has(previous.run) &&
      previous.revision !== null &&
      previous.revision === run.controller_revision
    ) {
      const what = `revision ${previous.revision} failed, and a new run of the same revision begins`;
      return { invariant: "9", what, atMs: atMs - START_MS };
    }
    if (body.verdict === "fail" && run.promotable)
      return { invariant: "9", what: `${body.id} fails and is promotable`, atMs: atMs - START_MS };
    if (body.verdict === "fail" && before === undefined) failed.set(run.id, { atMs, revision: run.controller_revision });
    newest = { run: run.id, revision: run.controller_revision };
  }
  return undefined;
};

const OVER = new Set(["passed", "failed", "aborted", "superseded", "expired", "idle"]);

export const runsEnd: InvariantCheck = ({ finished, verdicts }) => {
  const { policy, endMs, history, plan } = finished;
  const limits = { pending: policy.maxPendingMs, warming: policy.warmupMs, active: policy.maxRunMs, failed: policy.maxRunMs };
  const slackMs = 3_000;
  for (const { body } of verdicts) {
    const { run } = body;
    if (run === null) continue;
    const limit = limits[run.state as keyof typeof limits];
    const ageMs = Date.parse(body.at) - Date.parse(run.since);
    const isOver = run.state === "failed" && !run.canary_active;
    const most = run.state === "warming" ? policy.maxPendingMs + limit! : limit;
    if (most !== undefined && !isOver && ageMs > most + slackMs) {
      const atMs = Date.parse(body.at) - START_MS;
      return { invariant: "13", what: `run ${run.id} is ${run.state} ${seconds(ageMs)} after it was opened`, atMs };
    }
  }
  const last = verdicts.at(-1);
  if (last === undefined) return { invariant: "13", what: "no verdict was ever published", atMs: endMs };
  const quietMs = START_MS + endMs - Date.parse(last.body.at);
  if (quietMs > policy.windowMs + policy.graceMs + 6_000)
    return { invariant: "13", what: `no verdict for ${seconds(quietMs)}, while an evaluator runs`, atMs: endMs };
  const { run } = last.body;
  if (run !== null && (!OVER.has(run.state) || run.canary_active)) {
    return { invariant: "13", what: `run ${run.id} is still ${run.state} at the end`, atMs: endMs };
  }
  const reachedGoal = history.counts.get("controller succeeded") === 1 && run?.state === "passed";
  if (plan.isCalm && !reachedGoal)
    return {
      invariant: "13",
      what: `the world was calm, and the rollout did not succeed (its run is ${run?.state ?? "none"})`,
      atMs: endMs,
    };
  return undefined;
};
