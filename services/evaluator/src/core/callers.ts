/** Who may change a run: its judging caller and operators. Other callers only read. */
import { type CallerClass, isJudgingClass, type JudgingClass } from "@aviary/shared/contract/fleet.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { isOpen, type Run } from "./state.ts";

/** The class that judges the run now; null if the next judging class that names it takes the seat. A seat ends with its run. */
export function judgingCaller(run: Run | null, config: CanaryConfig): JudgingClass | null {
  if (config.judge !== undefined) return config.judge;
  return isOpen(run) ? (run?.seat ?? null) : null;
}

/** Whether messages of this class about revision, weight, phase, gates and end change the state. */
export function maySpeak(caller: CallerClass, run: Run | null, config: CanaryConfig): caller is JudgingClass | "operator" {
  if (caller === "operator") return true;
  if (!isJudgingClass(caller)) return false;
  const judge = judgingCaller(run, config);
  return judge === null || judge === caller;
}

const LEASE_INTERVALS = 10;
const MIN_LEASE_MS = 10 * 60_000;

/**
 * How long the judging caller of a run may be silent, milliseconds. Argo Rollouts may run no analysis between two steps, so it may
 * be silent for the whole run.
 */
export function callerLeaseMs(seat: JudgingClass, { policy, intervalMs }: CanaryConfig): number {
  if (policy.callerLeaseMs !== null) return policy.callerLeaseMs;
  return seat === "rollouts" ? policy.maxRunMs : Math.max(LEASE_INTERVALS * intervalMs[seat], MIN_LEASE_MS);
}

/** When the open run's caller counts as gone if it stays silent; Infinity if no caller has named the run. */
export function callerGoneAtMs(run: Run, config: CanaryConfig): number {
  return run.seat === null ? Number.POSITIVE_INFINITY : run.lastCallMs + callerLeaseMs(run.seat, config);
}
