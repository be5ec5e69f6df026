/** Learns the judge's reference from the closed windows before a run. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { badWindows } from "./bad-windows.ts";
import type { Counts } from "./counts.ts";
import { rateKey } from "./keys.ts";
import { ALL_BUCKETS, bucketMs, coarserBand, commonScale, quantileIndex } from "./latency.ts";
import { learnNoise } from "./noise.ts";
import { figureName } from "./reference.ts";
import type { TailName, Threshold, Thresholds } from "./regression-limits.ts";
import { isTail, marginOf, NO_THRESHOLDS, TAIL_NAMES, TAILS } from "./regression-limits.ts";
import type { SeriesName } from "./rule.ts";
import { ceilingOf, MAX_RANGE_WINDOWS, SERIES, WHOLE } from "./rule.ts";
import { countAz, measureScope } from "./scope-measurement.ts";
import { sliceRatioOf } from "./slice-ratio.ts";
import type { StableBand } from "./stable-band.ts";
import { quantileCounts, stableBandFrom, thresholdOf } from "./stable-band.ts";
import type { AzTally, SliceName, WindowTally } from "./window-tally.ts";
import { otherSlice, tallyWindow } from "./window-tally.ts";

/** The maximum number of windows in a reference: four hours of five minutes. */
export const REFERENCE_WINDOWS = 48;

/**
 * Learns the noise of each metric from closed windows, oldest first; of more than 48 the last 48 are used.
 * @param slice `stable`, or `canary` for the same gateways before the run (a fleet without a stable slice)
 * @returns `from: "none"` if fewer than two windows had traffic: the judge then assumes its defaults
 */
export function referenceFrom(windows: readonly ClosedWindow[], policy: Policy, slice: SliceName): Reference {
  const tallies = windows.slice(-REFERENCE_WINDOWS).map((window) => tallyWindow(window, policy.traffic, slice));
  const names = new Set(tallies.flatMap(({ azs }) => azs.filter(({ judged }) => judged.requests > 0).map(({ az }) => az)));
  const used = tallies.filter(({ azs }) => azs.some(({ judged }) => judged.requests > 0)).length;
  if (used < 2) return { windows: used, from: "none", figures: {} };
  const figures: Record<string, number> = {};
  for (const name of [WHOLE, ...[...names].sort()]) Object.assign(figures, learnFigures(tallies, name, policy));
  return { windows: used, from: slice === "stable" ? "stable" : "same-gateways", figures };
}

/** The AZs of a scope in one window; the judged slice is the one that is learned from. */
type ScopeWindow = readonly AzTally[];

/**
 * The figures of one scope. Regressions are counted against the thresholds of the newest 12 windows, as at the start of the run.
 * The bad windows of a metric are left out; `left_out` is their number.
 */
function learnFigures(tallies: readonly WindowTally[], name: string, policy: Policy): Record<string, number> {
  const windows = tallies.map(({ azs }): ScopeWindow => azs.filter(({ az }) => name === WHOLE || az === name));
  const slow = slowWindows(windows, policy);
  const calm = windows.filter((_, k) => !slow.has(k));
  const band = newestBand(calm);
  const thresholds = { regression: thresholdIn(band, "regression", policy), body: thresholdIn(band, "body", policy) };
  const figures: Record<string, number> = {};
  const add = (series: SeriesName, named: Record<string, number>) => {
    for (const [figure, value] of Object.entries(named)) figures[figureName(name, series, figure)] = value;
  };
  for (const tail of TAIL_NAMES) add(tail, tailFigures(band, tail, thresholds[tail], policy));
  const measured = countsOf(windows, thresholds, policy);
  for (const series of SERIES) {
    const counts = measured.map((one) => one[series]);
    const ceiling = ceilingOf(series, policy);
    const bad = isTail(series) ? slow : badWindows(counts, ceiling);
    const kept = counts.filter(({ requests }, k) => requests > 0 && !bad.has(k));
    if (kept.length < 2) continue;
    const { overdispersion, burstFactor } = learnNoise(kept, ceiling);
    if (series === "ceiling") add(series, { over_share: kept.filter((one) => rateKey(one, ceiling)).length / kept.length });
    add(series, { rho: overdispersion, phi: burstFactor, ...(bad.size > 0 ? { left_out: bad.size } : {}) });
  }
  const canarySlow = slowWindows(windows.map(otherSlice), policy);
  const both = calmInBoth(windows, slow, canarySlow);
  for (const tail of TAIL_NAMES) {
    const ratio = sliceRatioOf(both, tail);
    if (ratio > 1) add(tail, { slice_ratio: ratio });
  }
  return figures;
}

function tailFigures(band: StableBand, tail: TailName, threshold: Threshold | null, policy: Policy): Record<string, number> {
  const at = quantileIndex([...band.byAz.values()], TAILS[tail].quantile);
  if (threshold === null || at === null) return {};
  const quantileMs = bucketMs(at, band.scale);
  const counts = quantileCounts(band, band.byAz.keys(), quantileMs);
  const { limitMs, timed, above, windows } = threshold;
  const { ratio, minDeltaMs } = marginOf(policy);
  return {
    ratio,
    min_delta_ms: minDeltaMs,
    limit_ms: limitMs,
    timed,
    above,
    windows,
    quantile_ms: quantileMs,
    above_quantile: counts.above,
    from_quantile: counts.from,
  };
}

/** The counts of every window against these thresholds. */
function countsOf(windows: readonly ScopeWindow[], thresholds: Thresholds, policy: Policy): Record<SeriesName, Counts>[] {
  const parts = windows.flat().flatMap(({ judged, compared }) => [...judged.latency, ...compared.latency]);
  const band = coarserBand(ALL_BUCKETS, commonScale(parts));
  return windows.map((azs) => {
    const counted = azs.map((az) => countAz(az, band, policy));
    return measureScope(counted, counted, thresholds, policy).counts;
  });
}

/** The latencies of the newest 12 windows, of the judged slice itself. */
function newestBand(windows: readonly ScopeWindow[]): StableBand {
  return stableBandFrom(windows.slice(-MAX_RANGE_WINDOWS).map((azs, index) => ({ index, azs: otherSlice(azs) })));
}

function thresholdIn(band: StableBand, tail: TailName, policy: Policy): Threshold | null {
  return thresholdOf(band, band.byAz.keys(), tail, marginOf(policy));
}

/**
 * The positions of slow spells: of the windows that are bad against the threshold of the median window, which a spell does not
 * move.
 */
function slowWindows(windows: readonly ScopeWindow[], policy: Policy): ReadonlySet<number> {
  const single = windows.flatMap((azs) => thresholdIn(newestBand([azs]), "regression", policy) ?? []);
  const regression = single.toSorted((p, q) => p.limitMs - q.limitMs)[(single.length - 1) >> 1];
  if (regression === undefined) return new Set();
  const counts = countsOf(windows, { ...NO_THRESHOLDS, regression }, policy).map((one) => one.regression);
  return badWindows(counts, ceilingOf("regression", policy));
}

/** The windows without slow spells on either slice, with latencies of both. */
function calmInBoth(windows: readonly ScopeWindow[], ...slow: readonly ReadonlySet<number>[]): readonly ScopeWindow[] {
  const hasBoth = (azs: ScopeWindow) =>
    azs.some(({ judged }) => judged.timed > 0) && azs.some(({ compared }) => compared.timed > 0);
  return windows.filter((azs, k) => hasBoth(azs) && !slow.some((positions) => positions.has(k)));
}
