/**
 * Schedules probes on a grid of whole periods since the epoch, so that readings neither drift nor overlap and wake-ups coincide.
 * Collectors are offset by whole seconds, so that 200 Macs do not query one Redis at the same moment. Whole seconds also keep the
 * requests of proxies with one-second timestamps on one side of a boundary.
 */
import { fnv1a } from "@aviary/shared/contract/ids.ts";

/** The time of one reading, in milliseconds since the epoch. Its counts cover `[atMs - periodMs, atMs)`. */
export interface Tick {
  readonly atMs: number;
  readonly periodMs: number;
}

/** Grid offset of a gateway: whole seconds below the period, derived from its name; 0 for periods below 2 s. */
export function phaseMs(gateway: string, periodMs: number): number {
  const seconds = Math.floor(periodMs / 1_000);
  if (seconds < 2) return 0;
  return (fnv1a(gateway) % seconds) * 1_000;
}

/** The last grid instant at or before `nowMs`. */
export function gridBefore(nowMs: number, periodMs: number, offsetMs: number): number {
  return Math.floor((nowMs - offsetMs) / periodMs) * periodMs + offsetMs;
}

/** The first grid instant after `nowMs`. */
export function gridAfter(nowMs: number, periodMs: number, offsetMs: number): number {
  return gridBefore(nowMs, periodMs, offsetMs) + periodMs;
}

/** After a longer gap a reading covers only its own period: the machine slept, or its clock was set. */
const LONGEST_COVER_MS = 60_000;

/**
 * The tick of a reading at grid instant `atMs` whose predecessor was at `previousMs`. A late reading, or one after a failure, covers
 * the time since the previous one, so that no time is skipped or counted twice.
 */
export function tickAt(atMs: number, previousMs: number, periodMs: number): Tick {
  const sinceMs = atMs - previousMs;
  return { atMs, periodMs: sinceMs >= 1 && sinceMs <= Math.max(LONGEST_COVER_MS, 2 * periodMs) ? sinceMs : periodMs };
}
