/** The release of each slice, and the release that a canary is restored to. */
import type { Release, Slice } from "@aviary/shared/contract/run.ts";
import { sameRelease } from "@aviary/shared/contract/run.ts";
import { knownRelease } from "./known-facts.ts";
import { agreedRelease, isKnownSame } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { type CanaryState, gatewaysOfCanary, isOpen, type State } from "./state.ts";

/** What each slice runs now; null if its gateways disagree or are unknown. */
export interface Slices {
  readonly canary: Release | null;
  readonly stable: Release | null;
}

export const canaryGateways = (state: State, config: CanaryConfig) =>
  gatewaysOfCanary(state, config).filter(({ slice }) => slice === "canary");

/** The current release of the whole canary slice, or null. */
export function canaryRelease(state: State, config: CanaryConfig): Release | null {
  return sliceRelease(state, config, "canary");
}

/** The release to roll back to: stable's, or the canary slice's own before the run if there is no stable slice. */
export function stableRelease(state: State, canary: CanaryState, config: CanaryConfig): Release | null {
  if (!config.hasStable) return canary.rollbackRelease;
  return sliceRelease(state, config, "stable");
}

/**
 * The release of one slice. The canary slice has none while a part of one gateway is stale. A silent stable
 * gateway is ignored, because its failure would otherwise make a rollback impossible.
 */
function sliceRelease(state: State, config: CanaryConfig, slice: Slice): Release | null {
  const releases = gatewaysOfCanary(state, config)
    .filter((gateway) => gateway.slice === slice)
    .map((gateway) => ({ gateway, release: knownRelease(gateway, config.policy, state.nowMs) }));
  return agreedRelease(releases.filter(({ release }) => slice === "canary" || !release.isOutdated));
}

/**
 * The release with which a failed canary is restored and stable is repaired: stable's, or the last one that its gateways agreed on,
 * or the last one that passed. It is never the release under test.
 */
export function restoreTarget(state: State, canary: CanaryState, config: CanaryConfig): Release | null {
  return stableRelease(state, canary, config) ?? canary.lastStable ?? canary.passedRelease;
}

/**
 * Whether the canary slice's traffic is healthy traffic: no run is open, and the slice runs stable's release. Without a stable
 * slice, its own past is the only available reference.
 */
export function isCanaryHealthy(state: State, canary: CanaryState, config: CanaryConfig): boolean {
  if (isOpen(canary.run)) return false;
  return !config.hasStable || isKnownSame(canaryRelease(state, config), stableRelease(state, canary, config));
}

/** Whether the canary slice changed its release during the run without an announcement. Returns its current release. */
export function unannouncedRelease(state: State, canary: CanaryState, config: CanaryConfig): Release | undefined {
  const { run } = canary;
  if (run === null || (run.state !== "warming" && run.state !== "active") || run.pinned === null) return undefined;
  const release = canaryRelease(state, config);
  return release !== null && !sameRelease(release, run.pinned) ? release : undefined;
}
