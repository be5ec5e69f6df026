/**
 * The run's state machine (states and diagram: contract/run.ts). Every function modifies one canary and returns the incidents
 * caused by the change. `atMs` is the broker time of the input or deadline that caused it.
 */

import type { JudgingClass } from "@aviary/shared/contract/fleet.ts";
import { contentId } from "@aviary/shared/contract/ids.ts";
import { type Incident, incident } from "@aviary/shared/contract/incident.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { type Release, type RunState, type Slice, sameRelease } from "@aviary/shared/contract/run.ts";
import { attemptOf, recordAttempt, updateAttempt } from "./attempts.ts";
import { callerGoneAtMs } from "./callers.ts";
import { isCurrent } from "./freshness.ts";
import { referenceFrom } from "./judge/learn-reference.ts";
import { knownRelease } from "./known-facts.ts";
import { agreedRelease, couldBeSame } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { type CanaryState, gatewaysOfCanary, isOpen, type Opener, type Run, type State, startGrid } from "./state.ts";

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

/** Opens a run: ends the previous one, starts a new window grid, freezes the reference. A failed run that it replaces stays failed. */
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
    failedBefore: opening.cleared == null ? suspectRelease(replaced, releaseBefore) : null,
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
 * The release of one slice. The canary slice has none while a part of one gateway is too old to be believed. A silent stable
 * gateway is left out: otherwise its failure would make a rollback impossible.
 */
function sliceRelease(state: State, config: CanaryConfig, slice: Slice): Release | null {
  const releases = gatewaysOfCanary(state, config)
    .filter((gateway) => gateway.slice === slice)
    .map((gateway) => ({ gateway, release: knownRelease(gateway, config.policy, state.nowMs) }));
  return agreedRelease(releases.filter(({ release }) => slice === "canary" || !release.isOutdated));
}

/** The failed release that the Macs may still run when a run is replaced; null if it was restored, or nothing failed. */
function suspectRelease(replaced: Run | null, releaseBefore: Release | null): Release | null {
  if (replaced === null || replaced.restored) return null;
  if (replaced.latch !== null) return replaced.pinned;
  const { pinned, failedBefore } = replaced;
  const isStillThere =
    pinned === null && failedBefore !== null && releaseBefore !== null && couldBeSame(releaseBefore, failedBefore);
  return isStillThere ? failedBefore : null;
}

/**
 * What a failed canary is restored to, and stable is repaired with: stable's release, or the last one that its gateways agreed on, or the
 * last one that passed. Never the release under test.
 */
export function restoreTarget(state: State, canary: CanaryState, config: CanaryConfig): Release | null {
  return stableRelease(state, canary, config) ?? canary.lastStable ?? canary.passedRelease;
}

/** The current release of the whole canary slice, or null. */
export function canaryRelease(state: State, config: CanaryConfig): Release | null {
  return sliceRelease(state, config, "canary");
}

/**
 * Whether the canary slice's traffic is healthy traffic: no run is open, and the slice runs stable's release. Without a stable
 * slice its own past is the only reference there is.
 */
export function isCanaryHealthy(state: State, canary: CanaryState, config: CanaryConfig): boolean {
  if (isOpen(canary.run)) return false;
  const [release, stable] = [canaryRelease(state, config), stableRelease(state, canary, config)];
  return !config.hasStable || (release !== null && stable !== null && sameRelease(release, stable));
}

