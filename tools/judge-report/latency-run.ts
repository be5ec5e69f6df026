/**
 * The p99 regression of a simulated run: histograms of canary and stable, judged by the judge's own code at the level of counts.
 */
import { defaultPolicy, SLOTS } from "@aviary/shared/contract/policy.ts";
import { DEFAULT_SCALE } from "@aviary/shared/histogram.ts";
import type { Random } from "../../libs/shared/src/testing/random.ts";
import { badWindows } from "../../services/evaluator/src/core/judge/bad-windows.ts";
import type { Counts } from "../../services/evaluator/src/core/judge/counts.ts";
import { NOTHING } from "../../services/evaluator/src/core/judge/counts.ts";
import type { QuantileCounts } from "../../services/evaluator/src/core/judge/drift.ts";
import { hasDrifted } from "../../services/evaluator/src/core/judge/drift.ts";
import type { LatencyTail } from "../../services/evaluator/src/core/judge/latency.ts";
import {
  aboveIn,
  bucketMs,
  firstAbove,
  p99Index,
  quantileIndex,
  rankIndex,
} from "../../services/evaluator/src/core/judge/latency.ts";
import type { LiteralCounts } from "../../services/evaluator/src/core/judge/literal.ts";
import { literalRule, NO_COUNTS } from "../../services/evaluator/src/core/judge/literal.ts";
import type { Noise } from "../../services/evaluator/src/core/judge/noise.ts";
import { learnNoise } from "../../services/evaluator/src/core/judge/noise.ts";
import { lowerBoundRank } from "../../services/evaluator/src/core/judge/quantile-bound.ts";
import type { TailName, Threshold } from "../../services/evaluator/src/core/judge/regression-limits.ts";
import { healthyShare, marginOf, TAIL_NAMES, TAILS } from "../../services/evaluator/src/core/judge/regression-limits.ts";
import { ceilingOf, MAX_RANGE_WINDOWS, SLOW_SHARE } from "../../services/evaluator/src/core/judge/rule.ts";
import type { StableBand } from "../../services/evaluator/src/core/judge/stable-band.ts";
import { quantileCounts, thresholdOf } from "../../services/evaluator/src/core/judge/stable-band.ts";
import { relativeVariance } from "../../services/evaluator/src/core/judge/two-key.ts";
import type { MetricFinding } from "../../services/evaluator/src/core/judge/window-ranges.ts";
import { gamma } from "./distributions.ts";
import type { JudgedWindows, JudgeName } from "./judged-windows.ts";
import type { Law, Slowdown } from "./latency-laws.ts";
import { drawSlow, tableOf } from "./latency-laws.ts";
import type { Kind, ScopeRun } from "./two-key.ts";
import { scopeRun } from "./two-key.ts";

export interface LatencyCell {
  readonly kind: "latency";
  readonly scenario: LatencyScenario;
}

export interface LatencyScenario {
  readonly law: Law;
  /** Requests per window on the canary, and stable's multiple of it. */
  readonly requests: number;
  readonly times: number;
  readonly windows?: number;
  /** The share of slow requests varies between windows with this intra-class correlation (rho), on both slices. */
  readonly overdispersion?: number;
  /** The canary's fault. */
  readonly canary?: Slowdown;
  /** The number of consecutive windows in which both slices are slower. */
  readonly incident?: Slowdown & { readonly windows: number };
  /** Windows of stable before the run. */
  readonly reference: number;
  /** One window before the run, at a random position, is this many times slower. */
  readonly spell?: number;
  /** Both slices are this many times slower in the run than before it. */
  readonly drift?: number;
  /** The canary's gateways are this many times slower than stable's by themselves, before the run and in it. */
  readonly unequal?: number;
}

/** One window of histograms: requests in buckets from the cut on; the remainder is below. */
export interface LatencyWindow {
  readonly canary: SlowCounts;
  readonly stable: SlowCounts;
}

export interface SlowCounts {
  readonly requests: number;
  readonly cut: number;
  readonly counts: number[];
}

const HOUR = 12;
const POLICY = defaultPolicy();
const MARGIN = marginOf(POLICY);
/** Share of requests above the threshold to which the overdispersion applies. */
const TYPICAL = 0.005;

