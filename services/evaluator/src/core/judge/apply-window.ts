/** Applies one closed window to the judge's memory of a run. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { BucketBand, LatencyTail } from "./latency.ts";
import { ALL_BUCKETS, coarserBand, commonScale, firstAbove } from "./latency.ts";
import type { LiteralCounts } from "./literal.ts";
import { literalRule, windowFiguresOf } from "./literal.ts";
import type { JudgedRun } from "./outcome.ts";
import { referenceLimitsMs, referenceThreshold } from "./reference.ts";
import { ceilingOf, MAX_AZ_SCOPES, WHOLE } from "./rule.ts";
import type { RunMemory } from "./run-memory.ts";
import { EMPTY_MEMORY } from "./run-memory.ts";
import type { CountedAz, ScopeMeasurement } from "./scope-measurement.ts";
import { countAz, measureScope } from "./scope-measurement.ts";
import type { StableBand, Threshold } from "./stable-band.ts";
import { continueBand, coversAllButLast, keepStableBand, stableBandOf, thresholdOf } from "./stable-band.ts";
import type { ScopeSeries } from "./traffic-scope.ts";
import { byMetric, extendScope, NEW_SCOPE } from "./traffic-scope.ts";
import type { WindowTally } from "./window-tally.ts";
import { tallyWindow } from "./window-tally.ts";

export interface AppliedWindow {
  readonly tally: WindowTally;
  readonly counted: readonly CountedAz[];
  /** Every scope of the run, up to and including this window. */
  readonly scopes: RunMemory["scopes"];
  /** The same scopes in this window alone. */
  readonly measurements: ReadonlyMap<string, ScopeMeasurement>;
  /** Stable's latencies over all given windows. */
  readonly stableBand: StableBand;
}

