/**
 * When probes run: on a grid of whole periods since the epoch, so that the readings of a probe neither drift nor overlap, and one
 * collector's wake-ups coincide. Collectors of a fleet are offset by whole seconds: requests logged by proxies with a resolution
 * of one second stay on one side of a boundary, and two hundred Macs do not query one Redis in the same millisecond.
 */
import { fnv1a } from "@aviary/shared/contract/ids.ts";

/** The range of one reading: made at `at`, its counts cover `[at - periodMs, at)`. Milliseconds since the epoch. */
export interface Tick {
  readonly at: number;
  readonly periodMs: number;
}

/** The offset of a gateway's grid: whole seconds from 0 to below the period, equal for equal names; 0 for periods below 2 s. */
export function phaseMs(gateway: string, periodMs: number): number {
  const seconds = Math.floor(periodMs / 1_000);
  if (seconds < 2) return 0;
  return (fnv1a(gateway) % seconds) * 1_000;
}

/** The last grid instant at or before `now`. */
export function gridBefore(now: number, periodMs: number, phase: number): number {
  return Math.floor((now - phase) / periodMs) * periodMs + phase;
}

/** The first grid instant after `now`. */
export function gridAfter(now: number, periodMs: number, phase: number): number {
  return gridBefore(now, periodMs, phase) + periodMs;
}

/**
 * A reading that is later than this after the previous one covers only its own period: the machine slept, or its clock was set.
 */
const LONGEST_COVER_MS = 60_000;

/**
 * The tick of a reading at grid instant `at` whose predecessor was at `previous`. After a late or failed predecessor the reading
 * covers the time since, so that no time is omitted or covered twice.
 */
export function tickAt(at: number, previous: number, periodMs: number): Tick {
  const sinceMs = at - previous;
  return { at, periodMs: sinceMs >= 1 && sinceMs <= Math.max(LONGEST_COVER_MS, 2 * periodMs) ? sinceMs : periodMs };
}
