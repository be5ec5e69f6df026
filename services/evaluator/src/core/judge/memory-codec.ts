/**
 * The stored form of the judge's outcome and memory. Counts are stored under the short names of the formulas (see `counts.ts`)
 * because checkpoints contain many of them, other fields under the names that earlier versions gave them: their checkpoints must
 * remain readable.
 */
import type { Counts, WindowRange } from "./counts.ts";
import type { JudgedNoise, JudgeMemory, JudgeMemoryValue, JudgeOutcome } from "./outcome.ts";
import { UNNAMED_RULE } from "./rule-version.ts";
import type { RunMemory } from "./run-memory.ts";

type Names<T> = Readonly<Record<keyof T, string>>;

const COUNTS: Names<Required<Counts>> = {
  requests: "n",
  bad: "x",
  badSquares: "s2",
  requestSquares: "q2",
  healthyBad: "mu",
  stableBad: "e",
  stableVariance: "v",
  comparedBad: "xe",
  comparedRequests: "ne",
  stableRequests: "ns",
  leftOut: "out",
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
  stableRequests: "ns",
  activeWindows: "active",
  worstRequests: "worstN",
  worstBad: "worstX",
  worstHealthyBad: "worstMu",
};

const MEMORY: Names<RunMemory> = { version: "v", scopes: "views", stableBand: "baseline", literal: "literal" };

const NOISE: Names<JudgedNoise> = { overdispersion: "rho", burstFactor: "phi", referenceWindows: "reference_windows" };

type Fields = { readonly [key: string]: JudgeMemoryValue };
type Rename = (fields: Fields) => Fields;

/** Renames the fields of one object, in the order of `pairs`; a missing field stays missing. */
function renamer(pairs: readonly (readonly [string, string])[]): Rename {
  return (fields) => Object.fromEntries(pairs.flatMap(([from, to]) => (from in fields ? [[to, fields[from]!]] : [])));
}

const inverted = (names: Readonly<Record<string, string>>) =>
  Object.entries(names).map(([name, stored]) => [stored, name] as const);
const toStored = {
  memory: renamer(Object.entries(MEMORY)),
  noise: renamer(Object.entries(NOISE)),
  counts: renamer(Object.entries(COUNTS)),
  range: renamer(Object.entries(RANGE)),
};
const fromStored = {
  memory: renamer(inverted(MEMORY)),
  noise: renamer(inverted(NOISE)),
  counts: renamer(inverted(COUNTS)),
  range: renamer(inverted(RANGE)),
};

/** The memory as a checkpoint stores it. */
export const storeMemory = (memory: JudgeMemory): JudgeMemory =>
  toStored.memory({ ...memory, scopes: mapCounts(memory.scopes, toStored) });

/** The memory from its stored form. */
export const restoreMemory = (stored: JudgeMemory): JudgeMemory =>
  fromStored.memory({ ...stored, views: mapCounts(stored.views, fromStored) });

/** The outcome as a checkpoint stores it. */
export function storeOutcome({ literal, twoKey, consecutiveOver, pValue, noise, rule, leftOut, memory }: JudgeOutcome): object {
  const storedNoise = noise === null ? null : toStored.noise({ ...noise });
  const named = rule === UNNAMED_RULE ? {} : { rule, left_out: leftOut };
  return { literal, twoKey, consecutiveOver, luck: pValue, noise: storedNoise, ...named, memory: storeMemory(memory) };
}

type StoredOutcome = JudgeOutcome & { luck: number | null; left_out?: number[] };

/** The outcome from its stored form, in which the memory is already restored. */
export function restoreOutcome(stored: object): JudgeOutcome {
  const { luck, noise, rule = UNNAMED_RULE, left_out: leftOut = [], ...outcome } = stored as StoredOutcome;
  const { literal, twoKey, consecutiveOver, memory } = outcome;
  const restoredNoise = noise === null ? null : (fromStored.noise({ ...noise }) as unknown as JudgedNoise);
  return { literal, twoKey, consecutiveOver, pValue: luck, noise: restoredNoise, rule, leftOut, memory };
}

/** Applies the renames to `<scope>.<metric>.{recent[], older}`; all other parts are shared. */
function mapCounts(
  scopes: JudgeMemoryValue | undefined,
  rename: { readonly counts: Rename; readonly range: Rename },
): JudgeMemoryValue {
  if (!isFields(scopes)) return scopes ?? null;
  const series = (value: JudgeMemoryValue): JudgeMemoryValue => {
    if (!isFields(value) || !Array.isArray(value.recent)) return value;
    const recent = value.recent.map((counts: JudgeMemoryValue) => (isFields(counts) ? rename.counts(counts) : counts));
    // Version 3 of the memory kept the sums of the whole run, later ones those of the windows before `recent`.
    const sums = Object.entries(value).filter(([name, part]) => name !== "recent" && isFields(part));
    return { ...value, recent, ...Object.fromEntries(sums.map(([name, part]) => [name, rename.range(part as Fields)])) };
  };
  return mapFields(scopes, (scope) => (isFields(scope) ? mapFields(scope, series) : scope));
}

function mapFields(fields: Fields, map: (value: JudgeMemoryValue) => JudgeMemoryValue): Fields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, map(value)]));
}

function isFields(value: JudgeMemoryValue | undefined): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
