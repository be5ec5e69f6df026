/**
 * Reads one closed window into tallies: requests, errors and latencies of each AZ and slice, of the traffic that the policy asks for.
 * A window with a number that cannot be a count is refused as a whole.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { SLOTS } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow, WindowSlot, WindowSummary } from "@aviary/shared/contract/window.ts";
import type { Histogram, LatencySparse } from "@aviary/shared/histogram.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { MAX_SCALE } from "@aviary/shared/histogram-buckets.ts";
import { MAX_AZ_VIEWS } from "./rule.ts";

/** One slice in one AZ. */
export interface Tally {
  requests: number;
  errors: number;
  /** Latencies seen; a source may have fewer of them than requests. */
  timed: number;
  /** By slot. Only for the slice that is judged; empty for the one it is compared with. */
  readonly slots: SlotTally[];
  /** False when some of its traffic is known by window only. */
  slotted: boolean;
  readonly latency: Histogram;
}

export interface SlotTally {
  requests: number;
  errors: number;
  timed: number;
  readonly latency: Histogram;
}

export type SliceName = WindowSummary["slice"];

export interface AzTally {
  readonly az: string;
  readonly judged: Tally;
  readonly compared: Tally;
}

export interface WindowTally {
  /** In order of names; beyond the first 16 names the rest is one AZ called `others`. */
  readonly azs: readonly AzTally[];
  /** Why the window is refused; it has no AZs then. */
  readonly unreadable: string | null;
}

/** Largest count of one slot that is believed. */
const MOST = 2 ** 31;
const OTHERS = "others";

/** Does the policy's `traffic` take this source? `both` adds real and synthetic requests up; otherwise they are never mixed. */
export function takesSource(traffic: Policy["traffic"], source: WindowSummary["source"]): boolean {
  if (traffic === "both") return true;
  return (source === "synthetic") === (traffic === "synthetic");
}

/** @param judged the slice to count by slots; the other one is what it is compared with. */
export function tallyWindow(window: ClosedWindow, traffic: Policy["traffic"], judged: SliceName): WindowTally {
  const cells = window.cells.filter((cell) => takesSource(traffic, cell.source));
  const named = new Set([...new Set(cells.map((cell) => cell.az))].sort().slice(0, MAX_AZ_VIEWS));
  const byAz = new Map<string, AzTally>();
  for (const cell of cells) {
    const az = azOf(byAz, named.has(cell.az) ? cell.az : OTHERS);
    const problem = addCell(cell.slice === judged ? az.judged : az.compared, cell);
    if (problem !== null) return { azs: [], unreadable: `${cell.slice} ${cell.az} ${cell.source}: ${problem}` };
  }
  for (const { judged: tally } of byAz.values()) {
    for (const slot of tally.slots) histogram.merge(tally.latency, slot.latency);
  }
  return { azs: [...byAz.values()].sort((p, q) => (p.az < q.az ? -1 : 1)), unreadable: null };
}

function azOf(byAz: Map<string, AzTally>, name: string): AzTally {
  let az = byAz.get(name);
  if (az === undefined) {
    az = { az: name, judged: emptyTally(SLOTS), compared: emptyTally(0) };
    byAz.set(name, az);
  }
  return az;
}

function emptyTally(slots: number): Tally {
  return {
    requests: 0,
    errors: 0,
    timed: 0,
    slots: Array.from({ length: slots }, () => ({ requests: 0, errors: 0, timed: 0, latency: histogram.create() })),
    slotted: true,
    latency: histogram.create(),
  };
}

/** Adds a cell, by slot where the tally has slots. @returns what is wrong with the cell, or null. */
function addCell(tally: Tally, cell: WindowSummary): string | null {
  if (cell.slots.length !== SLOTS) return `${cell.slots.length} slots instead of ${SLOTS}`;
  for (const [k, slot] of cell.slots.entries()) {
    const timed = timedIn(slot.latency);
    const problem = typeof timed === "string" ? timed : countProblem(slot);
    if (problem !== null || typeof timed === "string") return problem;
    const bySlot = tally.slots[k];
    if (bySlot !== undefined) {
      bySlot.requests += slot.requests;
      bySlot.errors += slot.errors_5xx;
      bySlot.timed += timed;
    }
    histogram.mergeSparse(bySlot?.latency ?? tally.latency, slot.latency);
    tally.requests += slot.requests;
    tally.errors += slot.errors_5xx;
    tally.timed += timed;
  }
  if (!cell.slotted && cell.slots.some((slot) => slot.requests > 0)) tally.slotted = false;
  return null;
}

function countProblem(slot: WindowSlot): string | null {
  if (!isCount(slot.requests)) return `${slot.requests} requests are not a count up to 2^31`;
  if (!isCount(slot.errors_5xx)) return `${slot.errors_5xx} errors are not a count up to 2^31`;
  return slot.errors_5xx > slot.requests ? `${slot.errors_5xx} errors in ${slot.requests} requests` : null;
}

/** How many latencies a histogram holds, or what is wrong with it. */
function timedIn({ scale, zero, pairs }: LatencySparse): number | string {
  if (!Number.isInteger(scale) || scale < 0 || scale > MAX_SCALE) return `a histogram of scale ${scale}`;
  if (!isCount(zero) || pairs.length % 2 !== 0) return "a broken histogram";
  let total = zero;
  for (let k = 0; k < pairs.length; k += 2) {
    const [step, times] = [pairs[k]!, pairs[k + 1]!];
    if (!Number.isInteger(step) || (k > 0 && step < 1)) return `a histogram with a gap of ${step}`;
    if (!Number.isInteger(times) || times < 1) return `a histogram with a count of ${times}`;
    total += times;
  }
  return total <= MOST ? total : `${total} latencies in one slot`;
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= MOST;
}
