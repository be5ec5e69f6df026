/**
 * Windows of event time, open and closed.
 *
 *   a signal arrives ──▶ window of its observed_at, still open? ──▶ merged into the cell of its slice, AZ and source, or excluded
 *                                        └── already closed: counted as late in the currently open window, never merged
 *   window end + grace, by the broker's clock ──▶ closed: summarized, checked for completeness, immutable
 *
 * Window i of a grid is `[origin + i·length, origin + (i+1)·length)`; a grid belongs to one run, or to the time between two runs.
 * Whether a signal is late depends only on its observed_at and its store time, so every replica and every replay agrees.
 *
 * Every reported request is accounted for, merged or not (`request-account.ts`); `window-completeness.ts` states when a window is
 * complete.
 */

import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { type Policy, SLOTS } from "@aviary/shared/contract/policy.ts";
import type { Slice } from "@aviary/shared/contract/run.ts";
import type { HttpSource, SignalBody } from "@aviary/shared/contract/signal.ts";
import type { ClosedWindow, Exclusion, WindowSlot, WindowSummary } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { addCovered } from "./covered-time.ts";
import type { GatewayState } from "./gateway.ts";
import {
  accountOfKind,
  exclude,
  type GatewayAccount,
  type RequestAccount,
  requestsOfSlice,
  selectedKinds,
  sliceAccount,
} from "./request-account.ts";
import { completenessOf } from "./window-completeness.ts";

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
  /** By gateway key. */
  readonly accounts: Map<string, GatewayAccount>;
  /** Signals, of any source, for an earlier window. */
  late: number;
  queueDepth: number | null;
  queueAtMs: number;
}

/** A grid of windows with one origin. */
export interface WindowGrid {
  readonly originMs: number;
  /** The event time from which the grid accounts for requests: its origin, unless the broker's clock was set back. */
  readonly firstMs: number;
  readonly lengthMs: number;
  /** Index of the oldest open window. */
  next: number;
  readonly open: Map<number, OpenWindow>;
}

export function createGrid(originMs: number, lengthMs: number): WindowGrid {
  return { originMs, firstMs: originMs, lengthMs, next: 0, open: new Map() };
}

/** The grid with its oldest open window started at `startMs`, under the same index; what was measured since is dropped. */
export function realignGrid({ lengthMs, next }: WindowGrid, startMs: number): WindowGrid {
  return { originMs: startMs - next * lengthMs, firstMs: startMs, lengthMs, next, open: new Map() };
}

export const windowStartMs = (frame: WindowGrid, index: number): number => frame.originMs + index * frame.lengthMs;

/** The broker time after which the oldest open window may close. */
export const closeAtMs = (frame: WindowGrid, graceMs: number): number => windowStartMs(frame, frame.next + 1) + graceMs;

