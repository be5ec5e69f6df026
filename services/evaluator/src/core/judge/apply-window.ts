/** Applies one closed window to the judge's memory of a run. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { hasDrifted } from "./drift.ts";
import type { BucketBand, LatencyTail } from "./latency.ts";
import { ALL_BUCKETS, coarserBand, commonScale, firstAbove } from "./latency.ts";
import { referenceLimitsMs, referenceNoise, referenceQuantile, referenceSliceRatio, referenceThreshold } from "./reference.ts";
import type { TailName, Threshold } from "./regression-limits.ts";
import { marginOf } from "./regression-limits.ts";
import { ceilingOf, MAX_AZ_SCOPES, WHOLE } from "./rule.ts";
import type { RuleVersion } from "./rule-version.ts";
import type { RunMemory } from "./run-memory.ts";
import type { CountedAz, ScopeMeasurement } from "./scope-measurement.ts";
import { countAz, measureScope } from "./scope-measurement.ts";
import type { StableBand } from "./stable-band.ts";
import { continueBand, coversAllButLast, quantileCounts, stableBandOf, thresholdOf } from "./stable-band.ts";
import type { ScopeSeries } from "./traffic-scope.ts";
import { bySeries, extendScope, NEW_SCOPE } from "./traffic-scope.ts";
import type { WindowTally } from "./window-tally.ts";
import { tallyWindow } from "./window-tally.ts";

/** What a run is judged under. */
export interface JudgedUnder {
  readonly policy: Policy;
  readonly reference: Reference | null;
  readonly version: RuleVersion;
}

export interface AppliedWindow {
  readonly tally: WindowTally;
  readonly counted: readonly CountedAz[];
  /** Every scope of the run, up to and including this window. */
  readonly scopes: { readonly [name: string]: ScopeSeries };
  /** The same scopes in this window alone. */
  readonly measurements: ReadonlyMap<string, ScopeMeasurement>;
  /** Stable's latencies over all given windows. */
  readonly stableBand: StableBand;
}

/** @param windows oldest first, at most 12; the last one is new, the earlier ones are in `before` */
export function applyWindow(
  before: RunMemory,
  windows: readonly ClosedWindow[],
  { policy, reference, version }: JudgedUnder,
): AppliedWindow {
  const { tally, counted, stableBand } = tallyLastWindow(before, windows, policy, reference);
  const scopes: Record<string, ScopeSeries> = {};
  const measurements = new Map<string, ScopeMeasurement>();
  const ceilings = bySeries((name) => ceilingOf(name, policy));
  const names = scopeNames(before, tally);
  const sources: ThresholdSources = { names, stableBand, reference, policy, version };
  for (const name of names) {
    const azs = counted.filter(({ az }) => name === WHOLE || az.az === name);
    const limits = {
      regression: regressionThreshold(name, "regression", sources),
      body: regressionThreshold(name, "body", sources),
    };
    const measurement = measureScope(azs, counted, limits, policy);
    measurements.set(name, measurement);
    scopes[name] = extendScope(before.scopes[name] ?? NEW_SCOPE, measurement, ceilings);
  }
  return { tally, counted, scopes, measurements, stableBand };
}

/**
 * Tallies the last window and adds it to stable's band: to the kept one if it still applies, otherwise all windows are merged
 * again.
 */
function tallyLastWindow(
  before: RunMemory,
  windows: readonly ClosedWindow[],
  policy: Policy,
  reference: Reference | null,
): Pick<AppliedWindow, "tally" | "counted" | "stableBand"> {
  const { stableBand: kept } = before;
  const last = windows.at(-1)!;
  const tally = tallyWindow(last, policy.traffic, "canary");
  const scale = commonScale(tally.azs.flatMap(({ judged, compared }) => [...judged.latency, ...compared.latency]));
  const leftOut = slowSpells(before, windows);
  // A window at another scale is tallied at its own, independent of what was kept.
  if (kept !== null && coversAllButLast(kept, windows) && scale === kept.scale) {
    const band = bandToRead(kept, policy, reference);
    const counted = tally.azs.map((az) => countAz(az, band, policy));
    const stable = counted.filter(({ az }) => az.compared.timed > 0);
    const added = stable.map(({ az, slow }): [string, LatencyTail] => [az.az, slow.compared]);
    const stableBand = continueBand(kept, last.window.index, added, marginOf(policy), leftOut);
    if (stableBand !== null) return { tally, counted, stableBand };
  }
  const allBuckets = coarserBand(ALL_BUCKETS, scale);
  return {
    tally,
    counted: tally.azs.map((az) => countAz(az, allBuckets, policy)),
    stableBand: stableBandOf(windows, policy.traffic, leftOut),
  };
}

