/**
 * Counting restarts of a gateway from outside. An in-process restart keeps the process id, and a crashed gateway comes back under another one, so either
 * sign counts: the uptime went down, or the id changed. Uptime alone is compared with uptime, never with the clock, which jumps when a Mac sleeps.
 */

export interface ProcessSample {
  /** As the gateway last said; null while it does not answer. */
  readonly uptimeMs: number | null;
  readonly pid: number | null;
}

export interface RestartState {
  readonly last: ProcessSample;
  /** A name of the present life: when it began, in base 36. Null until the gateway has told its uptime. */
  readonly boot: string | null;
  /** Since the collector started. */
  readonly restarts: number;
}

export const NO_RESTARTS: RestartState = { last: { uptimeMs: null, pid: null }, boot: null, restarts: 0 };

/** What is known after one more look at `at`, milliseconds since the epoch. */
export function applySample(lives: RestartState, now: ProcessSample, at: number): RestartState {
  const { last } = lives;
  const younger = now.uptimeMs !== null && last.uptimeMs !== null && now.uptimeMs < last.uptimeMs;
  const another = now.pid !== null && last.pid !== null && now.pid !== last.pid;
  const begun = now.uptimeMs === null ? null : Math.max(0, Math.floor(at - now.uptimeMs)).toString(36);
  return {
    // An uptime that came with another process id may still be the one of the life before.
    last: { uptimeMs: another ? null : (now.uptimeMs ?? last.uptimeMs), pid: now.pid ?? last.pid },
    // Named once a life: uptimes and clocks are read a few milliseconds apart.
    boot: another ? null : younger ? begun : (lives.boot ?? begun),
    restarts: lives.restarts + (younger || another ? 1 : 0),
  };
}
