/**
 * When the reducer must re-evaluate a canary if no message makes it do so earlier. Reconciling a canary at T handles every
 * deadline up to T.
 */

import { callerGoneAtMs } from "./callers.ts";
import { observationMs } from "./observe-release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { type CanaryState, isOpen, type State } from "./state.ts";
import { closeAtMs } from "./window.ts";

/** The earliest deadline of one canary, broker time; Infinity before the first message of the log. */
export function canaryDeadlineMs(state: State, canary: CanaryState, config: CanaryConfig): number {
  const { policy } = config;
  const { run } = canary;
  let next = canary.grid === null ? Number.POSITIVE_INFINITY : closeAtMs(canary.grid, policy.graceMs);
  const consider = (ms: number): void => {
    if (ms > canary.reconciledAtMs && ms < next) next = ms;
  };
  consider(canary.staleCheckMs);
  if (canary.observed !== null) consider(canary.observed.sinceMs + observationMs(state, config));
  if (canary.maintenance !== null) consider(canary.maintenance.untilMs);
  for (const key of config.gateways) {
    const until = state.gateways.get(key)!.maintenanceUntilMs;
    if (until > 0) consider(until);
  }
  if (run === null) return next;
  if (run.state === "pending") {
    consider(run.lastCallMs + policy.maxPendingMs);
    if (run.shiftedSinceMs > 0) consider(run.shiftedSinceMs + policy.settleReleaseMs);
  }
  if (run.state === "warming") consider(run.judgeFromMs);
  if (isOpen(run)) consider(run.sinceMs + policy.maxRunMs);
  if (isOpen(run) && run.state !== "failed") consider(callerGoneAtMs(run, config));
  if (run.state === "active" && run.heldSinceMs > 0 && !run.holdExpired) consider(run.heldSinceMs + policy.holdBudgetMs);
  return next;
}
