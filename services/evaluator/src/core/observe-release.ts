/** Observation: a canary without a judging caller, whose run opens when its slice agrees on a new release. */
import type { Release } from "@aviary/shared/contract/run.ts";
import { sameRelease } from "@aviary/shared/contract/run.ts";
import { followsMacs } from "./callers.ts";
import { isCurrent } from "./freshness.ts";
import { couldBeSame, isKnownSame } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { openRun, revisionOf, startWarming } from "./run.ts";
import { canaryGateways, canaryRelease, type Slices, stableRelease } from "./slice-releases.ts";
import { type CanaryState, gatewaysOfCanary, isOpen, type State } from "./state.ts";

/** Watches the canary slice for a release other than stable's, and opens a run if no judging caller is configured to do so. */
export function observeRelease(
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
  const sameAsStable = isKnownSame(release, stable);
  if (!isOpen(run) && (sameAsStable || (!config.hasStable && canary.rollbackRelease === null))) canary.rollbackRelease = release;
  const comparable = stable !== null && !couldBeSame(release, stable);
  const underTest =
    run !== null && isOpen(run) && (!followsMacs(run, config) || isKnownSame(run.pinned ?? run.releaseBefore, release));
  const done = canary.finished.includes(revisionOf(release, null));
  if (config.hasJudge || !comparable || underTest || done || !canarySliceFresh(state, config, atMs)) {
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

/**
 * How long the whole canary slice must agree on a new release before observation opens a run: two periods of its health signals,
 * each capped at one window.
 */
export function observationMs(state: State, config: CanaryConfig): number {
  let periodMs = 0;
  for (const gateway of gatewaysOfCanary(state, config)) {
    if (gateway.slice === "canary") periodMs = Math.max(periodMs, gateway.seen.get("health")?.periodMs ?? 0);
  }
  return 2 * Math.min(periodMs, config.policy.windowMs);
}

function canarySliceFresh(state: State, config: CanaryConfig, atMs: number): boolean {
  return canaryGateways(state, config).every((gateway) => isCurrent(gateway, "health", config.policy, atMs));
}

/**
 * A release on the canary slice that is not under test because it was analyzed before the last run: observation opens no second
 * run for it.
 */
export function alreadyAnalyzedRelease(state: State, canary: CanaryState, config: CanaryConfig): Release | undefined {
  if (config.hasJudge || isOpen(canary.run)) return undefined;
  const release = canaryRelease(state, config);
  if (release === null) return undefined;
  const stable = stableRelease(state, canary, config);
  if (stable === null || couldBeSame(release, stable)) return undefined;
  if (isKnownSame(canary.run?.pinned ?? null, release)) return undefined;
  return canary.finished.includes(revisionOf(release, null)) ? release : undefined;
}
