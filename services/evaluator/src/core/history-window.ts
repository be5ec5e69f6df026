/**
 * The part of a closed window that the next run's reference reads: counts of each AZ, and the slow tails of their latencies. A
 * checkpoint contains 48 of these, so each has a limited size.
 */
import type { ClosedWindow, WindowSlot, WindowSummary } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { estimateOf } from "@aviary/shared/histogram-buckets.ts";

/**
 * The reference reads limits from 5% below a 90th percentile on; below the 80th it reads the number of observations only. Of an AZ
 * this is its own percentile or that of its slice, whichever is lower, because both are judged.
 */
const TAIL_FROM = 0.8;

/** The maximum number of buckets with a count in one window; above it, histograms are coarsened down to the minimum scale. */
export const MAX_HISTORY_BUCKETS = 1_500;
const MIN_HISTORY_SCALE = 3;

/** @param keepsCanary whether the canary slice is healthy traffic; while under test, it must not become a reference */
export function historyWindow(closed: ClosedWindow, keepsCanary: boolean): ClosedWindow {
  const cells = closed.cells.filter(({ slice }) => keepsCanary || slice !== "canary");
  const bySlice = Map.groupBy(cells, ({ slice, source }) => `${slice}|${source}`);
  const ofSlice = new Map(Array.from(bySlice, ([key, own]) => [key, percentileOf(own)]));
  return { ...closed, cells: withinLimit(cells.map((cell) => slowTail(cell, ofSlice.get(`${cell.slice}|${cell.source}`)!))) };
}

function slowTail(cell: WindowSummary, slicePercentileMs: number): WindowSummary {
  const fromMs = Math.min(percentileOf([cell]), slicePercentileMs);
  return withLatencies(cell, (latency) => withoutFast(latency, fromMs));
}

function percentileOf(cells: readonly WindowSummary[]): number {
  const merged = histogram.create();
  for (const { slots } of cells) for (const { latency } of slots) histogram.mergeSparse(merged, latency);
  return histogram.quantile(merged, TAIL_FROM) ?? 0;
}

/** The same observations; those below `fromMs` are counted as zero. */
function withoutFast(latency: histogram.LatencySparse, fromMs: number): histogram.LatencySparse {
  const { scale, pairs } = latency;
  const kept: number[] = [];
  let [zero, index, previous] = [latency.zero, 0, 0];
  for (let k = 0; k < pairs.length; k += 2) {
    index += pairs[k]!;
    if (estimateOf(index, scale) < fromMs) {
      zero += pairs[k + 1]!;
      continue;
    }
    kept.push(index - previous, pairs[k + 1]!);
    previous = index;
  }
  return { scale, zero, total: latency.total, last: previous, pairs: kept };
}

function withinLimit(cells: readonly WindowSummary[]): WindowSummary[] {
  let fitted = [...cells];
  for (let scale = histogram.DEFAULT_SCALE - 1; scale >= MIN_HISTORY_SCALE && bucketsOf(fitted) > MAX_HISTORY_BUCKETS; scale--)
    fitted = fitted.map((cell) => coarserCell(cell, scale));
  return fitted;
}

function bucketsOf(cells: readonly WindowSummary[]): number {
  let buckets = 0;
  for (const { slots } of cells) for (const { latency } of slots) buckets += latency.pairs.length / 2;
  return buckets;
}

/** The same cell with histograms of at most this scale. */
export function coarserCell(cell: WindowSummary, scale: number): WindowSummary {
  return withLatencies(cell, (latency) => coarser(latency, scale));
}

function coarser(latency: histogram.LatencySparse, scale: number): histogram.LatencySparse {
  if (latency.scale <= scale) return latency;
  const dense = histogram.fromSparse(latency);
  histogram.downscale(dense, scale);
  return histogram.toSparse(dense);
}

function withLatencies(cell: WindowSummary, change: (latency: WindowSlot["latency"]) => WindowSlot["latency"]): WindowSummary {
  return { ...cell, slots: cell.slots.map((slot) => ({ ...slot, latency: change(slot.latency) })) };
}
