/** Applies one closed window to the judge's state of a run. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { Band, Tail } from "./latency.ts";
import { coarser, commonScale, EVERYTHING, firstAbove } from "./latency.ts";
import type { LiteralCounts } from "./literal.ts";
import { figuresOf, literalRule } from "./literal.ts";
import type { JudgedRun } from "./outcome.ts";
import { referenceLimitsMs, referenceThreshold } from "./reference.ts";
import { ceilingOf, MAX_AZ_VIEWS, WHOLE } from "./rule.ts";
import type { State } from "./run-memory.ts";
import { START } from "./run-memory.ts";
import type { CountedAz, Measured } from "./scope-measurement.ts";
import { countAz, measure } from "./scope-measurement.ts";
import type { StableBand, Threshold } from "./stable-band.ts";
import { continued, covers, keepStableBand, stableBandOf, thresholdOf } from "./stable-band.ts";
import type { View } from "./traffic-scope.ts";
import { byMetric, extendView, NEW_VIEW } from "./traffic-scope.ts";
import type { WindowTally } from "./window-tally.ts";
import { tallyWindow } from "./window-tally.ts";

export interface Absorbed {
  readonly tally: WindowTally;
  readonly counted: readonly CountedAz[];
  /** Every view of the run, up to and including this window. */
  readonly views: State["views"];
  /** The same views in this window alone. */
  readonly measured: ReadonlyMap<string, Measured>;
  /** Stable's latencies over all given windows. */
  readonly baseline: StableBand;
}

/** @param windows oldest first, at most 12; the last one is new, the earlier ones are in `before` */
export function absorb(before: State, windows: readonly ClosedWindow[], policy: Policy, reference: Reference | null): Absorbed {
  const { tally, counted, baseline } = takeIn(before, windows, policy, reference);
  const views: Record<string, View> = {};
  const measured = new Map<string, Measured>();
  const ceilings = byMetric((metric) => ceilingOf(metric, policy));
  const names = viewNames(before, tally);
  for (const name of names) {
    const azs = counted.filter(({ az }) => name === WHOLE || az.az === name);
    const own = ownThreshold(name, names, baseline, windows.length, policy);
    const threshold = own === null ? null : earlyThreshold(own, name, names, baseline, reference, policy);
    const window = measure(azs, counted, threshold, policy);
    measured.set(name, window);
    views[name] = extendView(before.views[name] ?? NEW_VIEW, window, ceilings);
  }
  return { tally, counted, views, measured, baseline };
}

/**
 * Tallies the last window and adds it to the baseline: to the kept one if it still applies, otherwise all windows are merged
 * again.
 */
function takeIn(
  { baseline: kept }: State,
  windows: readonly ClosedWindow[],
  policy: Policy,
  reference: Reference | null,
): Pick<Absorbed, "tally" | "counted" | "baseline"> {
  const last = windows.at(-1)!;
  const tally = tallyWindow(last, policy.traffic, "canary");
  const scale = commonScale(tally.azs.flatMap(({ judged, compared }) => [...judged.latency, ...compared.latency]));
  // A window at another scale is tallied at its own, independent of what was kept.
  if (kept !== null && covers(kept, windows) && scale === kept.scale) {
    const band = askedOf(kept, policy, reference);
    const counted = tally.azs.map((az) => countAz(az, band, policy));
    const stable = counted.filter(({ az }) => az.compared.timed > 0);
    const added = stable.map(({ az, slow }): [string, Tail] => [az.az, slow.compared]);
    const baseline = continued(kept, last.window.index, added, policy.thresholds.maxP99RegressionRatio);
    if (baseline !== null) return { tally, counted, baseline };
  }
  const everything = coarser(EVERYTHING, scale);
  return {
    tally,
    counted: tally.azs.map((az) => countAz(az, everything, policy)),
    baseline: stableBandOf(windows, policy.traffic),
  };
}

/** The bounds that a window with such a baseline is read at: its p99s, their thresholds, and the fixed limits. */
function askedOf({ scale, low, high }: Band, { thresholds }: Policy, reference: Reference | null): Band {
  const limitsMs = [thresholds.maxP99Ms, ...referenceLimitsMs(reference)];
  const limits = limitsMs.map((limitMs) => firstAbove(limitMs, scale));
  return { scale, low: Math.min(low, ...limits), high: Math.max(high, ...limits) };
}

/** The state of a run to keep after a window. */
export function stateAfter({ views, baseline }: Absorbed, literal: LiteralCounts, { thresholds }: Policy): State {
  return { ...START, views, baseline: keepStableBand(baseline, thresholds.maxP99RegressionRatio), literal };
}

/** The state of a run whose memory was lost, rebuilt from the windows before the last one. */
export function relearned(
  windows: readonly ClosedWindow[],
  policy: Policy,
  { judged, reference }: Pick<JudgedRun, "judged" | "reference">,
): State {
  let state = START;
  const known = windows.slice(0, -1);
  for (let k = Math.max(0, known.length - judged); k < known.length; k++) {
    const upTo = windows.slice(0, k + 1);
    const now = absorb(state, upTo, policy, reference);
    const complete = upTo.at(-1)!.complete && now.tally.unreadable === null;
    const literal = literalRule(figuresOf(now.counted), complete, state.literal, policy).counts;
    state = stateAfter(now, literal, policy);
  }
  return state;
}

/** The whole canary first, then every AZ with canary traffic in this run, by name. */
function viewNames(before: State, tally: WindowTally): string[] {
  const names = new Set([WHOLE, ...Object.keys(before.views)]);
  for (const { az, judged } of tally.azs) if (judged.requests > 0 && names.size <= MAX_AZ_VIEWS + 1) names.add(az);
  return [...names].sort();
}

/**
 * The regression threshold of a view: from stable in the AZs with canary traffic; for the whole canary, from stable in all AZs if
 * those have no stable traffic. An AZ is not compared with others, which may simply be slower.
 */
function ownThreshold(
  name: string,
  names: readonly string[],
  baseline: StableBand,
  windows: number,
  { thresholds }: Policy,
): Threshold | null {
  const ratio = thresholds.maxP99RegressionRatio;
  if (name !== WHOLE) return thresholdOf(baseline, [name], ratio, windows);
  const near = names.filter((az) => az !== WHOLE);
  return thresholdOf(baseline, near, ratio, windows) ?? thresholdOf(baseline, baseline.byAz.keys(), ratio, windows);
}

/**
 * While the run has fewer windows than the reference, stable before the run is the better baseline: a p99 of one or two windows
 * is noisy, and a threshold that is too low blames a healthy canary. If the reference covers other AZs than the view, the slower
 * of the two is used.
 */
function earlyThreshold(
  own: Threshold,
  name: string,
  names: readonly string[],
  baseline: StableBand,
  reference: Reference | null,
  { thresholds }: Policy,
): Threshold {
  const ratio = thresholds.maxP99RegressionRatio;
  const ofView = referenceThreshold(reference, name, ratio);
  const known = ofView ?? referenceThreshold(reference, WHOLE, ratio);
  if (known === null || known.windows <= own.windows) return own;
  const everywhere = name !== WHOLE || [...baseline.byAz.keys()].every((az) => names.includes(az));
  return (ofView !== null && everywhere) || known.limitMs > own.limitMs ? known : own;
}
