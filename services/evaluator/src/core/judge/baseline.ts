/**
 * Latencies of stable over the last 12 windows, by AZ: what the regression threshold is made of. Kept from window to window, so that
 * each window is added once and taken out once; and only from seven tenths of the smallest p99 upwards, for nothing below is asked
 * while that stays put.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { minIndex } from "@aviary/shared/histogram-buckets.ts";
import type { Part, Top } from "./latency.ts";
import { addPart, bucketMs, commonScale, emptyTop, firstAbove, p99Index, topAbove } from "./latency.ts";
import { LONGEST } from "./rule.ts";
import type { WindowTally } from "./tally.ts";
import { tallyWindow } from "./tally.ts";

/** Stable's latencies by AZ, all in one scale. Each AZ's p99 lies above the cut. */
export interface Baseline {
  readonly scale: number;
  readonly cut: number;
  readonly byAz: ReadonlyMap<string, Top>;
  /** Indexes of windows that were refused and are not in it. */
  readonly refused: readonly number[];
}

/** As a checkpoint holds it: `counts` are those of the buckets from the cut on. */
export type BaselineMemory = {
  /** Index of the oldest and of the newest window in it. */
  readonly first: number;
  readonly last: number;
  /** Indexes of those among them that were refused. */
  readonly refused: readonly number[];
  readonly scale: number;
  readonly cut: number;
  readonly azs: { readonly [az: string]: { readonly total: number; readonly counts: readonly number[] } };
};

/** The regression threshold of a view, and how well it is known. */
export interface Threshold {
  /** The policy's ratio times the 99th percentile of stable over the baseline, milliseconds. */
  readonly limitMs: number;
  /** Stable's latencies in the baseline, and those above the threshold. */
  readonly timed: number;
  readonly above: number;
  /** How many windows these are of. */
  readonly windows: number;
}

/**
 * The baseline of `windows`. What is kept is used when it covers exactly all of them but the last and its cut still holds; otherwise
 * the baseline is built anew, with the same result.
 * @param last the tally of the last of the windows.
 */
export function baselineOf(
  windows: readonly ClosedWindow[],
  last: WindowTally,
  kept: BaselineMemory | null,
  traffic: Policy["traffic"],
): Baseline {
  const before = windows.slice(0, -1);
  const refused = last.unreadable === null ? [] : [windows.at(-1)!.window.index];
  const fits = kept !== null && kept.first === before[0]?.window.index && kept.last === before.at(-1)?.window.index;
  if (fits && kept.scale <= commonScale(partsIn(last))) {
    const baseline = restored(kept, refused);
    addWindow(baseline, last, 1);
    if ([...baseline.byAz.values()].every((top) => (p99Index([top]) ?? baseline.cut) >= baseline.cut)) return baseline;
  }
  const tallies = before.map((window) => tallyWindow(window, traffic, "canary"));
  const missing = before.filter((_, k) => tallies[k]!.unreadable !== null).map(({ window }) => window.index);
  return { ...builtFrom([...tallies, last]), refused: [...missing, ...refused] };
}

/** A baseline of what the tallies are compared with, every bucket of it. */
export function builtFrom(tallies: readonly WindowTally[]): Baseline {
  const scale = commonScale(tallies.flatMap(partsIn));
  const baseline: Baseline = { scale, cut: minIndex(scale), byAz: new Map(), refused: [] };
  for (const tally of tallies) addWindow(baseline, tally, 1);
  return baseline;
}

/** What to keep for the next window: all of it, less the oldest window when there would be more than 12. Changes `baseline`. */
export function keepBaseline(baseline: Baseline, windows: readonly ClosedWindow[], traffic: Policy["traffic"]): BaselineMemory {
  const full = windows.length >= LONGEST;
  const [oldest] = windows;
  const lowest = Math.min(...[...baseline.byAz.values()].map((top) => p99Index([top])!));
  const halfAnOctaveBelow = lowest - (1 << baseline.scale) / 2;
  const cut = Math.max(baseline.cut, Number.isFinite(lowest) ? Math.floor(halfAnOctaveBelow) : baseline.cut);
  if (full && !baseline.refused.includes(oldest!.window.index)) {
    addWindow(baseline, tallyWindow(oldest!, traffic, "canary", "stable"), -1);
  }
  const present = [...baseline.byAz].filter(([, top]) => top.total > 0).sort(([p], [q]) => (p < q ? -1 : 1));
  const first = windows[full ? 1 : 0]?.window.index ?? -1;
  return {
    first,
    last: windows.at(-1)!.window.index,
    refused: baseline.refused.filter((index) => index >= first),
    scale: baseline.scale,
    cut,
    azs: Object.fromEntries(present.map(([az, top]) => [az, { total: top.total, counts: kept(top, cut) }])),
  };
}

/** The threshold for the AZs named, from a baseline of so many windows; null when it holds no latency of theirs. */
export function thresholdOf(baseline: Baseline, azs: Iterable<string>, ratio: number, windows: number): Threshold | null {
  const tops = [...azs].flatMap((az) => baseline.byAz.get(az) ?? []);
  const index = p99Index(tops);
  if (index === null) return null;
  const limitMs = ratio * bucketMs(index, baseline.scale);
  const timed = tops.reduce((sum, top) => sum + top.total, 0);
  return { limitMs, timed, above: topAbove(tops, firstAbove(limitMs, baseline.scale)), windows };
}

function partsIn(tally: WindowTally): Part[] {
  return tally.azs.flatMap(({ compared }) => compared.latency);
}

function addWindow(baseline: Baseline, tally: WindowTally, sign: 1 | -1): void {
  const byAz = baseline.byAz as Map<string, Top>;
  for (const { az, compared } of tally.azs) {
    if (compared.timed === 0) continue;
    const top = byAz.get(az) ?? emptyTop(baseline.scale, baseline.cut);
    byAz.set(az, top);
    for (const part of compared.latency) addPart(top, part, sign);
  }
}

/** The counts from `cut` up to the last that is not 0. */
function kept({ counts, cut: base }: Top, cut: number): number[] {
  let end = counts.length;
  while (end > 0 && counts[end - 1] === 0) end--;
  return counts.slice(cut - base, end);
}

function restored({ scale, cut, azs, refused }: BaselineMemory, more: readonly number[]): Baseline {
  const tops = Object.entries(azs).map(([az, { total, counts }]): [string, Top] => [
    az,
    { scale, cut, total, counts: [...counts] },
  ]);
  return { scale, cut, byAz: new Map(tops), refused: [...refused, ...more] };
}
