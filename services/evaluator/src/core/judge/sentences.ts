/** The texts of the two-key rule: one line for each result of a window range. */

import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import { fitClauses, grouped, milliseconds, percent, pText, rangeText, roundedFigure } from "./format.ts";
import type { SeriesName } from "./rule.ts";
import { ceilingOf, compareRate, METRIC_CODE, PROMOTE, SINGLE_WINDOW_FACTOR, STEP } from "./rule.ts";
import type { JudgedScope } from "./traffic-scope.ts";
import type { MetricFinding, MetricRule, TestedRange } from "./window-ranges.ts";
import { cleanRequestsNeeded } from "./window-ranges.ts";

/** The scope of a finding, as shown to people. */
export interface ScopeLabel {
  /** Null for the canary as a whole. */
  readonly az: string | null;
  /** The latency above which a request is slow, milliseconds; null for errors. */
  readonly limitMs: number | null;
  /** Windows that the noise was estimated from; 0 without a reference. */
  readonly referenceWindows: number;
}

/** The reason of a finding that is not clear. */
export function findingReason(finding: MetricFinding, decided: TestedRange, rule: MetricRule, label: ScopeLabel): Reason {
  if (finding.kind === "environment")
    return { ...figuresOf(decided, rule, label), code: "environment", text: environmentText(decided, rule, label) };
  const text = finding.kind === "fail" ? failText(decided, rule, label) : suspiciousText(decided, rule, label);
  return { ...figuresOf(decided, rule, label), code: METRIC_CODE[rule.metric], text };
}

function failText(tried: TestedRange, rule: MetricRule, label: ScopeLabel): string {
  const { range } = tried;
  const single = range.windows === 1 ? `, more than ${SINGLE_WINDOW_FACTOR} x the limit` : "";
  return fitClauses(
    `${countedText(tried, rule, label)}${single})`,
    `; ${pText(tried.pValue)} for a healthy canary`,
    range.comparedRequests > 0 ? `; stable ${percent(range.stableBad / range.comparedRequests)}` : null,
    noiseClause(rule, label),
  );
}

function suspiciousText(tried: TestedRange, rule: MetricRule, label: ScopeLabel): string {
  return fitClauses(
    `${countedText(tried, rule, label)})`,
    `; ${pText(tried.pValue)} for a healthy canary`,
    tried.bursts >= 2 ? `, in bursts of ~${Math.round(tried.bursts)}` : null,
    tried.range.windows === 1 ? `; ${aloneText(rule.ceiling)}` : null,
    ": the next window decides",
    noiseClause(rule, label),
  );
}

/** The rate from which a single window fails; with a ceiling above an eighth there is none. */
export function aloneText(ceiling: number): string {
  return SINGLE_WINDOW_FACTOR * ceiling > 1
    ? "a single window never fails"
    : `a single window fails only from ${percent(SINGLE_WINDOW_FACTOR * ceiling)}`;
}

function environmentText({ range, whole }: TestedRange, rule: MetricRule, label: ScopeLabel): string {
  return fitClauses(
    `${prefix(label)}${grouped(range.comparedBad)} of ${grouped(range.comparedRequests)} requests ${badText(rule.metric, label)} in ${rangeText(range.windows, whole)}`,
    `, ${grouped(range.stableBad)} expected at stable's rate`,
    ": stable is affected too; not attributed to the canary",
  );
}

/** Why a pass is not possible yet: a gross fault is not ruled out. */
export function evidenceReason(run: TestedRange["range"], rule: MetricRule, label: ScopeLabel): Reason {
  const gross = percent(Math.min(1, STEP * rule.ceiling));
  const text =
    run.bad === 0
      ? fitClauses(
          `${grouped(run.requests)} requests, none ${badText(rule.metric, label)}`,
          `; about ${grouped(cleanRequestsNeeded(run, STEP, rule))} are needed to rule out a gross fault (${gross})`,
          noiseClause(rule, label),
        )
      : fitClauses(
          `${grouped(run.bad)} of ${grouped(run.requests)} requests ${badText(rule.metric, label)}; that does not rule out a gross fault (${gross}) yet`,
        );
  return { code: "low_traffic", ...measured(rule.metric, run.bad / run.requests, rule.ceiling), text };
}

/** Why a run that passes is not promotable yet. */
export function promotionWarning(run: TestedRange["range"], rule: MetricRule, label: ScopeLabel): Reason {
  const limit = percent(Math.min(1, PROMOTE * rule.ceiling));
  const text = fitClauses(
    `No promotion yet: ${grouped(run.bad)} of ${grouped(run.requests)} requests ${badText(rule.metric, label)}`,
    `; ${limit} is not ruled out`,
    run.bad === 0 ? `, which takes about ${grouped(cleanRequestsNeeded(run, PROMOTE, rule))} good requests` : null,
    noiseClause(rule, label),
  );
  return { code: "low_traffic", ...measured(rule.metric, run.bad / run.requests, rule.ceiling), text };
}

