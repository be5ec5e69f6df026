/**
 * The two-key rule at the level of counts: the judge's own code (`learnNoise`, `withWindow`, `testRanges`, `evidenceOf`), without
 * closed windows, histograms and sentences. A test asserts that it agrees with `judge`.
 */
import { badWindows } from "../../services/evaluator/src/core/judge/bad-windows.ts";
import type { Counts } from "../../services/evaluator/src/core/judge/counts.ts";
import { EMPTY, NOTHING } from "../../services/evaluator/src/core/judge/counts.ts";
import { markLike, markShared } from "../../services/evaluator/src/core/judge/left-out-windows.ts";
import type { Noise } from "../../services/evaluator/src/core/judge/noise.ts";
import { defaultNoise, learnNoise } from "../../services/evaluator/src/core/judge/noise.ts";
import type { SeriesName } from "../../services/evaluator/src/core/judge/rule.ts";
import { HEALTHY_SHARE } from "../../services/evaluator/src/core/judge/rule.ts";
import { CURRENT_RULE } from "../../services/evaluator/src/core/judge/rule-version.ts";
import { extendSeries } from "../../services/evaluator/src/core/judge/traffic-scope.ts";
import type {
  Evidence,
  Gate,
  MetricFinding,
  MetricRule,
  MetricSeries,
} from "../../services/evaluator/src/core/judge/window-ranges.ts";
import { evidenceOf, testRanges } from "../../services/evaluator/src/core/judge/window-ranges.ts";
import type { Knowledge } from "./scenario.ts";
import type { AzCounts, SimulatedWindow, SliceCounts } from "./traffic.ts";

/** One series of one scope of a run: of the whole canary, or of one of its AZs. */
export interface ScopeRun {
  /**
   * Applies the next window and judges it.
   * @param meanVariance for a regression, that of stable's share; otherwise 0
   * @param gate another series that must reach its ceiling too
   */
  judge(counts: Counts, meanVariance?: number, gate?: Gate): MetricFinding;
  /** Leaves out the windows that stable accounts for, as the judge does after every window that does not fail. */
  leaveOut(finding: MetricFinding): void;
  /** Leaves out the windows that another series left out. */
  leaveOutLike(other: ScopeRun): void;
  evidence(): Evidence;
  readonly series: MetricSeries;
}

/** @param share 1, or one over the number of AZs in the scope of one AZ */
export function scopeRun(metric: SeriesName, ceiling: number, noise: Noise, evidenceFactor = 1, share = 1): ScopeRun {
  let series: MetricSeries = { recent: [], older: EMPTY, run: EMPTY };
  let windowNumber = 0;
  const rule: { -readonly [key in keyof MetricRule]: MetricRule[key] } = {
    version: CURRENT_RULE,
    metric,
    ceiling,
    levelFactor: evidenceFactor * share,
    suspicionFactor: share,
    noise,
    meanVariance: 0,
  };
  return {
    judge(counts, meanVariance = 0, gate) {
      series = extendSeries(series, counts, ceiling);
      rule.meanVariance = meanVariance;
      windowNumber++;
      return testRanges(series, windowNumber, rule, gate);
    },
    leaveOut({ kind, explained }) {
      if (kind !== "fail") series = { ...series, recent: markShared(series.recent, explained, rule) };
    },
    leaveOutLike({ series: { recent } }) {
      series = { ...series, recent: markLike(series.recent, recent) };
    },
    evidence: () => evidenceOf(series, rule),
    get series() {
      return series;
    },
  };
}

export type Kind = MetricFinding["kind"];

/** The rule's result for one window: of the whole canary, and the worst of its AZs. */
export interface RuleResult {
  readonly kind: Kind;
  readonly pValue: number | null;
}

const RANK: Readonly<Record<Kind, number>> = { fail: 3, environment: 2, suspicious: 1, clear: 0 };

/** The 5xx rate of a whole run. */
export interface ErrorRun {
  judge(window: SimulatedWindow): RuleResult;
  evidence(): Evidence;
}

/** The noise of the whole slice, and of each of its AZs; of none if there is only one. */
export interface ScopeNoise {
  readonly whole: Noise;
  readonly azs: readonly Noise[];
}

