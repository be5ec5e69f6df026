/**
 * Restarts of a gateway, and how long it has been down, as its signals show. Two sources report a restart: a lower uptime in
 * `health`, and a higher count in `process` of the same collector boot. Both may report the same one, so the higher of the two
 * counts is used.
 */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";

export interface RestartTrack {
  /** As last reported; null before the first report. */
  uptimeMs: number | null;
  processRestarts: number | null;
  /** Event times of the observed restarts, oldest first. */
  readonly byUptime: number[];
  readonly byProcess: number[];
  /** Event time since which every health signal has reported that the gateway is not up; null while it is up or unknown. */
  downSinceMs: number | null;
}

/** Restarts kept per source; a policy's limit is below it. */
export const MAX_RESTARTS_KEPT = 100;

export function createRestartTrack(): RestartTrack {
  return { uptimeMs: null, processRestarts: null, byUptime: [], byProcess: [], downSinceMs: null };
}

/** One signal and its relation to the previous one of its kind. */
export interface TrackedSignal {
  readonly observedAtMs: number;
  /** Whether the previous signal was still current. */
  readonly isContinuous: boolean;
  /** Whether the gateway is in maintenance, when a restart is part of the work. */
  readonly isPlanned: boolean;
}

/** Applies a health signal. Returns whether it showed a restart. */
export function trackHealth(track: RestartTrack, { state, uptime_ms }: SignalBody<"health">, signal: TrackedSignal): boolean {
  const isBack = state === "up";
  track.downSinceMs = isBack ? null : signal.isContinuous ? (track.downSinceMs ?? signal.observedAtMs) : signal.observedAtMs;
  const hasRestarted = uptime_ms !== null && track.uptimeMs !== null && uptime_ms < track.uptimeMs;
  track.uptimeMs = uptime_ms ?? track.uptimeMs;
  if (!hasRestarted || signal.isPlanned) return false;
  keep(track.byUptime, signal.observedAtMs, 1);
  return true;
}

/**
 * Applies a process signal. Returns whether it showed a restart.
 * @param isSameBoot whether the same collector boot sent the previous signal; the count starts at 0 in each boot
 */
export function trackProcess(
  track: RestartTrack,
  { restarts }: SignalBody<"process">,
  signal: TrackedSignal & { readonly isSameBoot: boolean },
): boolean {
  // The first report is the starting point; that of another collector counts from the start of that collector.
  const before = track.processRestarts ?? restarts;
  const more = signal.isSameBoot || track.processRestarts === null ? restarts - before : restarts;
  track.processRestarts = restarts;
  if (more <= 0 || signal.isPlanned) return false;
  keep(track.byProcess, signal.observedAtMs, more);
  return true;
}

function keep(times: number[], atMs: number, count: number): void {
  for (let left = Math.min(count, MAX_RESTARTS_KEPT); left > 0; left--) times.push(atMs);
  times.splice(0, Math.max(0, times.length - MAX_RESTARTS_KEPT));
}

/** Restarts observed at or after `fromMs`, event time. */
export function restartsSince({ byUptime, byProcess }: RestartTrack, fromMs: number): number {
  const since = (times: readonly number[]): number => times.filter((atMs) => atMs >= fromMs).length;
  return Math.max(since(byUptime), since(byProcess));
}

/** Event time of the newest restart; undefined if none was observed. */
export function lastRestartMs({ byUptime, byProcess }: RestartTrack): number | undefined {
  const newest = Math.max(byUptime.at(-1) ?? Number.NEGATIVE_INFINITY, byProcess.at(-1) ?? Number.NEGATIVE_INFINITY);
  return newest === Number.NEGATIVE_INFINITY ? undefined : newest;
}