export interface SimulatedLatencies {
  readonly reference: readonly SlowCounts[];
  /** The canary's gateways before the run; empty unless they are unequal. */
  readonly canaryHistory: readonly SlowCounts[];
  next(): LatencyWindow;
}

export function simulateLatencies(scenario: LatencyScenario, random: Random): SimulatedLatencies {
  const { law, requests, times, overdispersion = 0, canary, incident, drift = 1, unequal = 1, windows = HOUR } = scenario;
  const healthy = tableOf(law);
  const spread = overdispersion / TYPICAL;
  const slice = (count: number, table: typeof healthy): SlowCounts => {
    const more = spread > 0 ? gamma(random, 1 / spread) * spread : 1;
    return { requests: count, cut: table.cut, counts: drawSlow(random, table, count, more) };
  };
  const spellAt = scenario.spell === undefined ? -1 : Math.floor(random() * scenario.reference);
  const reference = Array.from({ length: scenario.reference }, (_, k) =>
    slice(times * requests, k === spellAt ? tableOf(law, { factor: scenario.spell!, share: 1 }) : healthy),
  );
  const slowedBy = (factor: number, slowdown?: Slowdown): Slowdown | undefined =>
    factor === 1 ? slowdown : { factor: factor * (slowdown?.factor ?? 1), share: 1 };
  const canaryHistory =
    unequal === 1
      ? []
      : Array.from({ length: scenario.reference }, () => slice(requests, tableOf(law, { factor: unequal, share: 1 })));
  const incidentAt = incident === undefined ? windows : Math.floor(random() * (windows - incident.windows + 1));
  let t = 0;
  return {
    reference,
    canaryHistory,
    next() {
      const shared = incident !== undefined && t >= incidentAt && t < incidentAt + incident.windows;
      t++;
      return {
        canary: slice(requests, tableOf(law, slowedBy(drift * unequal, shared ? incident : canary))),
        stable: slice(times * requests, tableOf(law, slowedBy(drift, shared ? incident : undefined))),
      };
    },
  };
}

/** The sub-windows of the `slow` requests from bucket `from` on. */
export type SlotsOf = (window: SlowCounts, from: number, slow: number) => readonly number[];

/** The results of the rules for one window. */
export interface RegressionRun {
  judge(window: LatencyWindow): { readonly kind: Kind; readonly pValue: number | null; readonly literalFails: boolean };
}

/** The reference of one tail. */
interface Before {
  readonly threshold: Threshold;
  readonly quantileMs: number;
  readonly counts: QuantileCounts;
}

/** One tail of the run: its noise and its threshold before the run, and how much slower the canary's gateways are. */
interface TailRun {
  readonly tail: TailName;
  readonly noise: Noise;
  readonly before: Before | null;
  readonly sliceRatio: number;
  readonly scope: ScopeRun;
}

/** @param canaryHistory the canary's gateways before the run, on stable's release */
export function regressionRun(
  history: readonly SlowCounts[],
  slotsOf: SlotsOf,
  canaryHistory: readonly SlowCounts[] = [],
): RegressionRun {
  const reference = withoutSpells(history, slotsOf);
  const tails = TAIL_NAMES.map((tail): TailRun => {
    const ceiling = ceilingOf(tail, POLICY);
    const noise = referenceNoise(reference, tail, slotsOf);
    const before = beforeRun(reference, tail);
    const sliceRatio = sliceRatioFrom(reference, canaryHistory, tail);
    return { tail, noise, before, sliceRatio, scope: scopeRun(tail, ceiling, noise) };
  });
  const [slow, body] = tails as [TailRun, TailRun];
  const last: SlowCounts[] = [];
  let literal: LiteralCounts = NO_COUNTS;
  return {
    judge(window) {
      last.push(window.stable);
      if (last.length > MAX_RANGE_WINDOWS) last.shift();
      const { recent } = slow.scope.series;
      const baseline = last.filter((_, k) => recent.at(k + 1 - last.length)?.leftOut !== true || k === last.length - 1);
      const [own, second] = tails.map((tail) => measureTail(tail, window, baseline, slotsOf)) as [MeasuredTail, MeasuredTail];
      const finding = slow.scope.judge(own.counts, own.variance);
      const gate = { series: slow.scope.series, ceiling: SLOW_SHARE };
      const bodyFinding = body.scope.judge(second.counts, second.variance, gate);
      const decided = bodyFails(bodyFinding, finding) ? bodyFinding : finding;
      if (decided.kind !== "fail") {
        slow.scope.leaveOut(finding);
        body.scope.leaveOutLike(slow.scope);
      }
      const figures = { canary: figuresOf(window.canary), stable: figuresOf(window.stable) };
      const { counts: over, outcomes } = literalRule(figures, true, literal, POLICY);
      literal = over;
      return { kind: decided.kind, pValue: decided.pValue, literalFails: outcomes.regression === "fail" };
    },
  };
}

