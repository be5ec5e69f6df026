/**
 * Counts restarts of a gateway from the outside. An in-process restart keeps the process id, and a crashed gateway returns with
 * another one, so either sign counts: a decreased uptime or a changed id. Uptimes are compared with uptimes, never with the
 * clock, which jumps when a Mac sleeps.
 */

export interface LifeSigns {
  /** As last reported by the gateway; null while it does not respond. */
  readonly uptimeMs: number | null;
  readonly pid: number | null;
}

export interface Lives {
  readonly last: LifeSigns;
  /** A name of the gateway's current boot: its start time in base 36. Null until the gateway has reported its uptime. */
  readonly boot: string | null;
  /** Since the collector started. */
  readonly restarts: number;
}

export const NO_LIVES: Lives = { last: { uptimeMs: null, pid: null }, boot: null, restarts: 0 };

/** The state after one more observation at `at`, milliseconds since the epoch. */
export function seeLife(lives: Lives, now: LifeSigns, at: number): Lives {
  const { last } = lives;
  const younger = now.uptimeMs !== null && last.uptimeMs !== null && now.uptimeMs < last.uptimeMs;
  const another = now.pid !== null && last.pid !== null && now.pid !== last.pid;
  const begun = now.uptimeMs === null ? null : Math.max(0, Math.floor(at - now.uptimeMs)).toString(36);
  return {
    // An uptime that arrives with a new process id may still be that of the previous process.
    last: { uptimeMs: another ? null : (now.uptimeMs ?? last.uptimeMs), pid: now.pid ?? last.pid },
    // Named once per boot: uptimes and clocks are read a few milliseconds apart.
    boot: another ? null : younger ? begun : (lives.boot ?? begun),
    restarts: lives.restarts + (younger || another ? 1 : 0),
  };
}
