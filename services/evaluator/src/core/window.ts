/**
 * Windows of event time, open and closed.
 *
 *   a signal arrives ──▶ window of its observed_at, still open? ──▶ merged into the cell of its slice, AZ and source
 *                                        └── already closed: counted as late in the currently open window, never merged
 *   window end + grace, by the broker's clock ──▶ closed: summarised, checked for completeness, immutable
 *
 * Window i of a grid is `[origin + i·length, origin + (i+1)·length)`; a grid belongs to one run, or to the time between two runs.
 * Whether a signal is late depends only on its observed_at and its store time, so every replica and every replay agrees.
 *
 * A window is complete if every expected gateway covered it: no gap in its sequence, no restart of its collector, and traffic
 * reported up to two periods before the end of the window.
 */

import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { type Policy, SLOTS } from "@aviary/shared/contract/policy.ts";
import { reasonText } from "@aviary/shared/contract/reasons.ts";
import type { Slice } from "@aviary/shared/contract/run.ts";
import { type HttpSource, type SignalBody, staleAtMs } from "@aviary/shared/contract/signal.ts";
import type { ClosedWindow, WindowSlot, WindowSummary } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import type { GatewayState } from "./gateway.ts";
import { missingIn } from "./sequence.ts";

export interface OpenSlot {
  requests: number;
  errors: number;
  /** Null if a signal did not count them. */
  errors4xx: number | null;
  latency: histogram.Histogram;
}

export interface WindowCell {
  readonly slice: Slice;
  readonly az: string;
  readonly source: HttpSource;
  readonly slots: OpenSlot[];
  slotted: boolean;
  readonly gateways: Set<string>;
}

export interface OpenWindow {
  readonly index: number;
  readonly cells: Map<string, WindowCell>;
  late: number;
  queueDepth: number | null;
  queueAtMs: number;
}

/** A grid of windows with one origin. */
export interface WindowGrid {
  readonly originMs: number;
  readonly lengthMs: number;
  /** Index of the oldest open window. */
  next: number;
  readonly open: Map<number, OpenWindow>;
}

export function createGrid(originMs: number, lengthMs: number): WindowGrid {
  return { originMs, lengthMs, next: 0, open: new Map() };
}

export const windowStartMs = (frame: WindowGrid, index: number): number => frame.originMs + index * frame.lengthMs;

/** The broker time after which the oldest open window may close. */
export const closeAtMs = (frame: WindowGrid, graceMs: number): number => windowStartMs(frame, frame.next + 1) + graceMs;

function openWindow(frame: WindowGrid, index: number): OpenWindow {
  let window = frame.open.get(index);
  if (window === undefined) {
    window = { index, cells: new Map(), late: 0, queueDepth: null, queueAtMs: 0 };
    frame.open.set(index, window);
  }
  return window;
}

/** Keys of the cells for a gateway's traffic, by source: built once, because that takes as long as the merge. */
const cellKeys = new WeakMap<GatewayState, Partial<Record<HttpSource, string>>>();

function cellKey(gateway: GatewayState, source: HttpSource): string {
  let keys = cellKeys.get(gateway);
  if (keys === undefined) {
    keys = {};
    cellKeys.set(gateway, keys);
  }
  keys[source] ??= `${gateway.slice}|${gateway.az}|${source}`;
  return keys[source];
}

function cellOf(window: OpenWindow, gateway: GatewayState, source: HttpSource): WindowCell {
  const key = cellKey(gateway, source);
  let cell = window.cells.get(key);
  if (cell === undefined) {
    const slots: OpenSlot[] = [];
    for (let slot = 0; slot < SLOTS; slot++) slots.push({ requests: 0, errors: 0, errors4xx: 0, latency: histogram.create() });
    cell = { slice: gateway.slice, az: gateway.az, source, slots, slotted: true, gateways: new Set() };
    window.cells.set(key, cell);
  }
  return cell;
}

/**
 * Merges one http body.
 * @param observedAtMs end of the range that the counts cover
 * @returns `merged`, `late` (its window has closed), or `before` (it precedes the origin of the grid)
 */
