/**
 * How far the clock of a Mac is off, as far as the broker can observe it: the time of a signal against its store time.
 *
 *   ahead    one signal whose time is more than 5 s after its store time
 *   behind   signals more than 5 s old that are stored at the pace at which they are observed. A spool that is published after an
 *            outage is stored faster than that, and a queue that was held up all at once
 *
 * A clock that is behind cannot be distinguished from an uplink that delays everything; both need attention.
 */
import { MAX_CLOCK_AHEAD_MS } from "@aviary/shared/contract/policy.ts";

export interface ClockTrack {
  /** How far the clock is ahead (positive) or behind (negative), milliseconds; null if it is right or unknown. */
  offsetMs: number | null;
  /** Broker time since which it is off. */
  sinceMs: number;
  /** The last health signal: its event and store time, and its collector boot. */
  last: ClockReading | null;
  /** Consecutive old signals that were stored at the pace at which they were observed. */
  atPace: number;
}

export interface ClockReading {
  readonly observedAtMs: number;
  readonly storedAtMs: number;
  readonly boot: string;
}

/** Old signals at pace that show a wrong clock. */
const REQUIRED_AT_PACE = 3;
/** How much the pace may differ, milliseconds, or as a ratio of the time between two signals. */
const PACE_TOLERANCE_MS = 1_000;
const PACE_TOLERANCE_RATIO = 0.25;

export function createClockTrack(): ClockTrack {
  return { offsetMs: null, sinceMs: 0, last: null, atPace: 0 };
}

/** Records a signal from the future. Returns whether the clock was not known to be ahead. */
export function trackAhead(track: ClockTrack, { observedAtMs, storedAtMs }: ClockReading): boolean {
  track.atPace = 0;
  track.last = null;
  return setOffset(track, observedAtMs - storedAtMs, storedAtMs);
}

/**
 * Records the newest health signal of a gateway; its period is short and regular. Returns whether it changed what is known of the
 * clock.
 */
export function trackReading(track: ClockTrack, reading: ClockReading): boolean {
  const { last } = track;
  const delayMs = reading.storedAtMs - reading.observedAtMs;
  track.last = reading;
  if (delayMs <= MAX_CLOCK_AHEAD_MS) {
    track.atPace = 0;
    return setOffset(track, null, reading.storedAtMs);
  }
  track.atPace = last !== null && last.boot === reading.boot && isAtPace(last, reading) ? track.atPace + 1 : 0;
  return track.atPace >= REQUIRED_AT_PACE && setOffset(track, -delayMs, reading.storedAtMs);
}

function isAtPace(last: ClockReading, reading: ClockReading): boolean {
  const observedMs = reading.observedAtMs - last.observedAtMs;
  const storedMs = reading.storedAtMs - last.storedAtMs;
  return observedMs > 0 && Math.abs(storedMs - observedMs) <= Math.max(PACE_TOLERANCE_MS, PACE_TOLERANCE_RATIO * observedMs);
}

/** @returns whether the clock turned right, or wrong in another direction */
function setOffset(track: ClockTrack, offsetMs: number | null, atMs: number): boolean {
  const before = track.offsetMs === null ? 0 : Math.sign(track.offsetMs);
  const changed = before !== (offsetMs === null ? 0 : Math.sign(offsetMs));
  track.offsetMs = offsetMs;
  if (changed) track.sinceMs = atMs;
  return changed;
}