function openWindow(frame: WindowGrid, index: number): OpenWindow {
  let window = frame.open.get(index);
  if (window === undefined) {
    window = { index, cells: new Map(), accounts: new Map(), late: 0, queueDepth: null, queueAtMs: 0 };
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

function accountOf(window: OpenWindow, gateway: GatewayState, source: HttpSource): RequestAccount {
  let account = window.accounts.get(gateway.key);
  if (account === undefined) {
    account = { slice: gateway.slice };
    window.accounts.set(gateway.key, account);
  }
  return accountOfKind(account, source === "synthetic" ? "synthetic" : "http");
}

/** One http body, and the event time that it covers: the period before `observedAtMs`. */
export interface TrafficReport {
  readonly body: SignalBody<"http">;
  readonly observedAtMs: number;
  readonly periodMs: number;
  /** Why its requests must be excluded, decided by the state of its gateway and its run; undefined to merge them. */
  readonly exclusion?: { readonly why: Exclusion; readonly isPlanned: boolean } | undefined;
}

/**
 * Merges one report, or accounts for it as excluded.
 * @returns `merged`, `excluded`, `late` (its window has closed), or `before` (it precedes the grid, which does not account for it)
 */
export function mergeReport(
  frame: WindowGrid,
  gateway: GatewayState,
  report: TrafficReport,
): "merged" | "excluded" | "late" | "before" {
  const { body, observedAtMs, periodMs, exclusion } = report;
  if (observedAtMs < frame.firstMs) return "before";
  const since = observedAtMs - frame.originMs;
  const index = Math.floor(since / frame.lengthMs);
  if (index < frame.next) {
    excludeReport(frame, gateway, body, "late");
    openWindow(frame, frame.next).late += 1;
    return "late";
  }
  const window = openWindow(frame, index);
  const account = accountOf(window, gateway, body.source);
  exclude(account, "unread", body.unread ?? 0);
  const why = periodMs > frame.lengthMs ? "unslotted" : exclusion?.why;
  if (why !== undefined) {
    exclude(account, why, body.requests);
    if (why === "warming" && exclusion?.isPlanned === true) account.plannedWarming += body.requests;
    return "excluded";
  }
  account.merged += body.requests;
  addCovered(account.covered, observedAtMs, periodMs);
  const cell = cellOf(window, gateway, body.source);
  mergeIntoCell(cell, frame, report, since - index * frame.lengthMs);
  cell.gateways.add(gateway.key);
  return "merged";
}

/** @param offsetMs event time since the start of the window */
function mergeIntoCell(cell: WindowCell, frame: WindowGrid, { body, periodMs }: TrafficReport, offsetMs: number): void {
  const slotMs = frame.lengthMs / SLOTS;
  const slot = cell.slots[Math.min(SLOTS - 1, Math.floor(offsetMs / slotMs))]!;
  slot.requests += body.requests;
  slot.errors += body.errors_5xx;
  slot.errors4xx = slot.errors4xx === null || body.errors_4xx === undefined ? null : slot.errors4xx + body.errors_4xx;
  if (body.latency.counts.length > 0 || body.latency.zero > 0) histogram.mergeWire(slot.latency, body.latency);
  if (periodMs > slotMs) cell.slotted = false;
}

/** Accounts for a report whose own window is closed or unknown, in the oldest open window. */
export function excludeReport(frame: WindowGrid, gateway: GatewayState, body: TrafficReport["body"], why: Exclusion): void {
  const account = accountOf(openWindow(frame, frame.next), gateway, body.source);
  exclude(account, why, body.requests);
  exclude(account, "unread", body.unread ?? 0);
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

function closedSlots(cell: WindowCell): WindowSlot[] {
  return cell.slots.map((slot) => ({
    requests: slot.requests,
    errors_5xx: slot.errors,
    // A slot of an older checkpoint has no count either.
    ...(slot.errors4xx == null ? {} : { errors_4xx: slot.errors4xx }),
    latency: histogram.toSparse(slot.latency),
  }));
}

/** The facts about its canary that closing a window requires. */
export interface WindowClose {
  /** The canary's expected gateways, in file order, without those in maintenance. */
  readonly gateways: readonly GatewayState[];
  /** The canary's weight at the close, percent; null if unknown. */
  readonly weight: number | null;
  readonly traffic: Policy["traffic"];
  /** The end of the run's warm-up, from which traffic of the canary slice is judged. */
  readonly judgedFromMs: number;
}

/** Closes the oldest open window and advances the grid. */
export function closeWindow(frame: WindowGrid, { gateways, weight, traffic, judgedFromMs }: WindowClose): ClosedWindow {
  const index = frame.next;
  const window = openWindow(frame, index);
  const startMs = windowStartMs(frame, index);
  const endMs = startMs + frame.lengthMs;
  frame.open.delete(index);
  frame.next = index + 1;
  const kinds = selectedKinds(traffic);
  const { accounts } = window;
  const { gaps, isWarmUp } = completenessOf({ gateways, accounts, kinds, startMs, endMs, judgedFromMs });
  const slices = (["canary", "stable"] as const).filter((slice) => [...accounts.values()].some((own) => own.slice === slice));
  return {
    window: { start: isoTime(startMs), end: isoTime(endMs), index, weight },
    complete: gaps.length === 0,
    ...(isWarmUp ? { warm_up: true } : {}),
    gaps: gaps.slice(0, MAX_GAPS),
    late: window.late,
    queue_depth: window.queueDepth,
    accounts: slices.map((slice) => sliceAccount(slice, requestsOfSlice(accounts.values(), slice, kinds))),
    cells: closedCells(window, gateways),
  };
}

function closedCells({ cells }: OpenWindow, gateways: readonly GatewayState[]): WindowSummary[] {
  return [...cells.values()]
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
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
