/**
 * The sequence of one gateway's signals: which numbers were received, which are missing, and when the missing ones must have been
 * sent.
 *
 * A collector numbers its signals from 1 over all kinds during one boot. Messages of one boot may arrive out of order, because
 * the publisher retries. For each boot, the highest number and the gaps below it are kept. A gap that is filled was only late; a
 * gap still open when a window closes makes the window incomplete, if the time between its neighbors overlaps the window.
 *
 * Boots are ordered by the arrival of their first signal, never by the start time in their name, which is the reading of a Mac's
 * clock. A boot seen for the first time is therefore the newest one. An older boot may still deliver its spool.
 * Limits: 4 boots per gateway, 64 gaps per boot, whatever opens them; beyond them the oldest is dropped and recorded as lost
 * time. Of dropped boots, the names of the last 32 are kept, so that their signals do not count twice.
 */
import { formatCount } from "@aviary/shared/contract/units.ts";

/** Missing numbers `from..to`, somewhere in the event time between `afterMs` and `beforeMs`. */
export interface Hole {
  from: number;
  to: number;
  afterMs: number;
  beforeMs: number;
}

export interface BootTrack {
  boot: string;
  highest: number;
  /** Event time of the signal with the highest number. */
  highestAtMs: number;
  holes: Hole[];
}

/** A range of event time for which evidence of this gateway is permanently missing. */
export interface LostTime {
  afterMs: number;
  beforeMs: number;
  why: string;
}

export interface SequenceTrack {
  /** In the order of their first signals. */
  boots: BootTrack[];
  /** Names of boots that were dropped from `boots`, oldest first. */
  dropped: string[];
  lost: LostTime[];
}

export type Arrival = "new" | "duplicate" | "unknown-boot";

const MAX_BOOTS = 4;
const MAX_HOLES = 64;
const MAX_LOST = 64;
const MAX_DROPPED = 32;
/** Later than any window; finite, so that every encoding of a checkpoint can carry it. */
const IN_NO_WINDOW_MS = Number.MAX_SAFE_INTEGER;

export function createSequenceTrack(): SequenceTrack {
  return { boots: [], dropped: [], lost: [] };
}

/** Records that evidence between two event times is missing; drops the oldest record beyond the limit. */
export function recordLostTime(track: SequenceTrack, lost: LostTime): void {
  track.lost.push(lost);
  if (track.lost.length > MAX_LOST) {
    const [first, second] = track.lost as [LostTime, LostTime];
    second.afterMs = Math.min(first.afterMs, second.afterMs);
    second.beforeMs = Math.max(first.beforeMs, second.beforeMs);
    track.lost.shift();
  }
}

/**
 * Applies one sequence number.
 * @returns `new` if the signal counts, `duplicate` if it was applied before, `unknown-boot` if its boot was dropped and with it
 * the record of what was applied
 */
export function recordArrival(track: SequenceTrack, boot: string, seq: number, observedAtMs: number): Arrival {
  const newest = track.boots[track.boots.length - 1];
  if (newest !== undefined && newest.boot === boot) return recordInBoot(newest, track, seq, observedAtMs);
  return recordInOtherBoot(track, boot, seq, observedAtMs);
}

function recordInBoot(entry: BootTrack, track: SequenceTrack, seq: number, observedAtMs: number): Arrival {
  if (seq === entry.highest + 1) {
    entry.highest = seq;
    if (observedAtMs > entry.highestAtMs) entry.highestAtMs = observedAtMs;
    return "new";
  }
  if (seq > entry.highest) {
    entry.holes.push({
      from: entry.highest + 1,
      to: seq - 1,
      afterMs: entry.highestAtMs,
      beforeMs: Math.max(observedAtMs, entry.highestAtMs),
    });
    entry.highest = seq;
    if (observedAtMs > entry.highestAtMs) entry.highestAtMs = observedAtMs;
    limitHoles(entry, track);
    return "new";
  }
  return fillHole(entry, track, seq) ? "new" : "duplicate";
}

/** Numbers of a dropped gap count as duplicates from here on; its time is lost, so that no window is complete without them. */
function limitHoles(entry: BootTrack, track: SequenceTrack): void {
  while (entry.holes.length > MAX_HOLES) {
    const { afterMs, beforeMs } = entry.holes.shift()!;
    recordLostTime(track, { afterMs, beforeMs, why: "signals missing" });
  }
}

