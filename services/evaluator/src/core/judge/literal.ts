/**
 * The threshold rule of most runbooks: two consecutive windows over the ceiling fail. Each metric has its own count. A window
 * without information about the canary (no requests, incomplete, or stable over its ceiling too) neither increments nor resets a
 * count.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import type { Outcome } from "@aviary/shared/contract/verdict.ts";
import { fitClauses, grouped, milliseconds, percent, roundedFigure } from "./format.ts";
import type { GradedReason } from "./graded-reasons.ts";
import { bucketMs, p99Index, p99Of } from "./latency.ts";
import { limitMsOf, marginOf } from "./regression-limits.ts";
import type { Metric } from "./rule.ts";
import { compareRate, METRIC_CODE, METRICS } from "./rule.ts";
import type { CountedAz } from "./scope-measurement.ts";

/** Consecutive windows over the limit, by metric. */
export type LiteralCounts = { readonly [metric in Metric]: number };

export const NO_COUNTS: LiteralCounts = { errors: 0, ceiling: 0, regression: 0 };

/** Both slices in one window, all AZs together. */
export interface WindowSliceFigures {
  readonly requests: number;
  readonly errors: number;
  /** Null without latencies. */
  readonly p99Ms: number | null;
}

export interface WindowFigures {
  readonly canary: WindowSliceFigures;
  readonly stable: WindowSliceFigures;
}

export interface LiteralResult {
  readonly counts: LiteralCounts;
  readonly outcomes: Readonly<Record<Metric, Outcome>>;
  readonly reasons: readonly GradedReason[];
}

const WINDOWS_TO_FAIL = 2;

export function windowFiguresOf(azs: readonly CountedAz[]): WindowFigures {
  return { canary: sliceFigures(azs, "judged"), stable: sliceFigures(azs, "compared") };
}

/**
 * @param complete whether the window may count
 * @param skipped metrics that are not judged
 */
export function literalRule(
  figures: WindowFigures,
  complete: boolean,
  before: LiteralCounts,
  policy: Policy,
  skipped: readonly Metric[] = [],
): LiteralResult {
  const counts = { ...before };
  const outcomes: Record<Metric, Outcome> = { errors: "pass", ceiling: "pass", regression: "pass" };
  const reasons: GradedReason[] = [];
  for (const metric of METRICS) {
    if (skipped.includes(metric)) continue;
    const seen = compareWithLimit(metric, figures, policy);
    if (seen === "shared") {
      outcomes[metric] = "hold";
      reasons.push({ outcome: "hold", reason: sharedReason(metric, figures, policy) });
    } else if (seen === "over") {
      if (complete) counts[metric]++;
      const outcome = complete && counts[metric] >= WINDOWS_TO_FAIL ? "fail" : "hold";
      outcomes[metric] = outcome;
      reasons.push({ outcome, reason: overReason(metric, figures, policy, outcome === "fail" ? counts[metric] : 0) });
    } else if (seen === "under" && complete) {
      counts[metric] = 0;
    }
  }
  return { counts, outcomes, reasons };
}

function compareWithLimit(
  metric: Metric,
  { canary, stable }: WindowFigures,
  policy: Policy,
): "over" | "under" | "shared" | "unknown" {
  const { max5xxRate, maxP99Ms } = policy.thresholds;
  if (metric === "errors") {
    if (canary.requests === 0) return "unknown";
    if (compareRate(canary.errors, canary.requests, max5xxRate) <= 0) return "under";
    return stable.requests > 0 && compareRate(stable.errors, stable.requests, max5xxRate) > 0 ? "shared" : "over";
  }
  if (canary.p99Ms === null) return "unknown";
  if (metric === "ceiling") {
    if (canary.p99Ms <= maxP99Ms) return "under";
    return stable.p99Ms !== null && stable.p99Ms > maxP99Ms ? "shared" : "over";
  }
  if (stable.p99Ms === null) return "unknown";
  return canary.p99Ms > limitMsOf(stable.p99Ms, marginOf(policy)) ? "over" : "under";
}