/** @param windows oldest first, at most 12; the last one is new, the earlier ones are in `before` */
export function applyWindow(
  before: RunMemory,
  windows: readonly ClosedWindow[],
  policy: Policy,
  reference: Reference | null,
): AppliedWindow {
  const { tally, counted, stableBand } = tallyLastWindow(before, windows, policy, reference);
  const scopes: Record<string, ScopeSeries> = {};
  const measurements = new Map<string, ScopeMeasurement>();
  const ceilings = byMetric((metric) => ceilingOf(metric, policy));
  const names = scopeNames(before, tally);
  const thresholds: ThresholdSources = { names, stableBand, windows: windows.length, reference, policy };
  for (const name of names) {
    const azs = counted.filter(({ az }) => name === WHOLE || az.az === name);
    const measurement = measureScope(azs, counted, regressionThreshold(name, thresholds), policy);
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
  { stableBand: kept }: RunMemory,
  windows: readonly ClosedWindow[],
  policy: Policy,
  reference: Reference | null,
): Pick<AppliedWindow, "tally" | "counted" | "stableBand"> {
  const last = windows.at(-1)!;
  const tally = tallyWindow(last, policy.traffic, "canary");
  const scale = commonScale(tally.azs.flatMap(({ judged, compared }) => [...judged.latency, ...compared.latency]));
  // A window at another scale is tallied at its own, independent of what was kept.
  if (kept !== null && coversAllButLast(kept, windows) && scale === kept.scale) {
    const band = bandToRead(kept, policy, reference);
    const counted = tally.azs.map((az) => countAz(az, band, policy));
    const stable = counted.filter(({ az }) => az.compared.timed > 0);
    const added = stable.map(({ az, slow }): [string, LatencyTail] => [az.az, slow.compared]);
    const stableBand = continueBand(kept, last.window.index, added, policy.thresholds.maxP99RegressionRatio);
    if (stableBand !== null) return { tally, counted, stableBand };
  }
  const allBuckets = coarserBand(ALL_BUCKETS, scale);
  return {
    tally,
    counted: tally.azs.map((az) => countAz(az, allBuckets, policy)),
    stableBand: stableBandOf(windows, policy.traffic),
  };
}

/** The buckets that a window is read in: those of the kept band, which has the p99s and their thresholds, and the fixed limits. */
function bandToRead({ scale, low, high }: BucketBand, { thresholds }: Policy, reference: Reference | null): BucketBand {
  const limitsMs = [thresholds.maxP99Ms, ...referenceLimitsMs(reference)];
  const limits = limitsMs.map((limitMs) => firstAbove(limitMs, scale));
  return { scale, low: Math.min(low, ...limits), high: Math.max(high, ...limits) };
}

/** The memory of a run to keep after a window. */
export function memoryAfter({ scopes, stableBand }: AppliedWindow, literal: LiteralCounts, { thresholds }: Policy): RunMemory {
  return { ...EMPTY_MEMORY, scopes, stableBand: keepStableBand(stableBand, thresholds.maxP99RegressionRatio), literal };
}

/** The memory of a run that was lost, rebuilt from the windows before the last one. */
export function rebuiltMemory(
  windows: readonly ClosedWindow[],
  policy: Policy,
  { judged, reference }: Pick<JudgedRun, "judged" | "reference">,
): RunMemory {
  let memory = EMPTY_MEMORY;
  const known = windows.slice(0, -1);
  for (let k = Math.max(0, known.length - judged); k < known.length; k++) {
    const upTo = windows.slice(0, k + 1);
    const applied = applyWindow(memory, upTo, policy, reference);
    const { complete: isComplete, warm_up } = upTo.at(-1)!;
    const complete = (isComplete || warm_up === true) && applied.tally.unreadable === null;
    const literal = literalRule(windowFiguresOf(applied.counted), complete, memory.literal, policy).counts;
    memory = memoryAfter(applied, literal, policy);
  }
  return memory;
}

/** The whole canary first, then every AZ with canary traffic in this run, by name. */
function scopeNames(before: RunMemory, tally: WindowTally): string[] {
  const names = new Set([WHOLE, ...Object.keys(before.scopes)]);
  for (const { az, judged } of tally.azs) if (judged.requests > 0 && names.size <= MAX_AZ_SCOPES + 1) names.add(az);
  return [...names].sort();
}

/** Where the regression threshold of a scope comes from. */
interface ThresholdSources {
  /** The scopes of the run. */
  readonly names: readonly string[];
  readonly stableBand: StableBand;
  /** Number of windows in `stableBand`. */
  readonly windows: number;
  readonly reference: Reference | null;
  readonly policy: Policy;
}

/**
 * The regression threshold of a scope; null without stable's latencies.
 *
 * While the run has fewer windows than the reference, the reference is better: a p99 of one or two windows is noisy, and a
 * threshold that is too low blames a healthy canary. If the reference covers other AZs than the scope, the slower of the two is
 * used.
 */
function regressionThreshold(name: string, sources: ThresholdSources): Threshold | null {
  const { names, stableBand, reference, policy } = sources;
  const measured = measuredThreshold(name, sources);
  if (measured === null) return null;
  const ratio = policy.thresholds.maxP99RegressionRatio;
  const ofScope = referenceThreshold(reference, name, ratio);
  const learned = ofScope ?? referenceThreshold(reference, WHOLE, ratio);
  if (learned === null || learned.windows <= measured.windows) return measured;
  const coversScope = name !== WHOLE || [...stableBand.byAz.keys()].every((az) => names.includes(az));
  return (ofScope !== null && coversScope) || learned.limitMs > measured.limitMs ? learned : measured;
}

/**
 * The threshold measured in this run: from stable in the AZs with canary traffic; for the whole canary, from stable in all AZs if
 * those have no stable traffic. An AZ is not compared with others, which may simply be slower.
 */
function measuredThreshold(name: string, { names, stableBand, windows, policy }: ThresholdSources): Threshold | null {
  const ratio = policy.thresholds.maxP99RegressionRatio;
  if (name !== WHOLE) return thresholdOf(stableBand, [name], ratio, windows);
  const near = names.filter((az) => az !== WHOLE);
  return thresholdOf(stableBand, near, ratio, windows) ?? thresholdOf(stableBand, stableBand.byAz.keys(), ratio, windows);
}
