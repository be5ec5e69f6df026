/**
 * The p99 regression of a simulated run: histograms of canary and stable, judged by the judge's own code at the level of counts.
 */
import { defaultPolicy, SLOTS } from "@aviary/shared/contract/policy.ts";
import { DEFAULT_SCALE } from "@aviary/shared/histogram.ts";
import type { Random } from "../../libs/shared/src/testing/random.ts";
import { badWindows } from "../../services/evaluator/src/core/judge/bad-windows.ts";
import type { Counts } from "../../services/evaluator/src/core/judge/counts.ts";
import { NOTHING } from "../../services/evaluator/src/core/judge/counts.ts";
import type { LatencyTail } from "../../services/evaluator/src/core/judge/latency.ts";
import { aboveIn, bucketMs, firstAbove, p99Index } from "../../services/evaluator/src/core/judge/latency.ts";
import type { LiteralCounts } from "../../services/evaluator/src/core/judge/literal.ts";
import { literalRule, NO_COUNTS } from "../../services/evaluator/src/core/judge/literal.ts";
import type { Noise } from "../../services/evaluator/src/core/judge/noise.ts";
import { learnNoise } from "../../services/evaluator/src/core/judge/noise.ts";
import { MAX_RANGE_WINDOWS, SLOW_FLOOR, SLOW_SHARE } from "../../services/evaluator/src/core/judge/rule.ts";
import type { Threshold } from "../../services/evaluator/src/core/judge/stable-band.ts";
import { thresholdOf } from "../../services/evaluator/src/core/judge/stable-band.ts";
import { relativeVariance } from "../../services/evaluator/src/core/judge/two-key.ts";
import { gamma } from "./distributions.ts";
import type { JudgedWindows, JudgeName } from "./judged-windows.ts";
import type { Law, Slowdown } from "./latency-laws.ts";
import { drawSlow, tableOf } from "./latency-laws.ts";
import type { Kind } from "./two-key.ts";
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
const RATIO = POLICY.thresholds.maxP99RegressionRatio;
/** Share of requests above the threshold to which the overdispersion applies. */
const TYPICAL = 0.005;

export interface SimulatedLatencies {
  readonly reference: readonly SlowCounts[];
  next(): LatencyWindow;
}

export function simulateLatencies(scenario: LatencyScenario, random: Random): SimulatedLatencies {
  const { law, requests, times, overdispersion = 0, canary, incident, drift = 1, windows = HOUR } = scenario;
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
  const drifted = (slowdown?: Slowdown): Slowdown | undefined =>
    drift === 1 ? slowdown : { factor: drift * (slowdown?.factor ?? 1), share: 1 };
  const incidentAt = incident === undefined ? windows : Math.floor(random() * (windows - incident.windows + 1));
  let t = 0;
  return {
    reference,
    next() {
      const shared = incident !== undefined && t >= incidentAt && t < incidentAt + incident.windows;
      t++;
      return {
        canary: slice(requests, tableOf(law, drifted(shared ? incident : canary))),
        stable: slice(times * requests, tableOf(law, drifted(shared ? incident : undefined))),
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

export function regressionRun(history: readonly SlowCounts[], slotsOf: SlotsOf): RegressionRun {
  const reference = withoutSpells(history, slotsOf);
  const noise = referenceNoise(reference, slotsOf);
  const scope = scopeRun("regression", SLOW_SHARE, noise);
  const last: SlowCounts[] = [];
  const before = reference.length === 0 ? null : thresholdFrom(reference.slice(-MAX_RANGE_WINDOWS));
  let literal: LiteralCounts = NO_COUNTS;
  return {
    judge({ canary, stable }) {
      last.push(stable);
      if (last.length > MAX_RANGE_WINDOWS) last.shift();
      const own = thresholdFrom(last);
      const threshold = before !== null && before.windows > own.windows ? before : own;
      const from = firstAbove(threshold.limitMs, DEFAULT_SCALE);
      const x = above(canary, from);
      const e = (canary.requests / stable.requests) * above(stable, from);
      const counts: Counts = {
        ...slotted(canary.requests, slotsOf(canary, from, x)),
        healthyBad: Math.max(SLOW_FLOOR, threshold.above / threshold.timed) * canary.requests,
        stableBad: e,
        stableVariance: (canary.requests / stable.requests) * e,
        comparedBad: x,
        comparedRequests: canary.requests,
        stableRequests: stable.requests,
      };
      const { kind, pValue } = scope.judge(counts, relativeVariance(threshold, noise));
      const figures = { canary: figuresOf(canary), stable: figuresOf(stable) };
      const { counts: over, outcomes } = literalRule(figures, true, literal, POLICY);
      literal = over;
      return { kind, pValue, literalFails: outcomes.regression === "fail" };
    },
  };
}

export function latencyRun({ scenario }: LatencyCell, random: Random): JudgedWindows {
  const { reference, next } = simulateLatencies(scenario, random);
  const run = regressionRun(reference, ({ requests }, _from, slow) => spread(random, slow, requests));
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
  const limits = reference.map((window) => thresholdFrom([window]).limitMs).sort((p, q) => p - q);
  const spells = badWindows(countsAgainst(reference, limits[(limits.length - 1) >> 1]!, slotsOf), SLOW_SHARE);
  return reference.filter((_, k) => !spells.has(k));
}

/** Learned against the threshold of the newest 12 windows, as before a run. */
function referenceNoise(reference: readonly SlowCounts[], slotsOf: SlotsOf): Noise {
  if (reference.length === 0) return learnNoise([], SLOW_SHARE);
  const { limitMs } = thresholdFrom(reference.slice(-MAX_RANGE_WINDOWS));
  return learnNoise(countsAgainst(reference, limitMs, slotsOf), SLOW_SHARE);
}

function countsAgainst(windows: readonly SlowCounts[], limitMs: number, slotsOf: SlotsOf): Counts[] {
  const from = firstAbove(limitMs, DEFAULT_SCALE);
  return windows.map((window) => ({ ...NOTHING, ...slotted(window.requests, slotsOf(window, from, above(window, from))) }));
}

function thresholdFrom(windows: readonly SlowCounts[]): Threshold {
  const { cut } = windows[0]!;
  const counts = new Array<number>(Math.max(...windows.map((window) => window.counts.length))).fill(0);
  let n = 0;
  for (const window of windows) {
    n += window.requests;
    for (let k = 0; k < window.counts.length; k++) counts[k]! += window.counts[k]!;
  }
  const tail = tailOf({ requests: n, cut, counts });
  const { scale, low, high } = tail;
  return thresholdOf({ scale, low, high, byAz: new Map([["", tail]]), windows: [] }, [""], RATIO, windows.length)!;
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
