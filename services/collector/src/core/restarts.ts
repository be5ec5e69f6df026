/**
 * Counts gateway restarts from outside. An in-process restart keeps the process id, and a crash changes it, so a restart is either a lower
 * uptime or a new process id. Uptime is compared only with uptime, because the clock jumps when a Mac sleeps.
 */

export interface ProcessSample {
  /** As last reported by the gateway; null before the first report. */
  readonly uptimeMs: number | null;
  readonly pid: number | null;
}

export interface RestartState {
  readonly last: ProcessSample;
  /** Id of the current run: its start time in base 36. Null until the gateway reports an uptime. */
  readonly boot: string | null;
  /** Since the collector started. */
  readonly restarts: number;
}

export const NO_RESTARTS: RestartState = { last: { uptimeMs: null, pid: null }, boot: null, restarts: 0 };

/** The state after a sample taken at `at`, milliseconds since the epoch. */
export function applySample(state: RestartState, now: ProcessSample, atMs: number): RestartState {
  const { last } = state;
  const isUptimeLower = now.uptimeMs !== null && last.uptimeMs !== null && now.uptimeMs < last.uptimeMs;
  const isNewProcess = now.pid !== null && last.pid !== null && now.pid !== last.pid;
  const boot = now.uptimeMs === null ? null : Math.max(0, Math.floor(atMs - now.uptimeMs)).toString(36);
  return {
    // The uptime in a sample with a new process id may belong to the previous process.
    last: { uptimeMs: isNewProcess ? null : (now.uptimeMs ?? last.uptimeMs), pid: now.pid ?? last.pid },
    // Assigned once per run, because uptime and clock are read a few milliseconds apart.
    boot: isNewProcess ? null : isUptimeLower ? boot : (state.boot ?? boot),
    restarts: state.restarts + (isUptimeLower || isNewProcess ? 1 : 0),
  };
}