/** @param failed the number of consecutive windows that failed the run; 0 for a hold */
function overReason(metric: Metric, { canary, stable }: WindowFigures, policy: Policy, failed: number): Reason {
  const { max5xxRate, maxP99Ms, maxP99RegressionRatio } = policy.thresholds;
  const rule =
    failed === 0
      ? "; a second consecutive window fails the run"
      : `; ${failed === WINDOWS_TO_FAIL ? "second consecutive window" : `${failed} consecutive windows`} over the limit: the run fails`;
  if (metric === "errors") {
    const rate = canary.errors / canary.requests;
    const facts = `${grouped(canary.errors)} of ${grouped(canary.requests)} requests failed in this window (${percent(rate)}, ceiling ${percent(max5xxRate)})`;
    return {
      code: METRIC_CODE[metric],
      metric: "5xx_rate",
      value: roundedFigure(rate),
      limit: max5xxRate,
      unit: "1",
      text: fitClauses(facts + rule),
    };
  }
  const p99 = canary.p99Ms!;
  if (metric === "ceiling") {
    const facts = `p99 was ${milliseconds(p99)} in this window, ceiling ${milliseconds(maxP99Ms)}`;
    return {
      code: METRIC_CODE[metric],
      metric: "p99_ms",
      value: roundedFigure(p99),
      limit: maxP99Ms,
      unit: "ms",
      text: fitClauses(facts + rule),
    };
  }
  const ratio = p99 / stable.p99Ms!;
  const facts = `p99 was ${milliseconds(p99)} in this window, ${Number(ratio.toFixed(2))} x stable's ${milliseconds(stable.p99Ms!)} (limit ${maxP99RegressionRatio} x)`;
  return {
    code: METRIC_CODE[metric],
    metric: "p99_regression_ratio",
    value: roundedFigure(ratio),
    limit: maxP99RegressionRatio,
    unit: "1",
    text: fitClauses(facts + rule),
  };
}

function sharedReason(metric: Metric, { canary, stable }: WindowFigures, policy: Policy): Reason {
  const { max5xxRate, maxP99Ms } = policy.thresholds;
  if (metric === "errors") {
    const rate = canary.errors / canary.requests;
    const facts = `${percent(rate)} of the canary's requests failed in this window, and ${percent(stable.errors / stable.requests)} of stable's`;
    const text = fitClauses(facts, ` (ceiling ${percent(max5xxRate)})`, ": stable is affected too; not attributed to the canary");
    return { code: "environment", metric: "5xx_rate", value: roundedFigure(rate), limit: max5xxRate, unit: "1", text };
  }
  const facts = `p99 was ${milliseconds(canary.p99Ms!)} on the canary and ${milliseconds(stable.p99Ms!)} on stable in this window`;
  const text = fitClauses(
    facts,
    ` (ceiling ${milliseconds(maxP99Ms)})`,
    ": stable is affected too; not attributed to the canary",
  );
  return { code: "environment", metric: "p99_ms", value: roundedFigure(canary.p99Ms!), limit: maxP99Ms, unit: "ms", text };
}

function sliceFigures(azs: readonly CountedAz[], slice: "judged" | "compared"): WindowSliceFigures {
  const sum = (key: "requests" | "errors") => azs.reduce((total, { az }) => total + az[slice][key], 0);
  return { requests: sum("requests"), errors: sum("errors"), p99Ms: p99In(azs, slice) };
}

function p99In(azs: readonly CountedAz[], slice: "judged" | "compared"): number | null {
  const tails = azs.map(({ slow }) => slow[slice]);
  const index = p99Index(tails);
  if (index === null) return null;
  const { scale, low, high } = tails[0]!;
  // Outside the band, only the histograms themselves can answer.
  return index >= low && index < high
    ? bucketMs(index, scale)
    : p99Of(
        azs.flatMap(({ az }) => az[slice].latency),
        scale,
      );
}
