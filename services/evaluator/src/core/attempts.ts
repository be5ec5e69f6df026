/**
 * The attempts of each revision, and when a revision that was analyzed before is analyzed again.
 *
 * A controller names the revision in every call, also long after its run has ended: a left-over AnalysisRun, a retried hook. Only a
 * call that can be the start of another rollout opens another attempt:
 *
 *   Flagger         confirm-rollout or pre-rollout, which it calls at weight 0 only, after it reported the end or another revision was
 *                   named
 *   Argo Rollouts   a measurement after a pause of two intervals; after a failed or aborted attempt its end must be reported too
 *   after expiry    the next call of either
 *   Flux            when another revision was named since; it repeats itself, and calls nothing
 *   operators       `aviary run start`, always; an attempt that an operator aborted is opened again by no controller
 */
import type { JudgingClass } from "@aviary/shared/contract/fleet.ts";
import type { RunState } from "@aviary/shared/contract/run.ts";
import { MAX_REVISIONS } from "@aviary/shared/contract/verdict.ts";
import { isPause } from "./callers.ts";
import type { Attempt, CanaryState, Run } from "./state.ts";

/** The newest attempt of a revision. */
export function attemptOf(canary: CanaryState, name: string): Attempt | undefined {
  return canary.revisions.findLast((entry) => entry.name === name);
}

/** Records that an attempt of the revision was opened; it replaces the previous one. */
export function recordAttempt(canary: CanaryState, name: string, attempt: number, atMs: number): void {
  const others = canary.revisions.filter((entry) => entry.name !== name);
  const entry: Attempt = { name, attempt, state: "pending", atMs, endReported: false, endedBy: null, namedMs: atMs };
  canary.revisions = [...others, entry].slice(-MAX_REVISIONS);
}

/** Copies the state of the current run to its attempt. */
export function updateAttempt(canary: CanaryState, run: Run): void {
  if (run.controllerRevision === null) return;
  const entry = attemptOf(canary, run.controllerRevision);
  if (entry === undefined || entry.attempt !== run.attempt) return;
  const { state, stateSinceMs: atMs, endReported, endedBy } = run;
  Object.assign(entry, { state, atMs, endReported, endedBy });
}

/** How a call names a revision. */
export interface Naming {
  readonly caller: JudgingClass | "flux";
  /** The gate, if a gate call names it. */
  readonly gate: string | undefined;
  readonly atMs: number;
  /** The measurement interval of a judging caller. */
  readonly intervalMs: number;
}

/** Gates that Flagger calls at weight 0 only. */
const FIRST_GATES: ReadonlySet<string> = new Set(["confirm-rollout", "pre-rollout"]);
const CLOSED: ReadonlySet<RunState> = new Set(["passed", "failed", "superseded", "unjudged", "aborted", "expired"]);

/** Whether this call opens another attempt of a revision whose newest attempt is `entry`. Its run is not open. */
export function opensAgain(canary: CanaryState, entry: Attempt, naming: Naming): boolean {
  if (!CLOSED.has(entry.state)) return false;
  if (entry.state === "aborted" && entry.endedBy === "operator") return false;
  const otherNamed = canary.revisions.at(-1) !== entry;
  if (naming.caller === "flux") return otherNamed;
  if (entry.state === "expired") return true;
  const wasReported = entry.endReported || entry.endedBy === "controller";
  if (naming.caller === "flagger") {
    return naming.gate !== undefined && FIRST_GATES.has(naming.gate) && (wasReported || otherNamed);
  }
  return (
    isPause(entry.namedMs, naming.atMs, naming.intervalMs) &&
    (wasReported || (entry.state !== "failed" && entry.state !== "aborted"))
  );
}
