/** A scope is the whole canary, or its gateways in one AZ. Each metric of a scope has its own series of windows. */
import type { Counts, WindowRange } from "./counts.ts";
import { EMPTY, withWindow } from "./counts.ts";
import type { Metric } from "./rule.ts";
import { MAX_RANGE_WINDOWS, METRICS } from "./rule.ts";
import type { ScopeMeasurement } from "./scope-measurement.ts";
import type { MetricSeries } from "./window-ranges.ts";

export type ScopeSeries = Readonly<Record<Metric, MetricSeries>>;

/** What is kept of a metric between windows; the sums of the run follow from it. */
export interface KeptSeries {
  /** The last windows, at most 12, oldest first. */
  readonly recent: readonly Counts[];
  /** The windows of the run before them. */
  readonly older: WindowRange;
}

export type KeptScope = Readonly<Record<Metric, KeptSeries>>;

/** One scope as seen by the rule: the run so far, and this window's measurement. */
export interface JudgedScope {
  readonly name: string;
  readonly series: ScopeSeries;
  readonly measurement: ScopeMeasurement;
}

export function byMetric<T>(make: (metric: Metric) => T): Record<Metric, T> {
  const [errors, ceiling, regression] = METRICS;
  return { errors: make(errors), ceiling: make(ceiling), regression: make(regression) };
}

export const NEW_SCOPE: KeptScope = byMetric(() => ({ recent: [], older: EMPTY }));

/** The series with one more window. @param ceilings the allowed share of bad requests of each metric */
export function extendScope(
  kept: KeptScope,
  { counts }: ScopeMeasurement,
  ceilings: Readonly<Record<Metric, number>>,
): ScopeSeries {
  return byMetric((metric) => extendSeries(kept[metric], counts[metric], ceilings[metric]));
}

/** The part of the series to keep. @param marked the recent windows of the metrics in which some were left out */
export function keepScope(series: ScopeSeries, marked: Partial<Record<Metric, readonly Counts[]>> = {}): KeptScope {
  return byMetric((metric) => ({ recent: marked[metric] ?? series[metric].recent, older: series[metric].older }));
}

export function extendSeries({ recent: before, older }: KeptSeries, counts: Counts, ceiling: number): MetricSeries {
  const recent = [...before, counts];
  const dropped = recent.length > MAX_RANGE_WINDOWS ? recent.shift() : undefined;
  const sums = dropped === undefined ? older : withWindow(older, dropped, ceiling);
  return { recent, older: sums, run: recent.reduce((sum, window) => withWindow(sum, window, ceiling), sums) };
}
