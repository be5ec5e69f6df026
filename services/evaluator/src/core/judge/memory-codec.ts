/**
 * The stored form of the judge's memory: counts are stored under the short names of the formulas (see `counts.ts`).
 * Checkpoints contain many of them, and those written by earlier versions must remain readable.
 */
import type { Counts, WindowRange } from "./counts.ts";
import type { JudgeMemory, JudgeMemoryValue } from "./outcome.ts";

type Names<T> = Readonly<Record<keyof T, string>>;

const COUNTS: Names<Counts> = {
  requests: "n",
  bad: "x",
  badSquares: "s2",
  requestSquares: "q2",
  healthyBad: "mu",
  stableBad: "e",
  stableVariance: "v",
  comparedBad: "xe",
  comparedRequests: "ne",
};

const RANGE: Names<WindowRange> = {
  windows: "windows",
  requests: "n",
  bad: "x",
  healthyBad: "mu",
  requestSquares: "q",
  burstObserved: "a",
  burstExpected: "single",
  burstVariance: "spread",
  stableBad: "e",
  stableVariance: "v",
  comparedBad: "xe",
  comparedRequests: "ne",
  worstRequests: "worstN",
  worstBad: "worstX",
  worstHealthyBad: "worstMu",
};

type Fields = { readonly [key: string]: JudgeMemoryValue };
type Rename = (fields: Fields) => Fields;

/** Renames the fields of one object, in the order of `pairs`; a missing field stays missing. */
function renamer(pairs: readonly (readonly [string, string])[]): Rename {
  return (fields) => Object.fromEntries(pairs.flatMap(([from, to]) => (from in fields ? [[to, fields[from]!]] : [])));
}

const inverted = (names: Readonly<Record<string, string>>) =>
  Object.entries(names).map(([name, stored]) => [stored, name] as const);
const toStored = { counts: renamer(Object.entries(COUNTS)), range: renamer(Object.entries(RANGE)) };
const fromStored = { counts: renamer(inverted(COUNTS)), range: renamer(inverted(RANGE)) };

/** The memory as a checkpoint stores it. */
export const storeMemory = (memory: JudgeMemory): JudgeMemory => mapCounts(memory, toStored);

/** The memory from its stored form. */
export const restoreMemory = (stored: JudgeMemory): JudgeMemory => mapCounts(stored, fromStored);

/** Applies the renames to `views.<name>.<metric>.{recent[], run}`; all other parts are shared. */
function mapCounts(memory: JudgeMemory, rename: { readonly counts: Rename; readonly range: Rename }): JudgeMemory {
  if (!isFields(memory.views)) return memory;
  const series = (value: JudgeMemoryValue): JudgeMemoryValue => {
    if (!isFields(value) || !Array.isArray(value.recent) || !isFields(value.run)) return value;
    const recent = value.recent.map((counts: JudgeMemoryValue) => (isFields(counts) ? rename.counts(counts) : counts));
    return { ...value, recent, run: rename.range(value.run) };
  };
  const views = mapFields(memory.views, (view) => (isFields(view) ? mapFields(view, series) : view));
  return { ...memory, views };
}

function mapFields(fields: Fields, map: (value: JudgeMemoryValue) => JudgeMemoryValue): Fields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, map(value)]));
}

function isFields(value: JudgeMemoryValue | undefined): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