/** The release to roll back to: stable's, or the canary slice's own before the run if there is no stable slice. */
export function stableRelease(state: State, canary: CanaryState, config: CanaryConfig): Release | null {
  if (!config.hasStable) return canary.rollbackRelease;
  return sliceRelease(state, config, "stable");
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
  if (to === "passed" && canary.failedRelease !== null && run.pinned !== null && sameRelease(canary.failedRelease, run.pinned))
    canary.failedRelease = null;
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

/**
 * Changes of the run that no message requests: pending to warming when the Macs run the release, warming to active, an observed
 * release superseded, restored after a failure, expiry, the silence of its caller. Called whenever a fact changed or a deadline fired.
 */
export function advance(state: State, canary: CanaryState, config: CanaryConfig, atMs: number): Incident[] {
  if (canary.maintenance !== null && canary.maintenance.untilMs <= atMs) canary.maintenance = null;
  const slices: Slices = { canary: canaryRelease(state, config), stable: stableRelease(state, canary, config) };
  if (config.hasStable && slices.stable !== null) canary.lastStable = slices.stable;
  observeRelease(state, canary, config, slices, atMs);
  const { run } = canary;
  if (run === null) return [];
  if (!config.hasStable && run.state === "passed" && run.pinned !== null) canary.rollbackRelease = run.pinned;
  const step: Advance = { state, canary, run, slices, config, atMs };
  if (run.state === "pending" && isReadyToWarm(step)) startWarming(state, canary, config, atMs);
  if (run.state === "warming" || run.state === "active") advanceAnalysis(step);
  if (run.state === "failed" && !run.restored) restoreFailed(step);
  return applyLimits(step);
}

interface Advance {
  readonly state: State;
  readonly canary: CanaryState;
  readonly run: Run;
  readonly slices: Slices;
  readonly config: CanaryConfig;
  readonly atMs: number;
}

/** What each slice runs now; null if its gateways disagree or are unknown. */
interface Slices {
  readonly canary: Release | null;
  readonly stable: Release | null;
}

/**
 * Whether the warm-up of a pending run starts: its release is on the canary slice, or the controller shifts traffic and the Macs had
 * time to change.
 */
function isReadyToWarm({ run, slices, config: { policy }, atMs }: Advance): boolean {
  const release = slices.canary;
  if (release === null) return false;
  if (run.announcedHash === null ? isNew(run, release, slices.stable) : release.skill_hash === run.announcedHash) return true;
  if (policy.macRelease === "required" || run.shiftedSinceMs === 0) return false;
  return atMs >= run.shiftedSinceMs + policy.settleReleaseMs;
}

function advanceAnalysis({ canary, run, slices, config, atMs }: Advance): void {
  const release = slices.canary;
  if (run.openedBy === "observation" && release !== null && slices.stable !== null && sameRelease(release, slices.stable)) {
    moveTo(canary, "superseded", atMs);
    startGrid(canary, config, atMs);
    return;
  }
  if (release !== null && run.pinned !== null && !couldBeSame(run.pinned, release) && isAnnounced(run, release)) {
    // The announced pack arrives while traffic already shifts: what was measured before was another release.
    run.pinned = release;
    restartEvidence(canary, config, atMs);
    return;
  }
  // Parts that were unknown when the release was pinned are completed, which is not a change.
  if (release !== null && (run.pinned === null || couldBeSame(run.pinned, release))) run.pinned = release;
  if (run.state === "warming" && atMs >= run.judgeFromMs) moveTo(canary, "active", atMs);
}

/** Forgets what was measured and judged so far. */
export function dropEvidence(canary: CanaryState): void {
  canary.lastPromotable = false;
  if (canary.run === null) return;
  Object.assign(canary.run, { judged: 0, memory: null, windows: [], outcome: null });
  Object.assign(canary.run, { promotable: false, promotionGranted: false, consecutivePass: 0 });
}

/** Nothing that was measured so far counts for the run: it warms up again. */
export function restartEvidence(canary: CanaryState, config: CanaryConfig, atMs: number): void {
  const run = canary.run!;
  dropEvidence(canary);
  run.holdExpired = false;
  canary.lastWindow = null;
  moveTo(canary, "warming", atMs);
  run.judgeFromMs = atMs + config.policy.warmupMs;
  startGrid(canary, config, atMs);
}

const isAnnounced = (run: Run, release: Release): boolean =>
  run.announcedHash !== null && release.skill_hash === run.announcedHash;

function restoreFailed({ state, canary, run, slices, config, atMs }: Advance): void {
  const target = restoreTarget(state, canary, config);
  const isBack = slices.canary !== null && target !== null && sameRelease(slices.canary, target);
  const isGone = run.endReported && canaryGateways(state, config).every(({ maintenanceUntilMs }) => maintenanceUntilMs > atMs);
  if (!isBack && !isGone) return;
  run.restored = true;
  startGrid(canary, config, atMs);
}

/** Phases in which Flagger promotes: the decision is made. */
const PROMOTING: ReadonlySet<string> = new Set(["Promoting", "Finalising"]);

/** Ends a run that is older than a limit, or whose caller is gone. A failed run never expires. */
function applyLimits({ canary, run, slices, config, atMs }: Advance): Incident[] {
  const { policy } = config;
  if (run.state === "failed" && !run.restored)
    return atMs >= run.sinceMs + policy.maxRunMs ? [notRestored(run, config, atMs)] : [];
  if (!isOpen(run)) return [];
  if (atMs >= run.sinceMs + policy.maxRunMs) return [expire(canary, config, "open for too long", atMs)];
  if (run.state === "pending" && atMs >= run.lastCallMs + policy.maxPendingMs)
    return [expire(canary, config, "pending for too long", atMs)];
  if (atMs < callerGoneAtMs(run, config)) return [];
  if (run.judged > 0 && (run.promotionGranted || (canary.lastPromotable && PROMOTING.has(run.phase ?? "")))) {
    moveTo(canary, "passed", atMs);
    startGrid(canary, config, atMs);
    return [];
  }
  const { pinned } = run;
  const { canary: release, stable } = slices;
  const isUndone =
    pinned !== null && release !== null && stable !== null && !sameRelease(pinned, stable) && sameRelease(release, stable);
  return isUndone ? [expire(canary, config, "its caller is gone and its release was removed", atMs)] : [];
}

function notRestored(run: Run, config: CanaryConfig, atMs: number): Incident {
  const facts = { run: run.id, failed_at: isoTime(run.latch?.atMs ?? run.stateSinceMs) };
  return incident("not_restored", isoTime(atMs), run.id, { subject: subjectOf(config) }, facts);
}

/**
 * New to the canary slice: neither stable's release, nor the slice's own when the run opened, nor that of the failed run which this one
 * replaced.
 */
function isNew(run: Run, release: Release, stable: Release | null): boolean {
  if (stable !== null && couldBeSame(release, stable)) return false;
  if (run.failedBefore !== null && couldBeSame(release, run.failedBefore)) return false;
  return run.releaseBefore === null || stable !== null || !couldBeSame(release, run.releaseBefore);
}

function expire(canary: CanaryState, config: CanaryConfig, why: string, atMs: number): Incident {
  const run = canary.run!;
  const was = run.state;
  moveTo(canary, "expired", atMs);
  startGrid(canary, config, atMs);
  return incident("run_expired", isoTime(atMs), run.id, { subject: subjectOf(config) }, { run: run.id, state: was, why });
}

/**
 * How long the whole canary slice must agree on a new release before observation opens a run: two periods of its health signals,
 * each believed up to one window.
 */
export function observationMs(state: State, config: CanaryConfig): number {
  let periodMs = 0;
  for (const gateway of gatewaysOfCanary(state, config)) {
    if (gateway.slice === "canary") periodMs = Math.max(periodMs, gateway.seen.get("health")?.periodMs ?? 0);
  }
  return 2 * Math.min(periodMs, config.policy.windowMs);
}

/** Watches the canary slice for a release other than stable's, and opens a run if no controller is configured to do so. */
function observeRelease(
  state: State,
  canary: CanaryState,
  config: CanaryConfig,
  { canary: release, stable }: Slices,
  atMs: number,
): void {
  const { run } = canary;
  if (release === null) {
    canary.observed = null;
    return;
  }
  const sameAsStable = stable !== null && sameRelease(release, stable);
  if (!isOpen(run) && (sameAsStable || (!config.hasStable && canary.rollbackRelease === null))) canary.rollbackRelease = release;
  const comparable = stable !== null && !couldBeSame(release, stable);
  const underTest =
    run !== null && isOpen(run) && (run.openedBy !== "observation" || (run.pinned !== null && sameRelease(run.pinned, release)));
  const done = canary.finished.includes(revisionOf(release, null));
  if (config.hasController || !comparable || underTest || done || !canarySliceFresh(state, config, atMs)) {
    canary.observed = null;
    return;
  }
  if (canary.observed === null || !sameRelease(canary.observed.release, release)) {
    canary.observed = { release, sinceMs: atMs };
    return;
  }
  if (atMs < canary.observed.sinceMs + observationMs(state, config)) return;
  openRun(
    state,
    canary,
    config,
    { openedBy: "observation", controllerRevision: null, release, announcedHash: null, announcedVersion: null },
    atMs,
  );
  startWarming(state, canary, config, atMs);
}

const canaryGateways = (state: State, config: CanaryConfig) =>
  gatewaysOfCanary(state, config).filter(({ slice }) => slice === "canary");

function canarySliceFresh(state: State, config: CanaryConfig, atMs: number): boolean {
  return canaryGateways(state, config).every((gateway) => isCurrent(gateway, "health", config.policy, atMs));
}

/**
 * A release on the canary slice that is not under test because it was analyzed before the last run: observation opens no second
 * run for it.
 */
export function alreadyAnalyzedRelease(state: State, canary: CanaryState, config: CanaryConfig): Release | undefined {
  if (config.hasController || isOpen(canary.run)) return undefined;
  const release = canaryRelease(state, config);
  if (release === null) return undefined;
  const stable = stableRelease(state, canary, config);
  if (stable === null || couldBeSame(release, stable)) return undefined;
  const pinned = canary.run?.pinned ?? null;
  if (pinned !== null && sameRelease(pinned, release)) return undefined;
  return canary.finished.includes(revisionOf(release, null)) ? release : undefined;
}

/** Whether the canary slice changed its release during the run without an announcement. Returns its current release. */
export function unannouncedRelease(state: State, canary: CanaryState, config: CanaryConfig): Release | undefined {
  const { run } = canary;
  if (run === null || (run.state !== "warming" && run.state !== "active") || run.pinned === null) return undefined;
  const release = canaryRelease(state, config);
  return release !== null && !sameRelease(release, run.pinned) ? release : undefined;
}
