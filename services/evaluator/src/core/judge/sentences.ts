/** The texts of the two-key rule: one line for each result of a window range. */

import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import { fitClauses, grouped, milliseconds, percent, pText, rangeText, roundedFigure } from "./format.ts";
import type { Metric } from "./rule.ts";
import { ceilingOf, compareRate, FAST, METRIC_CODE, PROMOTE, STEP } from "./rule.ts";
import type { JudgedView } from "./traffic-scope.ts";
import type { Finding, Rule, TestedRange } from "./window-ranges.ts";
import { cleanRequestsNeeded } from "./window-ranges.ts";

/** Where a finding was made, as shown to people. */
export interface ViewScope {
  /** Null for the canary as a whole. */
  readonly az: string | null;
  /** The latency above which a request is slow, milliseconds; null for errors. */
  readonly limitMs: number | null;
  /** Windows that the noise was learned from; 0 without a reference. */
  readonly referenceWindows: number;
}

/** The reason of a finding that is not clear. */
export function findingReason(finding: Finding, decided: TestedRange, rule: Rule, place: ViewScope): Reason {
  if (finding.kind === "environment")
    return { ...figures(decided, rule, place), code: "environment", text: environmentText(decided, rule, place) };
  const text = finding.kind === "fail" ? failText(decided, rule, place) : suspiciousText(decided, rule, place);
  return { ...figures(decided, rule, place), code: METRIC_CODE[rule.metric], text };
}

function failText(tried: TestedRange, rule: Rule, place: ViewScope): string {
  const { range: stretch } = tried;
  const single = stretch.windows === 1 ? `, more than ${FAST} x the limit` : "";
  return fitClauses(
    `${counted(tried, rule, place)}${single})`,
    `; ${pText(tried.pValue)} for a healthy canary`,
    stretch.comparedRequests > 0 ? `; stable ${percent(stretch.stableBad / stretch.comparedRequests)}` : null,
    noiseClause(rule, place),
  );
}

function suspiciousText(tried: TestedRange, rule: Rule, place: ViewScope): string {
  return fitClauses(
    `${counted(tried, rule, place)})`,
    `; ${pText(tried.pValue)} for a healthy canary`,
    tried.bursts >= 2 ? `, in bursts of ~${Math.round(tried.bursts)}` : null,
    tried.range.windows === 1 ? `; ${aloneText(rule.ceiling)}` : null,
    ": the next window decides",
    noiseClause(rule, place),
  );
}

/** The rate from which a single window fails; with a ceiling above an eighth there is none. */
export function aloneText(ceiling: number): string {
  return FAST * ceiling > 1 ? "a single window never fails" : `a single window fails only from ${percent(FAST * ceiling)}`;
}

function environmentText({ range: stretch, whole }: TestedRange, rule: Rule, place: ViewScope): string {
  return fitClauses(
    `${prefix(place)}${grouped(stretch.comparedBad)} of ${grouped(stretch.comparedRequests)} requests ${bad(rule.metric, place)} in ${rangeText(stretch.windows, whole)}`,
    `, ${grouped(stretch.stableBad)} expected at stable's rate`,
    ": stable is affected too; not attributed to the canary",
  );
}

/** Why a pass is not possible yet: a gross fault is not ruled out. */
export function evidenceReason(run: TestedRange["range"], rule: Rule, place: ViewScope): Reason {
  const gross = percent(Math.min(1, STEP * rule.ceiling));
  const text =
    run.bad === 0
      ? fitClauses(
          `${grouped(run.requests)} requests, none ${bad(rule.metric, place)}`,
          `; about ${grouped(cleanRequestsNeeded(run, STEP, rule))} are needed to rule out a gross fault (${gross})`,
          noiseClause(rule, place),
        )
      : fitClauses(
          `${grouped(run.bad)} of ${grouped(run.requests)} requests ${bad(rule.metric, place)}; that does not rule out a gross fault (${gross}) yet`,
        );
  return { code: "low_traffic", ...measured(rule.metric, run.bad / run.requests, rule.ceiling), text };
}