export function errorRun(ceiling: number, noise: ScopeNoise, evidenceFactor = 1): ErrorRun {
  const whole = scopeRun("errors", ceiling, noise.whole, evidenceFactor);
  const apart = noise.azs.map((own) => scopeRun("errors", ceiling, own, evidenceFactor, 1 / noise.azs.length));
  return {
    judge(window) {
      const findings = [
        judgeAndLeaveOut(whole, errorCounts(window, ceiling)),
        ...apart.map((scope, k) => judgeAndLeaveOut(scope, errorCounts([window[k]!], ceiling))),
      ];
      const { kind } = findings.reduce((p, q) => (RANK[q.kind] > RANK[p.kind] ? q : p));
      const pValues = findings.flatMap(({ pValue }) => pValue ?? []);
      return { kind, pValue: pValues.length > 0 ? Math.min(...pValues) : null };
    },
    evidence: () => whole.evidence(),
  };
}

function judgeAndLeaveOut(scope: ScopeRun, counts: Counts): MetricFinding {
  const finding = scope.judge(counts);
  scope.leaveOut(finding);
  return finding;
}

/** The counts of these AZs, each compared with the stable slice of the same AZ. */
export function errorCounts(azs: readonly AzCounts[], ceiling: number): Counts {
  let [requests, bad, badSquares, requestSquares] = [0, 0, 0, 0];
  const [{ canary: first }] = azs as readonly [AzCounts];
  for (let k = 0; k < first.requests.length; k++) {
    let slotRequests = 0;
    let slotBad = 0;
    for (const { canary } of azs) {
      slotRequests += canary.requests[k]!;
      slotBad += canary.failures[k]!;
    }
    requests += slotRequests;
    bad += slotBad;
    badSquares += slotBad * slotBad;
    requestSquares += slotRequests * slotRequests;
  }
  if (requests === 0) return NOTHING;
  const healthyBad = HEALTHY_SHARE * ceiling * requests;
  return { requests, bad, badSquares, requestSquares, healthyBad, ...comparedWithStable(azs) };
}

function comparedWithStable(
  azs: readonly AzCounts[],
): Pick<Counts, "stableBad" | "stableVariance" | "comparedBad" | "comparedRequests" | "stableRequests"> {
  const compared = { stableBad: 0, stableVariance: 0, comparedBad: 0, comparedRequests: 0, stableRequests: 0 };
  for (const { canary, stable } of azs) {
    const stableRequests = sum(stable.requests);
    const requests = sum(canary.requests);
    if (stableRequests === 0 || requests === 0) continue;
    const share = requests / stableRequests;
    const stableFailures = sum(stable.failures);
    compared.stableBad += share * stableFailures;
    compared.stableVariance += share * share * stableFailures;
    compared.comparedBad += sum(canary.failures);
    compared.comparedRequests += requests;
    compared.stableRequests += stableRequests;
  }
  return compared;
}

/** What the judge learns before a run. @param azs the number of AZs in the run */
export function noiseOf(
  knowledge: Knowledge,
  reference: readonly (readonly SliceCounts[])[],
  ceiling: number,
  azs: number,
): ScopeNoise {
  const learned = (slices: readonly SliceCounts[]): Noise => {
    if (knowledge === "nothing") return defaultNoise(ceiling);
    return "burstFactor" in knowledge ? knowledge : learnedNoise(slices, ceiling);
  };
  const apart = (k: number) => learned(reference.map((slices) => slices[k]!));
  return { whole: learned(reference.map(merged)), azs: azs > 1 ? Array.from({ length: azs }, (_, k) => apart(k)) : [] };
}

function merged(slices: readonly SliceCounts[]): SliceCounts {
  const [first] = slices as readonly [SliceCounts];
  const total = (key: "requests" | "failures") =>
    first[key].map((_, k) => slices.reduce((all, slice) => all + slice[key][k]!, 0));
  return { requests: total("requests"), failures: total("failures") };
}

function learnedNoise(reference: readonly SliceCounts[], ceiling: number): Noise {
  const windows = reference.map(({ requests: n, failures: x }) => ({
    ...NOTHING,
    requests: sum(n),
    bad: sum(x),
    badSquares: squares(x),
    requestSquares: squares(n),
  }));
  const bad = badWindows(windows, ceiling);
  return learnNoise(
    windows.filter((_, k) => !bad.has(k)),
    ceiling,
  );
}

export function sum(values: readonly number[]): number {
  let total = 0;
  for (let k = 0; k < values.length; k++) total += values[k]!;
  return total;
}

function squares(values: readonly number[]): number {
  let total = 0;
  for (let k = 0; k < values.length; k++) total += values[k]! * values[k]!;
  return total;
}