/** A number below the highest fills a gap, or is a duplicate. */
function fillHole(entry: BootTrack, track: SequenceTrack, seq: number): boolean {
  const index = entry.holes.findIndex((hole) => seq >= hole.from && seq <= hole.to);
  if (index < 0) return false;
  const hole = entry.holes[index]!;
  const rest: Hole[] = [];
  if (seq > hole.from) rest.push({ ...hole, to: seq - 1 });
  if (seq < hole.to) rest.push({ ...hole, from: seq + 1 });
  entry.holes.splice(index, 1, ...rest);
  limitHoles(entry, track);
  return true;
}

function recordInOtherBoot(track: SequenceTrack, boot: string, seq: number, observedAtMs: number): Arrival {
  const known = track.boots.find((entry) => entry.boot === boot);
  if (known !== undefined) return recordInBoot(known, track, seq, observedAtMs);
  if (track.dropped.includes(boot)) {
    recordLostTime(track, { afterMs: observedAtMs - 1, beforeMs: observedAtMs, why: "signals of a forgotten collector boot" });
    return "unknown-boot";
  }
  const newest = track.boots[track.boots.length - 1];
  track.boots.push({ boot, highest: seq, highestAtMs: observedAtMs, holes: [] });
  if (newest !== undefined) recordRestart(track, newest, seq, observedAtMs);
  else if (seq > 1) expectEarlier(track, seq, observedAtMs);
  if (track.boots.length > MAX_BOOTS) {
    track.dropped.push(track.boots.shift()!.boot);
    if (track.dropped.length > MAX_DROPPED) track.dropped.shift();
  }
  return "new";
}

/**
 * On the first contact with a gateway, earlier signals may still be in flight or may be older than the log. They are accepted if
 * they arrive, and count as missing in no window if they do not.
 */
function expectEarlier(track: SequenceTrack, seq: number, observedAtMs: number): void {
  track.boots[0]!.holes.push({ from: 1, to: seq - 1, afterMs: IN_NO_WINDOW_MS, beforeMs: observedAtMs });
}

/** Signals of the old collector until it ended, and before the new one started, are unknown. */
function recordRestart(track: SequenceTrack, { highestAtMs }: BootTrack, seq: number, observedAtMs: number): void {
  const beforeMs = Math.max(observedAtMs, highestAtMs + 1);
  recordLostTime(track, { afterMs: highestAtMs, beforeMs, why: "the collector restarted" });
  const entry = track.boots[track.boots.length - 1]!;
  if (seq > 1) entry.holes.push({ from: 1, to: seq - 1, afterMs: highestAtMs, beforeMs });
}

/** Whether this is the newest number of the gateway's current collector; a late one is not. */
export function isNewest({ boots }: SequenceTrack, boot: string, seq: number): boolean {
  const newest = boots[boots.length - 1];
  return newest !== undefined && newest.boot === boot && newest.highest === seq;
}

/** Why evidence within `[startMs, endMs)` is missing; `undefined` if none is. */
export function missingIn(track: SequenceTrack, startMs: number, endMs: number): string | undefined {
  for (const boot of track.boots) {
    for (const hole of boot.holes) {
      if (hole.afterMs < endMs && hole.beforeMs >= startMs) {
        const missing = hole.to - hole.from + 1;
        return `${formatCount(missing, "signal")} missing (number ${hole.from}${hole.to > hole.from ? `-${hole.to}` : ""})`;
      }
    }
  }
  for (const lost of track.lost) {
    if (lost.afterMs < endMs && lost.beforeMs >= startMs) return lost.why;
  }
  return undefined;
}

/** Drops everything before `beforeMs`, which no open window overlaps. */
export function dropBefore(track: SequenceTrack, beforeMs: number): void {
  for (const boot of track.boots) {
    if (boot.holes.length > 0) boot.holes = boot.holes.filter((hole) => hole.beforeMs >= beforeMs);
  }
  if (track.lost.length > 0) track.lost = track.lost.filter((lost) => lost.beforeMs >= beforeMs);
}
