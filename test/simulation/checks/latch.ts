/** Invariants 9 and 13: a failed run stays failed, and every run ends. */
import { START_MS } from "../kernel.ts";
import type { Case, InvariantCheck } from "./check.ts";
import { seconds } from "./check.ts";

export const failsLatch: InvariantCheck = ({ finished, verdicts }) => {
  const clears = finished.history.stored.filter(({ subject }) => subject.endsWith(".clear")).map(({ atMs }) => atMs);
  const failed = new Map<string, number>();
  let newest:
    | { readonly run: string; readonly revision: string | null; readonly frozen: boolean; readonly attempt: number }
    | undefined;
  for (const { body } of verdicts) {
    const { run } = body;
    const atMs = Date.parse(body.at);
    if (body.verdict === "fail" && run === null)
      return { invariant: "9", what: `${body.id} fails no run`, atMs: atMs - START_MS };
    if (run === null) continue;
    const failedAtMs = failed.get(run.id);
    const isCleared = failedAtMs !== undefined && clears.some((clear) => clear >= failedAtMs && clear <= atMs);
    if (failedAtMs !== undefined && body.verdict !== "fail" && !isCleared) {
      const what = `run ${run.id} failed at ${seconds(failedAtMs - START_MS)} and is ${body.verdict} at ${seconds(atMs - START_MS)}, without a clear`;
      return { invariant: "9", what, atMs: atMs - START_MS };
    }
    const previous = newest !== undefined && newest.run !== run.id && failed.has(newest.run) ? newest : undefined;
    if (previous !== undefined && previous.revision !== null && previous.revision === run.controller_revision) {
      const wasCleared = clears.some((clear) => clear >= failed.get(previous.run)! && clear <= atMs);
      const isNext = run.attempt === previous.attempt + 1;
      if (!isNext || (previous.frozen && !wasCleared && !isOperators(finished, atMs))) {
        const what = `revision ${previous.revision} failed and is not restored, and attempt ${run.attempt} of it begins after attempt ${previous.attempt}`;
        return { invariant: "9", what, atMs: atMs - START_MS };
      }
    }
    if (body.verdict === "fail" && run.promotable)
      return { invariant: "9", what: `${body.id} fails and is promotable`, atMs: atMs - START_MS };
    if (body.verdict === "fail" && failedAtMs === undefined) failed.set(run.id, atMs);
    newest = { run: run.id, revision: run.controller_revision, frozen: run.canary_active, attempt: run.attempt };
  }
  return undefined;
};

/** Whether an operator had started a run by then; such a run may replace a failed one. */
const isOperators = ({ history }: Case["finished"], atMs: number): boolean =>
  history.stored.some(({ subject, atMs: storedAtMs }) => subject.endsWith(".start") && storedAtMs <= atMs);

const OVER = new Set(["passed", "aborted", "superseded", "expired", "unjudged", "idle"]);

export const runsEnd: InvariantCheck = ({ finished, verdicts }) => {
  const { policy, endMs, history, plan } = finished;
  // A caller that keeps querying keeps its pending run; a failed run stays, and is reported at its limit.
  const limits = { pending: policy.maxRunMs, warming: policy.maxRunMs, active: policy.maxRunMs };
  const slackMs = 3_000;
  for (const { body } of verdicts) {
    const { run } = body;
    if (run === null) continue;
    const limit = limits[run.state as keyof typeof limits];
    const ageMs = Date.parse(body.at) - Date.parse(run.since);
    if (limit !== undefined && ageMs > limit + slackMs) {
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
  if (run?.state === "failed") {
    const ageMs = Date.parse(last.body.at) - Date.parse(run.since);
    const isReported = history.stored.some(({ subject }) => subject.endsWith(".not_restored"));
    if (run.canary_active && ageMs > policy.maxRunMs + slackMs && !isReported)
      return {
        invariant: "13",
        what: `run ${run.id} failed, is not restored after ${seconds(ageMs)}, and is not reported`,
        atMs: endMs,
      };
  } else if (run !== null && (!OVER.has(run.state) || run.canary_active)) {
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
