/** A scope is the whole canary, or its gateways in one AZ. Each metric of a scope has its own series of windows. */
import type { Counts, WindowRange } from "./counts.ts";
import { EMPTY, withWindow, withWindows } from "./counts.ts";
import type { SeriesName } from "./rule.ts";
import { MAX_RANGE_WINDOWS, SERIES } from "./rule.ts";
import type { ScopeMeasurement } from "./scope-measurement.ts";
import type { MetricSeries } from "./window-ranges.ts";

export type ScopeSeries = Readonly<Record<SeriesName, MetricSeries>>;

/** What is kept of a metric between windows; the sums of the run follow from it. */
export interface KeptSeries {
  /** The last windows, at most 12, oldest first. */
  readonly recent: readonly Counts[];
  /** The windows of the run before them. */
  readonly older: WindowRange;
}

export type KeptScope = Readonly<Record<SeriesName, KeptSeries>>;

/** One scope as seen by the rule: the run so far, and this window's measurement. */
export interface JudgedScope {
  readonly name: string;
  readonly series: ScopeSeries;
  readonly measurement: ScopeMeasurement;
}

export function bySeries<T>(make: (metric: SeriesName) => T): Record<SeriesName, T> {
  const [errors, ceiling, regression, body] = SERIES;
  return { errors: make(errors), ceiling: make(ceiling), regression: make(regression), body: make(body) };
}

export const NEW_SCOPE: KeptScope = bySeries(() => ({ recent: [], older: EMPTY }));

/** The series with one more window. @param ceilings the allowed share of bad requests of each metric */
export function extendScope(
  kept: KeptScope,
  { counts }: ScopeMeasurement,
  ceilings: Readonly<Record<SeriesName, number>>,
): ScopeSeries {
  return bySeries((metric) => extendSeries(kept[metric], counts[metric], ceilings[metric]));
}

/** The part of the series to keep. @param marked the recent windows of the metrics in which some were left out */
export function keepScope(series: ScopeSeries, marked: Partial<Record<SeriesName, readonly Counts[]>> = {}): KeptScope {
  return bySeries((metric) => ({ recent: marked[metric] ?? series[metric].recent, older: series[metric].older }));
}

export function extendSeries({ recent: before, older }: KeptSeries, counts: Counts, ceiling: number): MetricSeries {
  const recent = [...before, counts];
  const dropped = recent.length > MAX_RANGE_WINDOWS ? recent.shift() : undefined;
  const sums = dropped === undefined ? older : withWindow(older, dropped, ceiling);
  return { recent, older: sums, run: withWindows(sums, recent, ceiling) };
}
