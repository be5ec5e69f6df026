/** A view: the whole canary, or its part in one AZ. Each metric of a view has its own series of windows. */
import { EMPTY, withWindow } from "./counts.ts";
import type { Metric } from "./rule.ts";
import { LONGEST, METRICS } from "./rule.ts";
import type { Measured } from "./scope-measurement.ts";
import type { Series } from "./window-ranges.ts";

export type View = Readonly<Record<Metric, Series>>;

/** One view as seen by the rule: the run so far, and this window's measurement. */
export interface JudgedView {
  readonly name: string;
  readonly view: View;
  readonly measured: Measured;
}

export function byMetric<T>(make: (metric: Metric) => T): Record<Metric, T> {
  const [errors, ceiling, regression] = METRICS;
  return { errors: make(errors), ceiling: make(ceiling), regression: make(regression) };
}

export const NEW_VIEW: View = byMetric(() => ({ recent: [], run: EMPTY }));

/** The view with one more window. @param ceilings the allowed share of bad requests of each metric */
export function extendView(view: View, { counts }: Measured, ceilings: Readonly<Record<Metric, number>>): View {
  return byMetric((metric) => ({
    recent: [...view[metric].recent, counts[metric]].slice(-LONGEST),
    run: withWindow(view[metric].run, counts[metric], ceilings[metric]),
  }));
}
