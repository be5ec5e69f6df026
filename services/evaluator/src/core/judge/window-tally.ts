/**
 * Reads one closed window into tallies: requests, errors and latencies of each AZ and slice, of the traffic selected by the
 * policy.
 * A window with a number that cannot be a count is rejected as a whole.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { SLOTS } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow, WindowSlot, WindowSummary } from "@aviary/shared/contract/window.ts";
import type { HistogramPart } from "./latency.ts";
import { MAX_AZ_SCOPES } from "./rule.ts";

/** One slice in one AZ. */
export interface SliceTally {
  requests: number;
  errors: number;
  /** Observed latencies; a source may have fewer of them than requests. */
  timed: number;
  /** Requests, errors and latencies by sub-window. */
  readonly slots: readonly SlotTally[];
  /** The histograms with the latencies, one per sub-window and source. */
  readonly latency: HistogramPart[];
  /** False if some of its traffic is known per window only. */
  slotted: boolean;
}

export interface SlotTally {
  requests: number;
  errors: number;
  timed: number;
  readonly latency: HistogramPart[];
}

export type SliceName = WindowSummary["slice"];

export interface AzTally {
  readonly az: string;
  readonly judged: SliceTally;
  readonly compared: SliceTally;
}

/** The same AZs with the roles of their slices exchanged. */
export function otherSlice(azs: readonly AzTally[]): readonly AzTally[] {
  return azs.map(({ az, judged, compared }) => ({ az, judged: compared, compared: judged }));
}

export interface WindowTally {
  /** By name; beyond the first 16 the rest is one AZ called `others`. */
  readonly azs: readonly AzTally[];
  /** Why the window is rejected; it then has no AZs. */
  readonly unreadable: string | null;
}

const OTHERS = "others";

/** The largest plausible count of one sub-window. */
const MAX_COUNT = 2 ** 31 - 1;

/**
 * Whether the policy's `traffic` selects this source. `both` sums real and synthetic requests; otherwise they are never mixed.
 */
export function selectsSource(traffic: Policy["traffic"], source: WindowSummary["source"]): boolean {
  if (traffic === "both") return true;
  return (source === "synthetic") === (traffic === "synthetic");
}

/** @param judged the slice that is judged; the other one is compared with */
export function tallyWindow(window: ClosedWindow, traffic: Policy["traffic"], judged: SliceName): WindowTally {
  const cells = window.cells.filter((cell) => selectsSource(traffic, cell.source));
  const named = new Set([...new Set(cells.map((cell) => cell.az))].sort().slice(0, MAX_AZ_SCOPES));
  const byAz = new Map<string, AzTally>();
  for (const cell of cells) {
    const name = named.has(cell.az) ? cell.az : OTHERS;
    const az = byAz.get(name) ?? { az: name, judged: emptyTally(), compared: emptyTally() };
    byAz.set(name, az);
    const problem = addCell(cell.slice === judged ? az.judged : az.compared, cell);
    if (problem !== null) return { azs: [], unreadable: `${cell.slice} ${cell.az} ${cell.source}: ${problem}` };
  }
  return { azs: [...byAz.values()].sort((p, q) => (p.az < q.az ? -1 : 1)), unreadable: null };
}

function emptyTally(): SliceTally {
  const slots: SlotTally[] = [];
  for (let k = 0; k < SLOTS; k++) slots.push({ requests: 0, errors: 0, timed: 0, latency: [] });
  return { requests: 0, errors: 0, timed: 0, slots, latency: [], slotted: true };
}

/** @returns the problem of the cell, or null */
function addCell(tally: SliceTally, cell: WindowSummary): string | null {
  if (cell.slots.length !== SLOTS) return `${cell.slots.length} slots instead of ${SLOTS}`;
  for (let k = 0; k < SLOTS; k++) {
    const slot = cell.slots[k]!;
    const problem = countProblem(slot);
    if (problem !== null) return problem;
    count(tally, slot);
    count(tally.slots[k]!, slot);
    if (!cell.slotted && slot.requests > 0) tally.slotted = false;
  }
  return null;
}

function count(into: SliceTally | SlotTally, { requests, errors_5xx, latency }: WindowSlot): void {
  into.requests += requests;
  into.errors += errors_5xx;
  into.timed += latency.total;
  if (latency.total > 0) into.latency.push(latency);
}

function countProblem(slot: WindowSlot): string | null {
  if (!isCount(slot.latency.total)) return `${slot.latency.total} latencies are not a count below 2^31`;
  if (!isCount(slot.requests)) return `${slot.requests} requests are not a count below 2^31`;
  if (!isCount(slot.errors_5xx)) return `${slot.errors_5xx} errors are not a count below 2^31`;
  return slot.errors_5xx > slot.requests ? `${slot.errors_5xx} errors in ${slot.requests} requests` : null;
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= MAX_COUNT;
}
