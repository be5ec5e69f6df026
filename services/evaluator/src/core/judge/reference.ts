/**
 * The judge's reference: estimated from healthy traffic before a run and frozen at its start. It is stored in the verdict record as
 * plain numbers: `errors.rho`, `errors.phi`, ... for the whole slice, `<az>/errors.rho`, ... for each AZ.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { badWindows } from "./bad-windows.ts";
import type { Counts } from "./counts.ts";
import { ALL_BUCKETS, coarserBand, commonScale } from "./latency.ts";
import type { Noise } from "./noise.ts";
import { defaultNoise, learnNoise } from "./noise.ts";
import type { Metric } from "./rule.ts";
import { ceilingOf, MAX_RANGE_WINDOWS, METRICS, WHOLE } from "./rule.ts";
import { countAz, measureScope } from "./scope-measurement.ts";
import { stableBandFrom, type Threshold, thresholdOf } from "./stable-band.ts";
import type { AzTally, SliceName, WindowTally } from "./window-tally.ts";
import { tallyWindow } from "./window-tally.ts";

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

/** The noise for a scope: that of its own AZ, otherwise that of the whole slice, otherwise the default. */
export function referenceNoise(
  reference: Reference | null,
  scope: string,
  metric: Metric,
  ceiling: number,
): { readonly noise: Noise; readonly windows: number } {
  for (const name of [scope, WHOLE]) {
    const overdispersion = reference?.figures[figureName(name, metric, "rho")];
    const burstFactor = reference?.figures[figureName(name, metric, "phi")];
    if (reference !== null && isUsable(overdispersion, 0) && isUsable(burstFactor, 1))
      return { noise: { overdispersion, burstFactor }, windows: reference.windows };
  }
  return { noise: defaultNoise(ceiling), windows: 0 };
}

/**
 * Stable's regression threshold before the run; null if the reference has none for this scope, was estimated from the canary's own
 * gateways, or under another ratio.
 */
export function referenceThreshold(reference: Reference | null, scope: string, ratio: number): Threshold | null {
  if (reference === null || reference.from !== "stable") return null;
  const figure = (name: string) => reference.figures[figureName(scope, "regression", name)];
  const [limitMs, timed, above, windows] = [figure("limit_ms"), figure("timed"), figure("above"), figure("windows")];
  if (figure("ratio") !== ratio || !isUsable(limitMs, 0) || !isUsable(timed, 1) || !isUsable(above, 0) || !isUsable(windows, 1))
    return null;
  return { limitMs, timed, above, windows };
}

/** Every threshold of the reference that a scope may use, milliseconds. */
export function referenceLimitsMs(reference: Reference | null): number[] {
  return Object.entries(reference?.figures ?? {}).flatMap(([name, figure]) =>
    name.endsWith("regression.limit_ms") && isUsable(figure, 0) ? figure : [],
  );
}

function isUsable(value: number | undefined, least: number): value is number {
  return value !== undefined && Number.isFinite(value) && value >= least;
}

/**
 * The figures of one scope. The regression is counted against the threshold of the newest 12 windows, as at the start of the run.
 * The bad windows of a metric are left out; `left_out` is their number.
 */
function learnFigures(tallies: readonly WindowTally[], name: string, policy: Policy): Record<string, number> {
  const scopes = tallies.map(({ azs }) => azs.filter(({ az }) => name === WHOLE || az === name));
  const parts = scopes.flat().flatMap(({ judged, compared }) => [...judged.latency, ...compared.latency]);
  const band = coarserBand(ALL_BUCKETS, commonScale(parts));
  const counted = scopes.map((azs) => azs.map((az) => countAz(az, band, policy)));
  const countsBy = (threshold: Threshold | null, metric: Metric): Counts[] =>
    counted.map((azs) => measureScope(azs, azs, threshold, policy).counts[metric]);
  const slow = slowWindows(scopes, policy, (threshold) => countsBy(threshold, "regression"));
  const threshold = thresholdIn(
    scopes.filter((_, k) => !slow.has(k)),
    policy,
  );
  const figures: Record<string, number> = {};
  if (threshold !== null) {
    figures[figureName(name, "regression", "ratio")] = policy.thresholds.maxP99RegressionRatio;
    figures[figureName(name, "regression", "limit_ms")] = threshold.limitMs;
    figures[figureName(name, "regression", "timed")] = threshold.timed;
    figures[figureName(name, "regression", "above")] = threshold.above;
    figures[figureName(name, "regression", "windows")] = threshold.windows;
  }
  for (const metric of METRICS) {
    const windows = countsBy(threshold, metric);
    const ceiling = ceilingOf(metric, policy);
    const bad = metric === "regression" ? slow : badWindows(windows, ceiling);
    const kept = windows.filter(({ requests }, k) => requests > 0 && !bad.has(k));
    if (kept.length < 2) continue;
    const { overdispersion, burstFactor } = learnNoise(kept, ceiling);
    figures[figureName(name, metric, "rho")] = overdispersion;
    figures[figureName(name, metric, "phi")] = burstFactor;
    if (bad.size > 0) figures[figureName(name, metric, "left_out")] = bad.size;
  }
  return figures;
}

/** The threshold of the newest 12 windows, from the judged slice itself; null without latencies. */
function thresholdIn(scopes: readonly (readonly AzTally[])[], { thresholds }: Policy): Threshold | null {
  const newest = scopes.slice(-MAX_RANGE_WINDOWS).map((azs, index) => ({ index, azs: azs.map(swapped) }));
  const latest = stableBandFrom(newest);
  return thresholdOf(latest, latest.byAz.keys(), thresholds.maxP99RegressionRatio, newest.length);
}

/**
 * The positions of slow spells: of the windows that are bad against the threshold of the median window, which a spell does not
 * move.
 */
function slowWindows(
  scopes: readonly (readonly AzTally[])[],
  policy: Policy,
  countsBy: (threshold: Threshold) => readonly Counts[],
): ReadonlySet<number> {
  const single = scopes.flatMap((azs) => thresholdIn([azs], policy) ?? []);
  const median = single.toSorted((p, q) => p.limitMs - q.limitMs)[(single.length - 1) >> 1];
  return median === undefined ? new Set() : badWindows(countsBy(median), ceilingOf("regression", policy));
}

/** A threshold is computed from the slice that is compared with; here it is the slice itself. */
function swapped({ az, judged, compared }: AzTally): AzTally {
  return { az, judged: compared, compared: judged };
}

function figureName(scope: string, metric: Metric, figure: string): string {
  return scope === WHOLE ? `${metric}.${figure}` : `${scope}/${metric}.${figure}`;
}
