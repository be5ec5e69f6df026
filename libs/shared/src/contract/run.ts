/**
 * A run: one analysis of one revision.
 *
 *   idle ──announced──▶ pending ──▶ warming ──warm-up──▶ active ──▶ passed | failed | aborted | superseded | expired | unjudged
 *     └── canary slice agrees on a release ≠ stable's for two periods ──▶ warming
 *
 * pending     a revision was announced; its release is not on the canary slice and no traffic was shifted. Ends in warming or
 * expired.
 * warming     the release is pinned; traffic is measured and not judged. Ends in active when the warm-up has passed.
 * active      windows are judged. Its controller reports the end: passed if the run was promotable, else unjudged, or aborted. It passes
 *             by its windows if no controller judges it, or Argo Rollouts no longer measures it. Otherwise it fails or expires.
 * failed      latched. The canary counts as active until its slice is back on stable's release, an operator clears it, or a new
 *             revision opens a run. It never expires: an incident is raised when the run's time limit has passed.
 * the others  ended; nothing is frozen.
 *
 * Every other state ends without intervention: pending expires, warming is timed, active passes, fails or expires.
 */
export const RUN_STATES = [
  "idle",
  "pending",
  "warming",
  "active",
  "passed",
  "failed",
  "aborted",
  "superseded",
  "expired",
  "unjudged",
] as const;
export type RunState = (typeof RUN_STATES)[number];

/** The fields of a run that determine its progress, as in a `RunView`. */
export interface RunProgress {
  readonly state: RunState;
  readonly canary_active: boolean;
}

/** Whether a run has not ended: pending, analyzed, or failed and not yet restored. */
export function isOpenRun(run: RunProgress | null | undefined): boolean {
  if (run == null) return false;
  return (
    run.state === "pending" || run.state === "warming" || run.state === "active" || (run.state === "failed" && run.canary_active)
  );
}

/** Whether a run failed and its canary slice is back on stable's release. */
export function isRestoredRun(run: RunProgress | null): boolean {
  return run !== null && run.state === "failed" && !run.canary_active;
}

export type Slice = "canary" | "stable";

/** The release of a gateway. `null` means unknown. */
export interface Release {
  readonly gateway_version: string | null;
  readonly skill_hash: string | null;
  readonly fragment_hash: string | null;
}

export function sameRelease(a: Release, b: Release): boolean {
  return a.gateway_version === b.gateway_version && a.skill_hash === b.skill_hash && a.fragment_hash === b.fragment_hash;
}
