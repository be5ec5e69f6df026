/**
 * The two-key rule at the level of counts: the judge's own code (`learnNoise`, `withWindow`, `testRanges`, `evidenceOf`), without
 * closed windows, histograms and sentences. A test asserts that it agrees with `judge`.
 */
import { badWindows } from "../../services/evaluator/src/core/judge/bad-windows.ts";
import type { Counts } from "../../services/evaluator/src/core/judge/counts.ts";
import { EMPTY, NOTHING } from "../../services/evaluator/src/core/judge/counts.ts";
import { markShared } from "../../services/evaluator/src/core/judge/left-out-windows.ts";
import type { Noise } from "../../services/evaluator/src/core/judge/noise.ts";
import { defaultNoise, learnNoise } from "../../services/evaluator/src/core/judge/noise.ts";
import type { Metric } from "../../services/evaluator/src/core/judge/rule.ts";
import { HEALTHY_SHARE } from "../../services/evaluator/src/core/judge/rule.ts";
import { CURRENT_RULE } from "../../services/evaluator/src/core/judge/rule-version.ts";
import type { KeptSeries } from "../../services/evaluator/src/core/judge/traffic-scope.ts";
import { extendSeries } from "../../services/evaluator/src/core/judge/traffic-scope.ts";
import type { Evidence, MetricFinding, MetricRule, MetricSeries } from "../../services/evaluator/src/core/judge/window-ranges.ts";
import { evidenceOf, testRanges } from "../../services/evaluator/src/core/judge/window-ranges.ts";
import type { Knowledge } from "./scenario.ts";
import type { AzCounts, SimulatedWindow, SliceCounts } from "./traffic.ts";

/** One scope of a run: the whole canary, or one of its AZs. */
export interface ScopeRun {
  /** Applies the next window and judges it. @param meanVariance for a regression, that of stable's share; otherwise 0 */
  judge(counts: Counts, meanVariance?: number): MetricFinding;
  evidence(): Evidence;
}

/** @param share 1, or one over the number of AZs in the scope of one AZ */
export function scopeRun(metric: Metric, ceiling: number, noise: Noise, evidenceFactor = 1, share = 1): ScopeRun {
  let kept: KeptSeries = { recent: [], older: EMPTY };
  let series: MetricSeries = { ...kept, run: EMPTY };
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
    judge(counts, meanVariance = 0) {
      series = extendSeries(kept, counts, ceiling);
      rule.meanVariance = meanVariance;
      windowNumber++;
      const finding = testRanges(series, windowNumber, rule);
      kept = finding.kind === "fail" ? series : { ...series, recent: markShared(series.recent, finding.explained, rule) };
      return finding;
    },
    evidence: () => evidenceOf(series, rule),
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

export function errorRun(ceiling: number, noise: Noise, azs: number, evidenceFactor = 1): ErrorRun {
  const whole = scopeRun("errors", ceiling, noise, evidenceFactor);
  const apart = azs > 1 ? Array.from({ length: azs }, () => scopeRun("errors", ceiling, noise, evidenceFactor, 1 / azs)) : [];
  return {
    judge(window) {
      const findings = [
        whole.judge(errorCounts(window, ceiling)),
        ...apart.map((scope, k) => scope.judge(errorCounts([window[k]!], ceiling))),
      ];
      const { kind } = findings.reduce((p, q) => (RANK[q.kind] > RANK[p.kind] ? q : p));
      const pValues = findings.flatMap(({ pValue }) => pValue ?? []);
      return { kind, pValue: pValues.length > 0 ? Math.min(...pValues) : null };
    },
    evidence: () => whole.evidence(),
  };
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

/** What the judge learns before a run. */
export function noiseOf(knowledge: Knowledge, reference: readonly SliceCounts[], ceiling: number): Noise {
  if (knowledge === "nothing") return defaultNoise(ceiling);
  if ("burstFactor" in knowledge) return knowledge;
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
