/** What the judge remembers of a run: 12 windows and the sums of the run for each view, stable's baseline, the literal rule's counts. */
import type { BaselineMemory } from "./baseline.ts";
import type { Counts, Stretch } from "./counts.ts";
import { EMPTY, NOTHING } from "./counts.ts";
import type { LiteralCounts } from "./literal.ts";
import { NO_COUNTS } from "./literal.ts";
import type { JudgeMemory } from "./outcome.ts";
import type { Metric } from "./rule.ts";
import type { Series } from "./scan.ts";
import type { View } from "./view.ts";
import { byMetric } from "./view.ts";

export interface State {
  readonly views: ReadonlyMap<string, View>;
  readonly baseline: BaselineMemory | null;
  readonly literal: LiteralCounts;
}

export const START: State = { views: new Map(), baseline: null, literal: NO_COUNTS };

const VERSION = 1;
const COUNT_KEYS = Object.keys(NOTHING) as (keyof Counts)[];
const SUM_KEYS = Object.keys(EMPTY) as (keyof Stretch)[];

/** JSON: numbers in the order of `Counts` and `Stretch`. */
type MemoryFile = {
  readonly v: number;
  readonly views: { readonly [name: string]: { readonly [metric in Metric]: { recent: number[][]; run: number[] } } };
  readonly baseline: BaselineMemory | null;
  readonly literal: LiteralCounts;
};

export function encode(state: State): JudgeMemory {
  const views = [...state.views].sort(([p], [q]) => (p < q ? -1 : 1));
  const file: MemoryFile = {
    v: VERSION,
    views: Object.fromEntries(views.map(([name, view]) => [name, byMetric((metric) => numbersOf(view[metric]))])),
    baseline: state.baseline,
    literal: state.literal,
  };
  return file;
}

/** @returns null when the memory is not of this version: the caller then starts from the windows it has. */
export function decode(memory: JudgeMemory): State | null {
  if (memory.v !== VERSION) return null;
  // Written by `encode`, carried unchanged by everybody else.
  const file = memory as unknown as MemoryFile;
  const views = Object.entries(file.views);
  return {
    views: new Map(views.map(([name, view]) => [name, byMetric((metric) => seriesOf(view[metric]))])),
    baseline: file.baseline,
    literal: file.literal,
  };
}

function numbersOf(series: Series): { recent: number[][]; run: number[] } {
  return {
    recent: series.recent.map((window) => COUNT_KEYS.map((key) => window[key])),
    run: SUM_KEYS.map((key) => series.run[key]),
  };
}

function seriesOf(numbers: { recent: number[][]; run: number[] }): Series {
  return {
    recent: numbers.recent.map((values) => named(COUNT_KEYS, values) as unknown as Counts),
    run: named(SUM_KEYS, numbers.run) as unknown as Stretch,
  };
}

function named(keys: readonly string[], values: readonly number[]): Record<string, number> {
  return Object.fromEntries(keys.map((key, k) => [key, values[k] ?? 0]));
}
