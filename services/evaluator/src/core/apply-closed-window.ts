/** Applies a closed window: judges it if a run is active, and keeps it as history for the next run's reference. */
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { historyWindow } from "./history-window.ts";
import { judge } from "./judge/judge.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import type { CanaryState } from "./state.ts";

/** Windows passed to one call of the judge, and windows a reference is estimated from. */
export const JUDGED_WINDOWS = 12;
export const HISTORY_WINDOWS = 48;

/**
 * Judges the window if the canary's run is active and measured part of it; keeps it as history if it is complete.
 * @param canaryIsHealthy whether the canary slice runs a release that is not under test and did not fail
 */
export function applyClosedWindow(
  canary: CanaryState,
  config: CanaryConfig,
  closed: ClosedWindow,
  canaryIsHealthy: boolean,
): void {
  const { run } = canary;
  if (run !== null && run.state === "active" && run.latch === null && Date.parse(closed.window.end) > run.judgeFromMs) {
    run.windows = [...run.windows, closed].slice(-JUDGED_WINDOWS);
    run.outcome = judge(run.windows, config.policy, {
      judged: run.judged,
      memory: run.memory,
      reference: run.reference,
      hasStable: config.hasStable,
    });
    run.memory = run.outcome.memory;
    run.judged += 1;
  }
  if (closed.complete) {
    const kept = historyWindow(closed, canaryIsHealthy);
    if (kept.cells.length > 0) canary.history = [...canary.history, kept].slice(-HISTORY_WINDOWS);
  }
}
