/** Applies a closed window: judges it if a run is active, and keeps it as history for the next run's reference. */
import type { ClosedWindow, WindowSlot, WindowSummary } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { judge } from "./judge/judge.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { type CanaryState, isOpen } from "./state.ts";

/** Windows passed to one call of the judge, and windows a reference is estimated from. */
export const JUDGED_WINDOWS = 12;
export const HISTORY_WINDOWS = 48;

/** Judges the window if the canary's run is active and measured part of it; keeps it as history if it is complete. */
export function applyClosedWindow(canary: CanaryState, config: CanaryConfig, closed: ClosedWindow): void {
  const { run } = canary;
  if (run !== null && run.state === "active" && run.latch === null && Date.parse(closed.window.end) > run.judgeFromMs) {
    run.windows = [...run.windows, closed].slice(-JUDGED_WINDOWS);
    run.outcome = judge(run.windows, config.policy, {
      judged: run.judged,
      memory: run.memory,
      reference: run.reference,
      hasStable: config.hasStable,
    });
    run.memory = run.outcome.memory;
    run.judged += 1;
  }
  if (closed.complete) {
    const kept = historyWindow(closed, isOpen(run));
    if (kept.cells.length > 0) canary.history = [...canary.history, kept].slice(-HISTORY_WINDOWS);
  }
}

/** One cell per slice and source, over all AZs; the canary slice of an open run is under test, so it is not history. */
function historyWindow(closed: ClosedWindow, runOpen: boolean): ClosedWindow {
  const merged = new Map<string, WindowSummary>();
  for (const cell of closed.cells) {
    if (runOpen && cell.slice === "canary") continue;
    const key = `${cell.slice}|${cell.source}`;
    const known = merged.get(key);
    merged.set(key, known === undefined ? { ...cell, az: "all" } : mergeCells(known, cell));
  }
  return { ...closed, cells: [...merged.values()] };
}

function mergeCells(a: WindowSummary, b: WindowSummary): WindowSummary {
  return {
    ...a,
    slotted: a.slotted && b.slotted,
    gateways: a.gateways + b.gateways,
    expected: a.expected + b.expected,
    slots: a.slots.map((slot, index) => mergeSlots(slot, b.slots[index]!)),
  };
}

function mergeSlots(a: WindowSlot, b: WindowSlot): WindowSlot {
  const latency = histogram.fromSparse(a.latency);
  histogram.mergeSparse(latency, b.latency);
  return { requests: a.requests + b.requests, errors_5xx: a.errors_5xx + b.errors_5xx, latency: histogram.toSparse(latency) };
}