/** Why a run that passes is not promotable yet. */
export function promotionWarning(run: TestedRange["range"], rule: Rule, place: ViewScope): Reason {
  const limit = percent(Math.min(1, PROMOTE * rule.ceiling));
  const text = fitClauses(
    `No promotion yet: ${grouped(run.bad)} of ${grouped(run.requests)} requests ${bad(rule.metric, place)}`,
    `; ${limit} is not ruled out`,
    run.bad === 0 ? `, which takes about ${grouped(cleanRequestsNeeded(run, PROMOTE, rule))} good requests` : null,
    noiseClause(rule, place),
  );
  return { code: "low_traffic", ...measured(rule.metric, run.bad / run.requests, rule.ceiling), text };
}

/** Under the ceiling, but significantly worse than stable. */
export function worseWarning(run: TestedRange["range"], rule: Rule): Reason {
  const times = run.comparedBad / run.stableBad;
  const text = fitClauses(
    `No promotion: ${grouped(run.comparedBad)} of ${grouped(run.comparedRequests)} requests failed, ${Number(times.toPrecision(2))} x stable's rate`,
    ` (${percent(run.stableBad / run.comparedRequests)})`,
    ", though under the ceiling",
  );
  return { code: METRIC_CODE[rule.metric], ...measured(rule.metric, run.bad / run.requests, rule.ceiling), text };
}

/** A window over its limit that the rule does not act on: a spike in one AZ, or one that may be chance. It stays visible. */
export function overWarning(x: number, n: number, metric: Metric, ceiling: number, place: ViewScope, why: string | null): Reason {
  const share = `${percent(x / n)}, limit ${percent(ceiling)}`;
  const text = fitClauses(
    `${prefix(place)}${grouped(x)} of ${grouped(n)} requests ${bad(metric, place)} in this window (${share})`,
    why,
  );
  return { ...where(place), code: METRIC_CODE[metric], ...measured(metric, x / n, ceiling), text };
}

/** In literal mode only the whole canary is judged: an AZ over its limit alone is a warning. */
export function spikesByAz(views: readonly JudgedView[], policy: Policy): Reason[] {
  if (views.length <= 2) return [];
  const warnings: Reason[] = [];
  for (const { name, measured: window } of views.slice(1)) {
    for (const metric of ["errors", "ceiling"] as const) {
      const { requests: n, bad: x } = window.counts[metric];
      const ceiling = ceilingOf(metric, policy);
      if (n === 0 || compareRate(x, n, ceiling) <= 0) continue;
      const place = { az: name, limitMs: metric === "errors" ? null : policy.thresholds.maxP99Ms, referenceWindows: 0 };
      warnings.push(overWarning(x, n, metric, ceiling, place, null));
    }
  }
  return warnings;
}

/** "60 of 10,000 requests failed in the last 2 windows (0.6%, limit 0.5%", without the closing parenthesis. */
function counted({ range: stretch, whole }: TestedRange, rule: Rule, place: ViewScope): string {
  const share = `${percent(stretch.bad / stretch.requests)}, limit ${percent(rule.ceiling)}`;
  return `${prefix(place)}${grouped(stretch.bad)} of ${grouped(stretch.requests)} requests ${bad(rule.metric, place)} in ${rangeText(stretch.windows, whole)} (${share}`;
}

function bad(metric: Metric, { limitMs }: ViewScope): string {
  if (metric === "errors" || limitMs === null) return "failed";
  return metric === "ceiling"
    ? `took over ${milliseconds(limitMs)}`
    : `took over ${milliseconds(limitMs)} (stable's p99 and its margin)`;
}

function prefix({ az }: ViewScope): string {
  return az === null ? "" : `${az}: `;
}

function where({ az }: ViewScope): { az?: string } {
  return az === null ? {} : { az };
}

function noiseClause({ noise }: Rule, { referenceWindows }: ViewScope): string {
  const figures = `rho ${Number(noise.rho.toPrecision(2))}, phi ${Number(noise.phi.toPrecision(2))}`;
  return referenceWindows > 0 ? ` [${figures} from ${referenceWindows} windows]` : ` [${figures} assumed]`;
}

function figures({ range: stretch }: TestedRange, rule: Rule, place: ViewScope): Omit<Reason, "code" | "text"> {
  return { ...where(place), ...measured(rule.metric, stretch.bad / stretch.requests, rule.ceiling) };
}

const MEASURE: Readonly<Record<Metric, string>> = {
  errors: "5xx_rate",
  ceiling: "slow_ratio",
  regression: "slower_than_stable_ratio",
};

function measured(metric: Metric, value: number, limit: number): { metric: string; value: number; limit: number; unit: string } {
  return { metric: MEASURE[metric], value: roundedFigure(value), limit, unit: "1" };
}