export function mergeHttp(
  frame: WindowGrid,
  gateway: GatewayState,
  body: SignalBody<"http">,
  observedAtMs: number,
  periodMs: number,
): "merged" | "late" | "before" {
  const since = observedAtMs - frame.originMs;
  if (since < 0) return "before";
  const index = Math.floor(since / frame.lengthMs);
  if (index < frame.next) {
    openWindow(frame, frame.next).late += 1;
    return "late";
  }
  const cell = cellOf(openWindow(frame, index), gateway, body.source);
  const slotMs = frame.lengthMs / SLOTS;
  const slot = cell.slots[Math.min(SLOTS - 1, Math.floor((since - index * frame.lengthMs) / slotMs))]!;
  slot.requests += body.requests;
  slot.errors += body.errors_5xx;
  slot.errors4xx = slot.errors4xx === null || body.errors_4xx === undefined ? null : slot.errors4xx + body.errors_4xx;
  if (body.latency.counts.length > 0 || body.latency.zero > 0) histogram.mergeWire(slot.latency, body.latency);
  if (periodMs > slotMs) cell.slotted = false;
  cell.gateways.add(gateway.key);
  return "merged";
}

/** Records a queue depth; the newest of the window is kept. */
export function recordQueueDepth(frame: WindowGrid, depth: number, observedAtMs: number): void {
  const index = Math.floor((observedAtMs - frame.originMs) / frame.lengthMs);
  if (index < frame.next) return;
  const window = openWindow(frame, index);
  if (window.queueDepth === null || observedAtMs >= window.queueAtMs) {
    window.queueDepth = depth;
    window.queueAtMs = observedAtMs;
  }
}

const MAX_GAPS = 8;

/** Why a window is incomplete, one line per gateway. `traffic` is the traffic judged under the policy. */
function gapsOf(gateways: readonly GatewayState[], startMs: number, endMs: number, traffic: Policy["traffic"]): string[] {
  const gaps: string[] = [];
  for (const gateway of gateways) {
    const missing = missingIn(gateway.sequence, startMs, endMs);
    const name = `${gateway.name} (${gateway.az})`;
    if (missing !== undefined) gaps.push(`${name}: ${missing}`);
    else if (traffic !== "synthetic" && !covered(gateway, "http", endMs))
      gaps.push(`${name}: no traffic report up to the end of the window`);
    else if (traffic !== "real" && !covered(gateway, "synthetic", endMs))
      gaps.push(`${name}: no synthetic report up to the end of the window`);
  }
  return gaps;
}

function covered(gateway: GatewayState, kind: "http" | "synthetic", endMs: number): boolean {
  const seen = gateway.seen.get(kind);
  return seen !== undefined && staleAtMs(seen, 0) >= endMs;
}

function closedSlots(cell: WindowCell): WindowSlot[] {
  return cell.slots.map((slot) => ({
    requests: slot.requests,
    errors_5xx: slot.errors,
    // A slot of an older checkpoint has no count either.
    ...(slot.errors4xx == null ? {} : { errors_4xx: slot.errors4xx }),
    latency: histogram.toSparse(slot.latency),
  }));
}

/**
 * Closes the oldest open window and advances the grid.
 * @param gateways the canary's expected gateways, in file order, without those in maintenance
 * @param weight   the canary's weight at the close, percent
 */
export function closeWindow(
  frame: WindowGrid,
  gateways: readonly GatewayState[],
  weight: number,
  traffic: Policy["traffic"],
): ClosedWindow {
  const index = frame.next;
  const window = openWindow(frame, index);
  const startMs = windowStartMs(frame, index);
  const endMs = startMs + frame.lengthMs;
  frame.open.delete(index);
  frame.next = index + 1;
  const cells: WindowSummary[] = [...window.cells.values()]
    .sort((a, b) => compare(a.slice, b.slice) || compare(a.az, b.az) || compare(a.source, b.source))
    .map((cell) => ({
      slice: cell.slice,
      az: cell.az,
      source: cell.source,
      slots: closedSlots(cell),
      slotted: cell.slotted,
      gateways: cell.gateways.size,
      expected: gateways.filter((gateway) => gateway.slice === cell.slice && gateway.az === cell.az).length,
    }));
  const gaps = gapsOf(gateways, startMs, endMs, traffic);
  return {
    window: { start: isoTime(startMs), end: isoTime(endMs), index, weight },
    complete: gaps.length === 0,
    gaps: gaps.slice(0, MAX_GAPS).map(reasonText),
    late: window.late,
    queue_depth: window.queueDepth,
    cells,
  };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
