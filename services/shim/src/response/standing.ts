/**
 * How a request relates to the runs of a stored verdict: which revision it names, and whether the open run is of that revision.
 * Pure.
 *
 * A request that names no revision is about the current run, which is the newest. A revision without an open run inherits nothing
 * from the run of another revision: neither pass, nor fail, nor weight.
 */
import { type CallerClass, isJudgingClass, type JudgingClass } from "@aviary/shared/contract/fleet.ts";
import { isOpenRun, type RunState } from "@aviary/shared/contract/run.ts";
import type { RevisionEntry, RunView } from "@aviary/shared/contract/verdict.ts";

/** The runs in a stored verdict. */
export interface StoredRuns {
  readonly run: RunView | null;
  /** The newest attempt of each revision, oldest first. */
  readonly revisions: readonly RevisionEntry[];
}

export const NO_RUNS: StoredRuns = { run: null, revisions: [] };

/** The revision that a request names. */
export interface NamedRevision {
  /** Undefined if the request names no revision. */
  readonly revision: string | undefined;
  /**
   * Whether the request is about a revision that it does not name: at confirm-rollout, Flagger's checksum is still the previous
   * one's.
   */
  readonly isAnotherOne?: boolean;
}

export type Standing =
  /** The current run is open, and the request is about it. */
  | { readonly kind: "open"; readonly run: RunView }
  /** The current run has ended, and the request is about it. */
  | { readonly kind: "over"; readonly run: RunView }
  /** The revision was analyzed before the current run. */
  | { readonly kind: "earlier"; readonly entry: RevisionEntry; readonly open: RunView | null }
  /** The revision was never analyzed; `revision` is undefined if the request does not name it. */
  | { readonly kind: "new"; readonly revision: string | undefined };

/** The newest attempt of a revision; undefined without a name, or if it was never analyzed. */
export function entryOf(name: string | null | undefined, revisions: StoredRuns["revisions"]): RevisionEntry | undefined {
  return name == null ? undefined : revisions.findLast((entry) => entry.name === name);
}

/** Relates a request to the stored runs. */
export function standingOf({ revision, isAnotherOne }: NamedRevision, { run, revisions }: StoredRuns): Standing {
  const isPresent = revision === undefined ? isAnotherOne !== true : run?.controller_revision === revision;
  if (isPresent && run !== null) return { kind: isOpenRun(run) ? "open" : "over", run };
  const entry = entryOf(revision, revisions);
  if (entry !== undefined) return { kind: "earlier", entry, open: isOpenRun(run) ? run : null };
  return { kind: "new", revision };
}

/** What a request is about: the revision that it names, the stored runs, and how they relate. */
export interface RequestSubject {
  readonly named: NamedRevision;
  readonly runs: StoredRuns;
  readonly standing: Standing;
}

export function requestSubject(named: NamedRevision, runs: StoredRuns): RequestSubject {
  return { named, runs, standing: standingOf(named, runs) };
}

/** How the newest attempt of the revision ended; null if it was never analyzed, or while its run is open. */
export function endedAs(standing: Standing): RunState | null {
  switch (standing.kind) {
    case "over":
      return standing.run.state;
    case "earlier":
      return standing.entry.state;
    case "open":
    case "new":
      return null;
  }
}

/** The newest attempt of the revision of an ended run. */
function endedEntry(standing: Standing, revisions: StoredRuns["revisions"]): RevisionEntry | undefined {
  if (standing.kind === "over") return entryOf(standing.run.controller_revision, revisions);
  return standing.kind === "earlier" ? standing.entry : undefined;
}

/**
 * Whether a measurement can be the start of the next attempt of a failed revision: no run is open, and the end of the failed one was
 * reported. The evaluator opens the attempt after a pause; the failure is then not the answer, or every retry would fail at once.
 */
export function isRetry({ standing, runs: { revisions } }: RequestSubject): boolean {
  if (endedAs(standing) !== "failed" || (standing.kind === "earlier" && standing.open !== null)) return false;
  return endedEntry(standing, revisions)?.end_reported === true;
}

/** Whether an operator aborted the newest attempt. */
export function wasAbortedByOperator(standing: Standing, { revisions }: StoredRuns): boolean {
  if (endedAs(standing) !== "aborted") return false;
  return endedEntry(standing, revisions)?.ended_by !== "controller";
}

/** The class that judges now: the configured one, otherwise the holder of the open run's seat; null if there is neither. */
export function judgingClass(judge: JudgingClass | undefined, run: RunView | null): JudgingClass | null {
  return judge ?? (isOpenRun(run) ? (run?.seat ?? null) : null);
}

/** Whether a caller's messages about runs are applied. */
export function mayChangeRun(caller: CallerClass, judge: JudgingClass | undefined, run: RunView | null): boolean {
  if (!isJudgingClass(caller)) return false;
  const seat = judgingClass(judge, run);
  return seat === null || seat === caller;
}
