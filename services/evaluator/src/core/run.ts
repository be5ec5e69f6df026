/**
 * The run's state machine (states and diagram: contract/run.ts): opening, entering a state, dropping evidence. Every function
 * modifies one canary. `atMs` is the broker time of the input or deadline that caused it.
 */

import type { JudgingClass } from "@aviary/shared/contract/fleet.ts";
import { contentId } from "@aviary/shared/contract/ids.ts";
import type { Incident } from "@aviary/shared/contract/incident.ts";
import type { Release, RunState } from "@aviary/shared/contract/run.ts";
import { attemptOf, recordAttempt, updateAttempt } from "./attempts.ts";
import { referenceFrom } from "./judge/learn-reference.ts";
import { couldBeSame, isKnownSame } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { canaryRelease } from "./slice-releases.ts";
import { type CanaryState, isOpen, type Opener, type Run, type State, startGrid } from "./state.ts";

/** Number of finished revisions remembered, so that they are not analyzed again automatically. */
const MAX_FINISHED = 32;

export const subjectOf = (config: CanaryConfig): NonNullable<Incident["subject"]> => ({
  namespace: config.ref.namespace,
  name: config.ref.name,
  fleet: config.fleet,
});

/** 12 hex digits identifying what is under test: the Macs' release and the controller's revision. */
export function revisionOf(release: Release, controllerRevision: string | null): string {
  return contentId([release.gateway_version, release.skill_hash, release.fragment_hash, controllerRevision], 12);
}

interface Opening {
  readonly openedBy: Opener;
  readonly controllerRevision: string | null;
  readonly release: Release;
  readonly announcedHash: string | null;
  readonly announcedVersion: string | null;
  /** The judging class that opens it, if one does. */
  readonly seat?: JudgingClass | undefined;
  readonly cleared?: Run["cleared"];
}

/**
 * Opens a run: ends the previous one, starts a new window grid, freezes the reference. A failed run that it replaces stays failed.
 */
export function openRun(state: State, canary: CanaryState, config: CanaryConfig, opening: Opening, atMs: number): void {
  const replaced = canary.run;
  if (isOpen(replaced) && replaced?.state !== "failed") moveTo(canary, "superseded", atMs);
  const { controllerRevision } = opening;
  const revision = revisionOf(opening.release, controllerRevision);
  const releaseBefore = canaryRelease(state, config);
  const previous = controllerRevision === null ? undefined : attemptOf(canary, controllerRevision);
  const attempt = (previous?.attempt ?? 0) + 1;
  canary.run = {
    id: `${revision}-${state.sequence}`,
    revision,
    controllerRevision,
    openedBy: opening.openedBy,
    attempt,
    seat: opening.seat ?? null,
    lastCallMs: atMs,
    cleared: opening.cleared ?? null,
    sinceMs: atMs,
    state: "pending",
    stateSinceMs: atMs,
    judgeFromMs: Number.MAX_SAFE_INTEGER,
    announcedHash: opening.announcedHash,
    announcedVersion: opening.announcedVersion,
    pinned: null,
    releaseBefore,
    replacedRelease: opening.cleared == null ? suspectRelease(replaced, releaseBefore, opening) : null,
    retriesFailed: previous?.state === "failed",
    weight: null,
    balancerWeight: null,
    shiftedSinceMs: 0,
    phase: null,
    gated: false,
    granted: false,
    promotionGranted: false,
    endReported: false,
    endedBy: null,
    paused: null,
    latch: null,
    restored: false,
    promotable: false,
    consecutivePass: 0,
    heldSinceMs: 0,
    holdExpired: false,
    judged: 0,
    memory: null,
    reference:
      canary.history.length === 0 ? null : referenceFrom(canary.history, config.policy, config.hasStable ? "stable" : "canary"),
    windows: [],
    outcome: null,
  };
  if (controllerRevision !== null) recordAttempt(canary, controllerRevision, attempt, atMs);
  canary.observed = null;
  canary.lastWindow = null;
  startGrid(canary, config, atMs);
}

/**
 * The release that the Macs may still run when a run is replaced, and that is not the new run's: one that failed and was not restored, or
 * that of another revision. Null if there is none.
 */
function suspectRelease(replaced: Run | null, releaseBefore: Release | null, opening: Opening): Release | null {
  if (replaced === null || replaced.restored) return null;
  if (replaced.latch !== null) return replaced.pinned;
  const { pinned, replacedRelease, controllerRevision } = replaced;
  // An operator may start another analysis of what the Macs run, and observation opens a run because of it.
  const isNamedAhead = opening.openedBy === "controller" || opening.openedBy === "announcer";
  // A run without a name may have been about the very release that is named now.
  const isAnother = controllerRevision !== null && opening.controllerRevision !== controllerRevision;
  if (pinned !== null && isNamedAhead && isAnother) return pinned;
  const isStillThere =
    pinned === null && replacedRelease !== null && releaseBefore !== null && couldBeSame(releaseBefore, replacedRelease);
  return isStillThere ? replacedRelease : null;
}

/** Enters a state; a state that ends the run records its revision, so that observation does not analyze it again. */
export function moveTo(canary: CanaryState, to: RunState, atMs: number): void {
  const { run } = canary;
  if (run === null) return;
  run.state = to;
  run.stateSinceMs = atMs;
  run.heldSinceMs = 0;
  if (to === "passed" || to === "failed" || to === "aborted" || to === "expired" || to === "unjudged") {
    remember(canary, run.revision);
    if (run.controllerRevision !== null) remember(canary, run.controllerRevision);
    if (run.pinned !== null) remember(canary, revisionOf(run.pinned, null));
  }
  if (to === "passed") canary.passedRelease = run.pinned;
  if (to === "failed") canary.failedRelease = run.pinned;
  if (to === "passed" && isKnownSame(canary.failedRelease, run.pinned)) canary.failedRelease = null;
  updateAttempt(canary, run);
}

function remember(canary: CanaryState, revision: string): void {
  canary.finished = [...canary.finished.filter((known) => known !== revision), revision].slice(-MAX_FINISHED);
}

export function startWarming(state: State, canary: CanaryState, config: CanaryConfig, atMs: number): void {
  const run = canary.run!;
  moveTo(canary, "warming", atMs);
  run.pinned = canaryRelease(state, config);
  run.judgeFromMs = atMs + config.policy.warmupMs;
}

/** Drops all measurements and judgments so far. */
export function dropEvidence(canary: CanaryState): void {
  canary.lastPromotable = false;
  if (canary.run === null) return;
  Object.assign(canary.run, { judged: 0, memory: null, windows: [], outcome: null });
  Object.assign(canary.run, { promotable: false, promotionGranted: false, consecutivePass: 0 });
}

/** Discards all earlier measurements for the run, which warms up again. */
export function restartEvidence(canary: CanaryState, config: CanaryConfig, atMs: number): void {
  const run = canary.run!;
  dropEvidence(canary);
  run.holdExpired = false;
  canary.lastWindow = null;
  moveTo(canary, "warming", atMs);
  run.judgeFromMs = atMs + config.policy.warmupMs;
  startGrid(canary, config, atMs);
}
