/**
 * Latencies of stable over the last 12 windows, by AZ: what the regression threshold is made of. It is kept from window to window,
 * so that each window is added once and taken out once.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { Histogram, LatencySparse } from "@aviary/shared/histogram.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { LONGEST } from "./rule.ts";
import type { WindowTally } from "./tally.ts";
import { tallyWindow } from "./tally.ts";

/** Stable's latencies by AZ. */
export type Baseline = ReadonlyMap<string, Histogram>;

/** As a checkpoint holds it, with the index of the oldest and of the newest window in it. */
export type BaselineMemory = {
  readonly first: number;
  readonly last: number;
  readonly azs: { readonly [az: string]: LatencySparse };
};

/**
 * The baseline of `windows`. What is kept is used when it covers exactly all of them but the last; otherwise it is built anew.
 * @param last the tally of the last of the windows.
 */
export function baselineOf(
  windows: readonly ClosedWindow[],
  last: WindowTally,
  kept: BaselineMemory | null,
  traffic: Policy["traffic"],
): Baseline {
  const before = windows.slice(0, -1);
  const baseline = new Map<string, Histogram>();
  if (kept !== null && kept.first === before[0]?.window.index && kept.last === before.at(-1)?.window.index) {
    for (const [az, sparse] of Object.entries(kept.azs)) baseline.set(az, histogram.fromSparse(sparse));
  } else {
    for (const window of before) addWindow(baseline, tallyWindow(window, traffic, "canary"));
  }
  addWindow(baseline, last);
  return baseline;
}

/** What to keep for the next window: all of it, less the oldest window when there would be more than 12. Changes `baseline`. */
export function keepBaseline(baseline: Baseline, windows: readonly ClosedWindow[], traffic: Policy["traffic"]): BaselineMemory {
  const full = windows.length >= LONGEST;
  if (full) {
    for (const { az, compared } of tallyWindow(windows[0]!, traffic, "canary").azs) subtract(baseline.get(az)!, compared.latency);
  }
  const azs: Record<string, LatencySparse> = {};
  for (const [az, sum] of [...baseline].sort(([p], [q]) => (p < q ? -1 : 1))) {
    if (!histogram.isEmpty(sum)) azs[az] = histogram.toSparse(sum);
  }
  return { first: windows[full ? 1 : 0]!.window.index, last: windows.at(-1)!.window.index, azs };
}

/** The latencies of some of the AZs in one histogram. */
export function pooled(baseline: Baseline, azs: Iterable<string>): Histogram {
  const sum = histogram.create();
  for (const az of azs) {
    const part = baseline.get(az);
    if (part !== undefined) histogram.merge(sum, part);
  }
  return sum;
}

function addWindow(baseline: Map<string, Histogram>, tally: WindowTally): void {
  for (const { az, compared } of tally.azs) {
    const sum = baseline.get(az);
    if (sum === undefined) baseline.set(az, histogram.clone(compared.latency));
    else histogram.merge(sum, compared.latency);
  }
}

/** Takes out of `sum` what was merged into it before; its scale is at most that of `part`. */
function subtract(sum: Histogram, part: Histogram): void {
  histogram.downscale(part, sum.scale);
  sum.zero -= part.zero;
  for (let index = part.first; index <= part.last; index++) sum.bins[index - sum.base]! -= part.bins[index - part.base]!;
}
