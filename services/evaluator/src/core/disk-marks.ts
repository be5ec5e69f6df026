/**
 * The level of a gateway's disk against the marks of one policy, and when it rose to it. Canaries that share a fleet may have
 * different marks, so each keeps its own levels.
 */
import { DISK_HYSTERESIS_RATIO } from "@aviary/shared/contract/policy.ts";

export type DiskLevel = "green" | "yellow" | "red";

export interface DiskMark {
  readonly level: DiskLevel;
  /** Broker time of the reading that first showed this level. */
  readonly sinceMs: number;
  /**
   * Event time at which the level rose to this one; null if its rise was not observed, because the previous reading is absent or
   * was stale. Only an observed rise can have begun in a run.
   */
  readonly roseAtMs: number | null;
}

export interface DiskReading {
  readonly usedRatio: number;
  readonly observedAtMs: number;
  readonly storedAtMs: number;
  /** Whether the previous reading was still current. */
  readonly isContinuous: boolean;
}

export interface Marks {
  readonly yellow: number;
  readonly red: number;
}

const LEVELS: readonly DiskLevel[] = ["green", "yellow", "red"];

/** The disk level with hysteresis: a mark is crossed at or above it, and cleared two points below it. */
export function diskLevel(before: DiskLevel, usedRatio: number, marks: Marks): DiskLevel {
  if (usedRatio >= marks.red || (before === "red" && usedRatio >= marks.red - DISK_HYSTERESIS_RATIO)) return "red";
  if (usedRatio >= marks.yellow || (before !== "green" && usedRatio >= marks.yellow - DISK_HYSTERESIS_RATIO)) return "yellow";
  return "green";
}

/** The mark after a reading; the same object if nothing changed. */
export function nextDiskMark(before: DiskMark | undefined, reading: DiskReading, marks: Marks): DiskMark {
  const level = diskLevel(before?.level ?? "green", reading.usedRatio, marks);
  if (before !== undefined && level === before.level) return before;
  const rose = before !== undefined && LEVELS.indexOf(level) > LEVELS.indexOf(before.level);
  if (rose) return { level, sinceMs: reading.storedAtMs, roseAtMs: reading.isContinuous ? reading.observedAtMs : null };
  // A disk that falls from red to yellow has been yellow since it rose, whenever that was.
  return { level, sinceMs: reading.storedAtMs, roseAtMs: level === "green" ? null : (before?.roseAtMs ?? null) };
}