function bodyFails(body: MetricFinding, own: MetricFinding): boolean {
  if (body.kind !== "fail") return false;
  return own.kind !== "fail" || own.decided!.pValue > body.decided!.pValue;
}

interface MeasuredTail {
  readonly counts: Counts;
  readonly variance: number;
}

/** @param last stable's windows of the run that are summed, the newest last */
function measureTail(
  { tail, noise, before, sliceRatio }: TailRun,
  { canary, stable }: LatencyWindow,
  last: readonly SlowCounts[],
  slotsOf: SlotsOf,
): MeasuredTail {
  const own = thresholdFrom(last, tail);
  const usesOwn = before === null || before.threshold.windows <= own.windows || driftedFrom(before, last, noise);
  const threshold = usesOwn ? own : before.threshold;
  const from = firstAbove(sliceRatio * threshold.limitMs, DEFAULT_SCALE);
  const x = above(canary, from);
  const e = (canary.requests / stable.requests) * above(stable, firstAbove(threshold.stableLimitMs, DEFAULT_SCALE));
  const counts: Counts = {
    ...slotted(canary.requests, slotsOf(canary, from, x)),
    healthyBad: healthyShare(tail, threshold) * canary.requests,
    stableBad: e,
    stableVariance: (canary.requests / stable.requests) * e,
    comparedBad: x,
    comparedRequests: canary.requests,
    stableRequests: stable.requests,
  };
  return { counts, variance: relativeVariance(threshold, noise) };
}

function driftedFrom(before: Before, last: readonly SlowCounts[], noise: Noise): boolean {
  const own = quantileCounts(bandOf(last), [""], before.quantileMs);
  return hasDrifted(own, before.counts, noise, Math.max(1, before.threshold.above) / before.threshold.timed);
}

function beforeRun(reference: readonly SlowCounts[], tail: TailName): Before | null {
  if (reference.length === 0) return null;
  const newest = reference.slice(-MAX_RANGE_WINDOWS);
  const band = bandOf(newest);
  const quantileMs = bucketMs(quantileIndex([...band.byAz.values()], TAILS[tail].quantile)!, DEFAULT_SCALE);
  return { threshold: thresholdFrom(newest, tail), quantileMs, counts: quantileCounts(band, [""], quantileMs) };
}

export function latencyRun({ scenario }: LatencyCell, random: Random): JudgedWindows {
  const { reference, canaryHistory, next } = simulateLatencies(scenario, random);
  const slotsOf: SlotsOf = ({ requests }, _from, slow) => spread(random, slow, requests);
  const run = regressionRun(reference, slotsOf, canaryHistory);
  const result = { suspicious: false, promote: false, pass: false };
  const waiting = new Set<JudgeName>(["two-key", "literal"]);
  return {
    result,
    judges: waiting.size,
    next() {
      const { kind, literalFails } = run.judge(next());
      result.suspicious = kind === "suspicious";
      const fails: JudgeName[] = [];
      if (kind === "fail" && waiting.delete("two-key")) fails.push("two-key");
      if (literalFails && waiting.delete("literal")) fails.push("literal");
      return fails;
    },
  };
}

