/**
 * The run's state machine (states and diagram: contract/run.ts). Every function modifies one canary and returns the incidents
 * caused by the change. `atMs` is the broker time of the input or deadline that caused it.
 */

import { contentId } from "@aviary/shared/contract/ids.ts";
import { type Incident, incident } from "@aviary/shared/contract/incident.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { type Release, type RunState, type Slice, sameRelease } from "@aviary/shared/contract/run.ts";
import { isCurrent } from "./freshness.ts";
import { referenceFrom } from "./judge/reference.ts";
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
}

/** Opens a run: ends the previous one, starts a new window grid, freezes the reference. */
export function openRun(state: State, canary: CanaryState, config: CanaryConfig, opening: Opening, atMs: number): void {
  if (isOpen(canary.run)) moveTo(canary, "superseded", atMs);
  const revision = revisionOf(opening.release, opening.controllerRevision);
  const releaseBefore = canaryRelease(state, config);
  canary.run = {
    id: `${revision}-${state.sequence}`,
    revision,
    controllerRevision: opening.controllerRevision,
    openedBy: opening.openedBy,
    sinceMs: atMs,
    state: "pending",
    stateSinceMs: atMs,
    judgeFromMs: Number.MAX_SAFE_INTEGER,
    announcedHash: opening.announcedHash,
    announcedVersion: opening.announcedVersion,
    pinned: null,
    releaseBefore,
    weight: 0,
    phase: null,
    gated: opening.openedBy === "controller" && canary.gateBeforeRun?.gated === true,
    confirmed: opening.openedBy === "controller" && canary.gateBeforeRun?.confirmed === true,
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
  canary.gateBeforeRun = null;
  canary.observed = null;
  canary.lastWindow = null;
  startGrid(canary, config, atMs);
}

/**
 * The release of one slice. The canary slice has none while a part of one gateway is too old to be believed. A silent stable
 * gateway is left out: otherwise its failure would make a rollback impossible.
 */
function sliceRelease(state: State, config: CanaryConfig, slice: Slice): Release | null {
  const gateways = gatewaysOfCanary(state, config).filter(
    (gateway) => gateway.slice === slice && (slice === "canary" || !knownRelease(gateway, config.policy, state.nowMs).isOutdated),
  );
  return agreedRelease(gateways, config.policy, state.nowMs);
}

/** The current release of the whole canary slice, or null. */
export function canaryRelease(state: State, config: CanaryConfig): Release | null {
  return sliceRelease(state, config, "canary");
}

/** The release to roll back to: stable's, or the canary slice's own before the run if there is no stable slice. */
export function stableRelease(state: State, canary: CanaryState, config: CanaryConfig): Release | null {
  if (!config.hasStable) return canary.rollbackRelease;
  return sliceRelease(state, config, "stable");
}

/** Enters a state; a state that ends the run records its revision, so that it is not analyzed again automatically. */
export function moveTo(canary: CanaryState, to: RunState, atMs: number): void {
  const { run } = canary;
  if (run === null) return;
  run.state = to;
  run.stateSinceMs = atMs;
  run.heldSinceMs = 0;
  if (to === "passed" || to === "failed" || to === "aborted" || to === "expired") {
    remember(canary, run.revision);
    if (run.controllerRevision !== null) remember(canary, run.controllerRevision);
    if (run.pinned !== null) remember(canary, revisionOf(run.pinned, null));
  }
  if (to === "passed") canary.everPassed = true;
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
 * release superseded, restored after a failure, expiry. Called whenever a fact changed or a deadline fired.
 */
export function advance(state: State, canary: CanaryState, config: CanaryConfig, atMs: number): Incident[] {
  const incidents: Incident[] = [];
  if (canary.maintenance !== null && canary.maintenance.untilMs <= atMs) canary.maintenance = null;
  const release = canaryRelease(state, config);
  const stable = stableRelease(state, canary, config);
  observeRelease(state, canary, config, { canary: release, stable }, atMs);
  const { run } = canary;
  if (run === null) return incidents;

  if (run.state === "pending") {
    const arrived =
      release !== null && (run.announcedHash === null ? isNew(run, release, stable) : release.skill_hash === run.announcedHash);
    if (arrived) startWarming(state, canary, config, atMs);
    else if (atMs >= run.sinceMs + config.policy.maxPendingMs)
      incidents.push(expire(canary, config, "pending for too long", atMs));
  }
  if (run.state === "warming" || run.state === "active") {
    // Parts that were unknown when the release was pinned are completed, which is not a change.
    if (release !== null && (run.pinned === null || couldBeSame(run.pinned, release))) run.pinned = release;
    // The announced pack arrives while traffic already shifts: it was announced, so it becomes the pinned release.
    if (
      run.pinned !== null &&
      release !== null &&
      run.announcedHash !== null &&
      release.skill_hash === run.announcedHash &&
      !sameRelease(run.pinned, release)
    ) {
      run.pinned = release;
    }
    if (run.state === "warming" && atMs >= run.judgeFromMs) moveTo(canary, "active", atMs);
    if (atMs >= run.sinceMs + config.policy.maxRunMs) incidents.push(expire(canary, config, "open for too long", atMs));
  }
  if (run.state === "failed" && !run.restored) {
    if (release !== null && stable !== null && sameRelease(release, stable)) {
      run.restored = true;
      startGrid(canary, config, atMs);
    } else if (atMs >= run.sinceMs + config.policy.maxRunMs)
      incidents.push(expire(canary, config, "failed and not restored", atMs));
  }
  return incidents;
}

/** New to the canary slice: neither stable's release nor the slice's own when the run opened. */
function isNew(run: Run, release: Release, stable: Release | null): boolean {
  if (stable !== null && couldBeSame(release, stable)) return false;
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
  { canary: release, stable }: { readonly canary: Release | null; readonly stable: Release | null },
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

function canarySliceFresh(state: State, config: CanaryConfig, atMs: number): boolean {
  return gatewaysOfCanary(state, config)
    .filter((gateway) => gateway.slice === "canary")
    .every((gateway) => isCurrent(gateway, "health", config.policy, atMs));
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
