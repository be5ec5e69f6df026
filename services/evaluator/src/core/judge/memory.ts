/** What the judge remembers of a run: 12 windows and the sums of the run for each view, stable's baseline, the literal rule's counts. */
import type { BaselineMemory } from "./baseline.ts";
import type { Counts, Stretch } from "./counts.ts";
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

function numbersOf({ recent, run }: Series): { recent: number[][]; run: number[] } {
  return { recent: recent.map(countNumbers), run: sumNumbers(run) };
}

function seriesOf({ recent, run }: { recent: number[][]; run: number[] }): Series {
  return { recent: recent.map(countsFrom), run: sumFrom(run) };
}

/** The order of the numbers is the format: a change needs another VERSION. */
function countNumbers({ n, x, s2, q2, mu, e, v, xe, ne }: Counts): number[] {
  return [n, x, s2, q2, mu, e, v, xe, ne];
}

function countsFrom([n = 0, x = 0, s2 = 0, q2 = 0, mu = 0, e = 0, v = 0, xe = 0, ne = 0]: readonly number[]): Counts {
  return { n, x, s2, q2, mu, e, v, xe, ne };
}

function sumNumbers(s: Stretch): number[] {
  return [s.windows, s.n, s.x, s.mu, s.q, s.a, s.single, s.spread, s.e, s.v, s.xe, s.ne, s.worstN, s.worstX, s.worstMu];
}

function sumFrom(numbers: readonly number[]): Stretch {
  const [windows = 0, n = 0, x = 0, mu = 0, q = 0, a = 0, single = 0, spread = 0, e = 0, v = 0, xe = 0, ne = 0] = numbers;
  const [worstN = 0, worstX = 0, worstMu = 0] = numbers.slice(12);
  return { windows, n, x, mu, q, a, single, spread, e, v, xe, ne, worstN, worstX, worstMu };
}