/** Indexes of the windows whose latencies left the sums of the whole canary: stable was slow in them, and is not the baseline. */
function slowSpells({ scopes }: RunMemory, windows: readonly ClosedWindow[]): ReadonlySet<number> {
  const whole = scopes[WHOLE];
  if (whole === undefined) return new Set();
  const isLeftOut = (k: number) => [whole.regression, whole.ceiling].some(({ recent }) => recent.at(k)?.leftOut === true);
  const before = windows.slice(0, -1);
  return new Set(before.filter((_, k) => isLeftOut(k - before.length)).map(({ window }) => window.index));
}

/** The buckets that a window is read in: those of the kept band, which has the quantiles and limits, and the fixed limits. */
function bandToRead({ scale, low, high }: BucketBand, { thresholds }: Policy, reference: Reference | null): BucketBand {
  const limitsMs = [thresholds.maxP99Ms, ...referenceLimitsMs(reference)];
  const limits = limitsMs.map((limitMs) => firstAbove(limitMs, scale));
  return { scale, low: Math.min(low, ...limits), high: Math.max(high, ...limits) };
}

/** The whole canary first, then every AZ with canary traffic in this run, by name. */
function scopeNames(before: RunMemory, tally: WindowTally): string[] {
  const names = new Set([WHOLE, ...Object.keys(before.scopes)]);
  for (const { az, judged } of tally.azs) if (judged.requests > 0 && names.size <= MAX_AZ_SCOPES + 1) names.add(az);
  return [...names].sort();
}

/** Where the regression thresholds of a scope come from. */
interface ThresholdSources extends JudgedUnder {
  /** The scopes of the run. */
  readonly names: readonly string[];
  readonly stableBand: StableBand;
}

/**
 * The threshold of one tail of a scope; null without stable's latencies.
 *
 * A p99 of one or two windows is noisy, and a threshold that is too low fails a healthy canary: while the run has fewer windows
 * than the reference, the reference is used, unless stable has drifted from it. If the reference covers other AZs than the scope,
 * the slower of the two is used.
 */
function regressionThreshold(name: string, tail: TailName, sources: ThresholdSources): Threshold | null {
  const { names, stableBand, reference, policy, version } = sources;
  const measured = measuredThreshold(name, tail, sources);
  if (measured === null) return null;
  const margin = marginOf(policy);
  const ofScope = referenceThreshold(reference, name, tail, margin);
  const learned = ofScope ?? referenceThreshold(reference, WHOLE, tail, margin);
  if (learned === null || learned.windows <= measured.windows) return measured;
  if (version >= 3 && ofScope !== null && stableHasDrifted(name, tail, ofScope, sources)) return measured;
  const coversScope = name !== WHOLE || [...stableBand.byAz.keys()].every((az) => names.includes(az));
  return (ofScope !== null && coversScope) || learned.limitMs > measured.limitMs ? learned : measured;
}

/** The reference is compared with stable in the same AZs: all of them, or the one of the scope. */
function stableHasDrifted(name: string, tail: TailName, { above, timed }: Threshold, sources: ThresholdSources): boolean {
  const { stableBand, reference, policy } = sources;
  const before = referenceQuantile(reference, name, tail);
  if (before === null) return false;
  const own = quantileCounts(stableBand, name === WHOLE ? stableBand.byAz.keys() : [name], before.quantileMs);
  const { noise } = referenceNoise(reference, name, tail, ceilingOf(tail, policy));
  return hasDrifted(own, before.counts, noise, Math.max(1, above) / timed);
}

/**
 * The threshold measured in this run: from stable in the AZs with canary traffic; for the whole canary, from stable in all AZs if
 * those have no stable traffic. An AZ is not compared with others, which may simply be slower.
 */
function measuredThreshold(name: string, tail: TailName, sources: ThresholdSources): Threshold | null {
  const { names, stableBand, reference, policy } = sources;
  const of = (azs: Iterable<string>) =>
    thresholdOf(stableBand, azs, tail, marginOf(policy), referenceSliceRatio(reference, name, tail));
  if (name !== WHOLE) return of([name]);
  return of(names.filter((az) => az !== WHOLE)) ?? of(stableBand.byAz.keys());
}
