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

/**
 * Whether no controller takes part in the run, so that it follows the releases on the Macs: observation opened it, or Flux, which only
 * announces, in a canary without a judging caller.
 */
export function followsMacs({ openedBy, seat }: Run, config: CanaryConfig): boolean {
  return openedBy === "observation" || (openedBy === "announcer" && seat === null && !config.hasJudge);
}

/**
 * Whether the run ends as passed after enough passes in a row, because nothing else ends it: no judging caller takes part, or Argo Rollouts
 * no longer measures it. While Argo Rollouts measures, a run that ended would answer a healthy rollout with holds.
 */
export function endsByPasses(run: Run, { hasJudge, intervalMs }: CanaryConfig, atMs: number): boolean {
  if (run.seat === "rollouts") return isPause(run.lastCallMs, atMs, intervalMs.rollouts);
  return run.seat === null && !hasJudge;
}

/** More time between two calls of a caller than one that still measures lets pass. */
const PAUSE_INTERVALS = 2;

/** Whether the caller has paused: no call for more than two of its intervals. */
export function isPause(lastCallMs: number, atMs: number, intervalMs: number): boolean {
  return atMs - lastCallMs > PAUSE_INTERVALS * intervalMs;
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
