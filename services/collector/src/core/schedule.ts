/**
 * When probes run: on a grid of whole periods since the epoch, so that a probe's readings neither drift nor overlap, and the wake-ups of
 * one collector fall together. Collectors of a fleet are spread over the grid by whole seconds: proxies that log whole seconds
 * keep their requests on one side of a boundary, and two hundred Macs do not ask one Redis in the same millisecond.
 */
import { fnv1a } from "@aviary/shared/contract/ids.ts";

/** What one reading covers: it was made at `at`, and counts in it cover `[at - periodMs, at)`. Milliseconds since the epoch. */
export interface Tick {
  readonly at: number;
  readonly periodMs: number;
}

/** How far a gateway's grid is moved: whole seconds from 0 to below the period, equal for equal names; 0 for periods below 2 s. */
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

/** A reading that comes later than this after the one before covers only its own period: the machine slept, or its clock was set. */
const LONGEST_COVER_MS = 60_000;

/**
 * The tick of a reading at grid instant `at` whose predecessor was at `previous`. A reading that was late or whose predecessor failed
 * covers what lies between, so that no stretch of time is left out or covered twice.
 */
export function tickAt(at: number, previous: number, periodMs: number): Tick {
  const sinceMs = at - previous;
  return { at, periodMs: sinceMs >= 1 && sinceMs <= Math.max(LONGEST_COVER_MS, 2 * periodMs) ? sinceMs : periodMs };
}
