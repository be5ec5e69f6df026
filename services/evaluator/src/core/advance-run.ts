/** The transitions of a run that no message requests: they follow from the releases on the Macs, from time, and from silence. */
import { type Incident, incident } from "@aviary/shared/contract/incident.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import type { Release } from "@aviary/shared/contract/run.ts";
import { callerGoneAtMs, followsMacs } from "./callers.ts";
import { observeRelease } from "./observe-release.ts";
import { couldBeSame, isKnownSame } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { moveTo, restartEvidence, startWarming, subjectOf } from "./run.ts";
import { canaryGateways, canaryRelease, restoreTarget, type Slices, stableRelease } from "./slice-releases.ts";
import { type CanaryState, isOpen, type Run, type State, startGrid } from "./state.ts";

/**
 * Changes of the run that no message requests: pending to warming when the Macs run the release, warming to active, an observed
 * release superseded, restored after a failure, expiry, the silence of its caller. Called whenever a fact changed or a deadline
 * fired.
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

/**
 * Whether the warm-up of a pending run starts: its release is on the canary slice, or the controller shifts traffic and the Macs
 * had time to change.
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
  if (
    followsMacs(run, config) &&
    (run.openedBy === "observation" ? isKnownSame(release, slices.stable) : isUndone(run, slices))
  ) {
    moveTo(canary, "superseded", atMs);
    startGrid(canary, config, atMs);
    return;
  }
  if (release !== null && run.pinned !== null && !couldBeSame(run.pinned, release) && isAnnounced(run, release)) {
    // The announced pack arrives while traffic is already shifted, so earlier measurements are of another release.
    run.pinned = release;
    restartEvidence(canary, config, atMs);
    return;
  }
  // Parts that were unknown when the release was pinned are completed, which is not a change.
  if (release !== null && (run.pinned === null || couldBeSame(run.pinned, release))) run.pinned = release;
  if (run.state === "warming" && atMs >= run.judgeFromMs) moveTo(canary, "active", atMs);
}

/** Whether the release under test was removed from the canary slice again. */
const isUndone = ({ pinned }: Run, { canary: release, stable }: Slices): boolean =>
  pinned !== null && !isKnownSame(pinned, stable) && isKnownSame(release, stable);

const isAnnounced = (run: Run, release: Release): boolean =>
  run.announcedHash !== null && release.skill_hash === run.announcedHash;

function restoreFailed({ state, canary, run, slices, config, atMs }: Advance): void {
  const isBack = isKnownSame(slices.canary, restoreTarget(state, canary, config));
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
  return isUndone(run, slices) ? [expire(canary, config, "its caller is gone and its release was removed", atMs)] : [];
}

function notRestored(run: Run, config: CanaryConfig, atMs: number): Incident {
  const facts = { run: run.id, failed_at: isoTime(run.latch?.atMs ?? run.stateSinceMs) };
  return incident("not_restored", isoTime(atMs), run.id, { subject: subjectOf(config) }, facts);
}

/**
 * New to the canary slice: neither stable's release, nor the slice's own when the run opened, nor that of the run which this one
 * replaced. The Macs get the release of a revision after its controller has named it; pinning the old one would refuse the new one.
 */
function isNew(run: Run, release: Release, stable: Release | null): boolean {
  if (stable !== null && couldBeSame(release, stable)) return false;
  if (run.replacedRelease !== null && couldBeSame(release, run.replacedRelease)) return false;
  return run.releaseBefore === null || stable !== null || !couldBeSame(release, run.releaseBefore);
}

function expire(canary: CanaryState, config: CanaryConfig, why: string, atMs: number): Incident {
  const run = canary.run!;
  const was = run.state;
  moveTo(canary, "expired", atMs);
  startGrid(canary, config, atMs);
  return incident("run_expired", isoTime(atMs), run.id, { subject: subjectOf(config) }, { run: run.id, state: was, why });
}