/** The windows before the run without slow spells, as the judge's own reference leaves them out. */
function withoutSpells(reference: readonly SlowCounts[], slotsOf: SlotsOf): readonly SlowCounts[] {
  if (reference.length === 0) return reference;
  const limits = reference.map((window) => thresholdFrom([window], "regression").limitMs).sort((p, q) => p - q);
  const spells = badWindows(countsAgainst(reference, limits[(limits.length - 1) >> 1]!, slotsOf), SLOW_SHARE);
  return reference.filter((_, k) => !spells.has(k));
}

/** Learned against the threshold of the newest 12 windows, as before a run. */
function referenceNoise(reference: readonly SlowCounts[], tail: TailName, slotsOf: SlotsOf): Noise {
  const ceiling = ceilingOf(tail, POLICY);
  if (reference.length === 0) return learnNoise([], ceiling);
  const { limitMs } = thresholdFrom(reference.slice(-MAX_RANGE_WINDOWS), tail);
  return learnNoise(countsAgainst(reference, limitMs, slotsOf), ceiling);
}

function countsAgainst(windows: readonly SlowCounts[], limitMs: number, slotsOf: SlotsOf): Counts[] {
  const from = firstAbove(limitMs, DEFAULT_SCALE);
  return windows.map((window) => ({ ...NOTHING, ...slotted(window.requests, slotsOf(window, from, above(window, from))) }));
}

/** As `sliceRatioOf`, from counts. */
function sliceRatioFrom(stable: readonly SlowCounts[], canary: readonly SlowCounts[], tail: TailName): number {
  if (canary.length === 0 || stable.length === 0) return 1;
  const { quantile } = TAILS[tail];
  const [canaryTail, stableTail] = [tailOf(summed(canary)), tailOf(summed(stable))];
  const rank = lowerBoundRank(canaryTail.total, quantile);
  if (rank === null) return 1;
  const boundMs = bucketMs(rankIndex([canaryTail], rank), DEFAULT_SCALE);
  return Math.max(1, boundMs / bucketMs(quantileIndex([stableTail], quantile)!, DEFAULT_SCALE));
}

function thresholdFrom(windows: readonly SlowCounts[], tail: TailName): Threshold {
  return thresholdOf(bandOf(windows), [""], tail, MARGIN)!;
}

function bandOf(windows: readonly SlowCounts[]): StableBand {
  const sum = tailOf(summed(windows));
  const { scale, low, high } = sum;
  return { scale, low, high, byAz: new Map([["", sum]]), windows: [], summed: windows.length };
}

function summed(windows: readonly SlowCounts[]): SlowCounts {
  const { cut } = windows[0]!;
  const counts = new Array<number>(Math.max(...windows.map((window) => window.counts.length))).fill(0);
  let requests = 0;
  for (const window of windows) {
    requests += window.requests;
    for (let k = 0; k < window.counts.length; k++) counts[k]! += window.counts[k]!;
  }
  return { requests, cut, counts };
}

function tailOf({ requests: n, cut, counts }: SlowCounts): LatencyTail {
  const above = [...counts];
  for (let k = above.length - 2; k >= 0; k--) above[k]! += above[k + 1]!;
  return { scale: DEFAULT_SCALE, low: cut, high: cut + counts.length, total: n, above };
}

function above(window: SlowCounts, from: number): number {
  return aboveIn(tailOf(window), from);
}

function figuresOf(window: SlowCounts) {
  return { requests: window.requests, errors: 0, p99Ms: bucketMs(p99Index([tailOf(window)])!, DEFAULT_SCALE) };
}

/** The sub-windows of `x` of `n` evenly distributed requests. */
function spread(random: Random, x: number, n: number): number[] {
  const slots = new Array<number>(SLOTS).fill(0);
  const room = n / SLOTS;
  for (let left = x; left > 0; ) {
    const slot = Math.floor(random() * SLOTS);
    if (slots[slot]! >= room || random() * room < slots[slot]!) continue;
    slots[slot]!++;
    left--;
  }
  return slots;
}

function slotted(n: number, slots: readonly number[]): Pick<Counts, "requests" | "bad" | "badSquares" | "requestSquares"> {
  let [x, s2] = [0, 0];
  for (const slot of slots) {
    x += slot;
    s2 += slot * slot;
  }
  return { requests: n, bad: x, badSquares: s2, requestSquares: (n * n) / SLOTS };
}
