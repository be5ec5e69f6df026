/** A scope is the whole canary, or its gateways in one AZ. Each metric of a scope has its own series of windows. */
import { EMPTY, withWindow } from "./counts.ts";
import type { Metric } from "./rule.ts";
import { MAX_RANGE_WINDOWS, METRICS } from "./rule.ts";
import type { ScopeMeasurement } from "./scope-measurement.ts";
import type { MetricSeries } from "./window-ranges.ts";

export type ScopeSeries = Readonly<Record<Metric, MetricSeries>>;

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

export const NEW_SCOPE: ScopeSeries = byMetric(() => ({ recent: [], run: EMPTY }));

/** The series with one more window. @param ceilings the allowed share of bad requests of each metric */
export function extendScope(
  series: ScopeSeries,
  { counts }: ScopeMeasurement,
  ceilings: Readonly<Record<Metric, number>>,
): ScopeSeries {
  return byMetric((metric) => ({
    recent: [...series[metric].recent, counts[metric]].slice(-MAX_RANGE_WINDOWS),
    run: withWindow(series[metric].run, counts[metric], ceilings[metric]),
  }));
}