/** Under the ceiling, but significantly worse than stable. */
export function worseWarning(run: TestedRange["range"], rule: MetricRule): Reason {
  const times = run.comparedBad / run.stableBad;
  const text = fitClauses(
    `No promotion: ${grouped(run.comparedBad)} of ${grouped(run.comparedRequests)} requests failed, ${Number(times.toPrecision(2))} x stable's rate`,
    ` (${percent(run.stableBad / run.comparedRequests)})`,
    ", though under the ceiling",
  );
  return { code: METRIC_CODE[rule.metric], ...measured(rule.metric, run.bad / run.requests, rule.ceiling), text };
}

/** Stable is over the ceiling by itself: an environment that never ends would be no verdict. */
export function raiseCeilingWarning({ thresholds }: Policy, windows: number): Reason {
  const text = fitClauses(
    `Raise maxP99 (${milliseconds(thresholds.maxP99Ms)}): stable is over it by itself, in most of ${windows} windows before the run`,
    "; p99 is only compared with stable's",
  );
  return { code: "over_p99", metric: "p99_ms", limit: thresholds.maxP99Ms, unit: "ms", text };
}

/** A window over its limit that the rule does not act on. */
export interface OverLimit {
  readonly requests: number;
  readonly bad: number;
  readonly metric: SeriesName;
  readonly ceiling: number;
  readonly label: ScopeLabel;
  /** Why the rule does not act on it. */
  readonly why: string | null;
}

/** A spike in one AZ, or one that may be chance: it stays visible. */
export function overWarning({ requests, bad, metric, ceiling, label, why }: OverLimit): Reason {
  const share = `${percent(bad / requests)}, limit ${percent(ceiling)}`;
  const text = fitClauses(
    `${prefix(label)}${grouped(bad)} of ${grouped(requests)} requests ${badText(metric, label)} in this window (${share})`,
    why,
  );
  return { ...azField(label), code: METRIC_CODE[metric], ...measured(metric, bad / requests, ceiling), text };
}

/** In literal mode only the whole canary is judged: an AZ over its limit alone is a warning. */
export function azSpikeWarnings(scopes: readonly JudgedScope[], policy: Policy): Reason[] {
  if (scopes.length <= 2) return [];
  const warnings: Reason[] = [];
  for (const { name, measurement } of scopes.slice(1)) {
    for (const metric of ["errors", "ceiling"] as const) {
      const { requests, bad } = measurement.counts[metric];
      const ceiling = ceilingOf(metric, policy);
      if (requests === 0 || compareRate(bad, requests, ceiling) <= 0) continue;
      const label = { az: name, limitMs: metric === "errors" ? null : policy.thresholds.maxP99Ms, referenceWindows: 0 };
      warnings.push(overWarning({ requests, bad, metric, ceiling, label, why: null }));
    }
  }
  return warnings;
}

/** "60 of 10,000 requests failed in the last 2 windows (0.6%, limit 0.5%", without the closing parenthesis. */
function countedText({ range, whole }: TestedRange, rule: MetricRule, label: ScopeLabel): string {
  const share = `${percent(range.bad / range.requests)}, limit ${percent(rule.ceiling)}`;
  return `${prefix(label)}${grouped(range.bad)} of ${grouped(range.requests)} requests ${badText(rule.metric, label)} in ${rangeText(range.windows, whole)} (${share}`;
}

function badText(metric: SeriesName, { limitMs }: ScopeLabel): string {
  if (metric === "errors" || limitMs === null) return "failed";
  if (metric === "ceiling") return `took over ${milliseconds(limitMs)}`;
  return `took over ${milliseconds(limitMs)} (stable's ${metric === "body" ? "p90" : "p99"} and its margin)`;
}

function prefix({ az }: ScopeLabel): string {
  return az === null ? "" : `${az}: `;
}

function azField({ az }: ScopeLabel): { az?: string } {
  return az === null ? {} : { az };
}

function noiseClause({ noise }: MetricRule, { referenceWindows }: ScopeLabel): string {
  const figures = `rho ${Number(noise.overdispersion.toPrecision(2))}, phi ${Number(noise.burstFactor.toPrecision(2))}`;
  return referenceWindows > 0 ? ` [${figures} from ${referenceWindows} windows]` : ` [${figures} assumed]`;
}

function figuresOf({ range }: TestedRange, rule: MetricRule, label: ScopeLabel): Omit<Reason, "code" | "text"> {
  return { ...azField(label), ...measured(rule.metric, range.bad / range.requests, rule.ceiling) };
}

const MEASURE: Readonly<Record<SeriesName, string>> = {
  errors: "5xx_rate",
  ceiling: "slow_ratio",
  regression: "slower_than_stable_ratio",
  body: "slower_than_stable_p90_ratio",
};

function measured(
  metric: SeriesName,
  value: number,
  limit: number,
): { metric: string; value: number; limit: number; unit: string } {
  return { metric: MEASURE[metric], value: roundedFigure(value), limit, unit: "1" };
}
