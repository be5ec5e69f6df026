/** The parts of a target: a check, the cells that it simulates, and how it is measured. */
import type { Cell, CellResult, RateCell } from "./cell.ts";
import { failedShare } from "./cell.ts";
import type { Law } from "./latency-laws.ts";
import type { LatencyScenario } from "./latency-run.ts";
import type { Knowledge, Scenario, Stable, Traffic } from "./scenario.ts";

export interface Check {
  readonly target: string;
  readonly what: string;
  /** By name; the worst one counts. */
  readonly cells: Readonly<Record<string, Cell>>;
  readonly measure: (result: CellResult) => number;
  /** A share, 0 to 1. */
  readonly bound: { readonly atMost: number } | { readonly atLeast: number };
  readonly runs: number;
  /** Cells of the quick set, and how many runs of each; absent if the check is not in the quick set. */
  readonly quick?: { readonly runs: number; readonly cells?: readonly string[] };
}

export const RUNS = 10_000;
export const SIZES = [20, 50, 100, 200, 300, 600, 1_000, 2_000, 5_000, 20_000] as const;
export const HEALTHY_RATE = 0.003;

export const steady = (n: number): Traffic => ({ kind: "steady", requests: n });
/** 48 windows of a stable slice with nine times the canary's traffic. */
export const reference = (rate: number, windows = 48): Knowledge => ({ windows, times: 9, rate });
export const STABLE: Stable = { times: 9, rate: 0.001 };
export const QUIET: Knowledge = { overdispersion: 1e-6, burstFactor: 1 };

export function rates(scenario: Scenario, changes: Partial<Omit<RateCell, "kind" | "scenario">> = {}): RateCell {
  return { kind: "rates", scenario, ...changes };
}

export function bySize(sizes: readonly number[], cell: (n: number) => Cell): Record<string, Cell> {
  return Object.fromEntries(sizes.map((n) => [`n=${n}`, cell(n)]));
}

/** Share of runs failed by window `by`; in the whole run if absent. */
export const failed =
  (by?: number) =>
  (result: CellResult): number =>
    failedShare(result, "two-key", by);

/** A fault from the first window on, next to a healthy stable slice. */
export function fault(n: number, rate: readonly number[], knowledge: Knowledge = reference(STABLE.rate)): RateCell {
  return rates({ traffic: steady(n), rate, stable: STABLE, knowledge });
}

/** The rate of each window of a run with a fault from window 7 on. */
export const late = (rate: number): number[] => [...new Array<number>(6).fill(STABLE.rate), rate];

export const lognormal = (sigma: number): Law => ({ kind: "lognormal", sigma });
export const LAWS: Readonly<Record<string, Law>> = {
  "lognormal 0.4": lognormal(0.4),
  "lognormal 0.6": lognormal(0.6),
  "lognormal 0.8": lognormal(0.8),
  "Pareto 1.5": { kind: "pareto", alpha: 1.5 },
  "1.5% in a slow hump": { kind: "bimodal", slow: 0.015 },
  "1% in a slow hump": { kind: "bimodal", slow: 0.01 },
};

export function latencies(law: Law, n: number, changes: Partial<LatencyScenario> = {}): Cell {
  return { kind: "latency", scenario: { law, requests: n, times: 9, reference: 24, ...changes } };
}

export function prefixed(prefix: string, cells: Readonly<Record<string, Cell>>): Record<string, Cell> {
  return Object.fromEntries(Object.entries(cells).map(([name, cell]) => [prefix + name, cell]));
}

/** The measured value of a check, in its worst cell. */
export interface Measurement {
  readonly value: number;
  readonly cell: string;
  readonly met: boolean;
  readonly runs: number;
}

/** @param simulateCell simulates the given number of runs of a cell */
export async function measureCheck(
  check: Check,
  simulateCell: (cell: Cell, runs: number) => Promise<CellResult> | CellResult,
  quick = false,
): Promise<Measurement> {
  const runs = quick ? check.quick!.runs : check.runs;
  const names = (quick ? check.quick!.cells : undefined) ?? Object.keys(check.cells);
  const results = await Promise.all(
    names.map(async (cell) => ({ cell, value: check.measure(await simulateCell(check.cells[cell]!, runs)) })),
  );
  const { bound } = check;
  const worst = results.reduce((p, q) => (("atMost" in bound ? q.value > p.value : q.value < p.value) ? q : p));
  return { ...worst, runs, met: "atMost" in bound ? worst.value <= bound.atMost : worst.value >= bound.atLeast };
}
