/** Every number behind one judgment, in the order of the rule: the four keys of each window range, then the evidence. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { WindowRange } from "./counts.ts";
import { EMPTY, withoutWorst, withWindow } from "./counts.ts";
import { grouped, milliseconds, percent, pText, rangeText } from "./format.ts";
import { judgeWindows } from "./judge.ts";
import { comparison, environmentKey, persistenceKey, pValueOf, rateKey, significanceKey } from "./keys.ts";
import type { JudgedRun } from "./outcome.ts";
import {
  ALPHA_HOLD,
  ALPHA_REST,
  HEALTHY_SHARE,
  METRICS,
  type Metric,
  MIN_BAD,
  PERSISTENT_SHARE,
  PROMOTE,
  STEP,
  WHOLE,
} from "./rule.ts";
import { healthyShare } from "./scope-measurement.ts";
import { aloneText } from "./sentences.ts";
import type { Threshold } from "./stable-band.ts";
import { type MetricResult, type TwoKeyInput, testMetric } from "./two-key.ts";
import { alphaLevel, cleanRequestsNeeded, evidenceOf, type MetricRule, type TestedRange, testKeys } from "./window-ranges.ts";

/** Explains the judgment of the last of `windows` by the two-key rule, line by line. The arguments are those of `judge`. */
export function explainJudgment(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun): string[] {
  const { input, figures } = judgeWindows(windows, policy, run);
  if (figures.canary.requests === 0)
    return ["The canary had no requests in this window: there is nothing to judge, which is a hold."];
  const lines: string[] = [];
  for (const scope of input.scopes) {
    // With a single AZ, its scope equals the whole canary.
    if (scope.name !== WHOLE && input.scopes.length === 2) continue;
    for (const metric of METRICS) {
      const found = testMetric(input, metric, scope);
      if (found === null) continue;
      lines.push(...explainMetric(found, metric, input), "");
    }
  }
  return lines;
}

function explainMetric(result: MetricResult, metric: Metric, { windowNumber, policy, reference }: TwoKeyInput): string[] {
  const { rule, label, scope } = result;
  const lines = [...headLines(result, metric, policy, reference)];
  for (const { range, whole } of explainedRanges(result, windowNumber))
    lines.push(...explainRange(range, whole, result, windowNumber));
  if (label.az !== null) return lines;
  const evidence = evidenceOf(scope.series[metric], rule);
  lines.push(
    `  evidence          ${ruledOut(evidence.step, STEP, result)}`,
    `  for promotion     ${ruledOut(evidence.promote, PROMOTE, result)}${evidence.worse ? "; but significantly worse than stable" : ""}`,
  );
  return lines;
}

/** The ceiling, the threshold of a regression, and the noise. */
function headLines({ rule, label, scope }: MetricResult, metric: Metric, policy: Policy, reference: Reference | null): string[] {
  const where = label.az === null ? "" : ` in ${label.az}`;
  const { threshold } = scope.measurement;
  const regression = metric === "regression" && threshold !== null;
  const healthy = regression ? healthyShare(threshold) : HEALTHY_SHARE * rule.ceiling;
  const learned = label.referenceWindows > 0 ? learnedFrom(label.referenceWindows, reference) : "assumed, without a reference";
  const { overdispersion, burstFactor } = rule.noise;
  const lines = [
    `${titleOf(metric, label.limitMs)}${where}: ${percent(rule.ceiling)} is the ceiling, a healthy canary is assumed to have at most ${percent(healthy)}`,
    ...(regression ? [`  threshold         ${thresholdText(threshold, policy)}`] : []),
    `  noise             overdispersion rho ${shortNumber(overdispersion)}, burst factor phi ${shortNumber(burstFactor)} (${learned})`,
  ];
  if (rule.meanVariance > 0)
    lines.push(`                    stable's own share has a relative error of ${percent(Math.sqrt(rule.meanVariance))}`);
  return lines;
}

function learnedFrom(windows: number, reference: Reference | null): string {
  const of = reference?.from === "same-gateways" ? "the same gateways before the run" : "stable";
  return `estimated from ${windows} windows of ${of}`;
}

function thresholdText({ limitMs, timed, above, windows }: Threshold, { thresholds }: Policy): string {
  const ratio = thresholds.maxP99RegressionRatio;
  const over = windows === 1 ? "one window" : `${windows} windows`;
  return `${ratio} x stable's p99 of ${milliseconds(limitMs / ratio)} over ${over}; of its ${grouped(timed)} requests ${grouped(above)} were slower (${percent(above / timed)})`;
}

/** The last window, the deciding window range, and the whole run; each once. */
function explainedRanges({ finding, scope, rule }: MetricResult, windowNumber: number): { range: WindowRange; whole: boolean }[] {
  const series = scope.series[rule.metric];
  const last = withWindow(EMPTY, series.recent.at(-1)!, rule.ceiling);
  const run = { ...series.run, windows: windowNumber };
  const { decided } = finding;
  const middle = decided !== null && decided.range.windows > 1 && !decided.whole ? [{ range: decided.range, whole: false }] : [];
  return [{ range: last, whole: windowNumber === 1 }, ...middle, ...(windowNumber > 1 ? [{ range: run, whole: true }] : [])];
}

function explainRange(range: WindowRange, whole: boolean, { rule, label }: MetricResult, windowNumber: number): string[] {
  const { noise, meanVariance, ceiling, metric } = rule;
  const title = rangeText(range.windows, whole);
  if (range.requests === 0) return [`  ${title}: no requests`];
  const bad = label.limitMs === null ? "failed" : `took over ${milliseconds(label.limitMs)}`;
  const head = `  ${title}: ${grouped(range.bad)} of ${grouped(range.requests)} requests ${bad} (${percent(range.bad / range.requests)})`;
  if (!rateKey(range, ceiling)) return [head, `    rate key         not satisfied: below ${percent(ceiling)}`];
  const level = alphaLevel(rule, windowNumber, whole);
  const { pValue, bursts, kind } = testKeys(range, whole, level, rule);
  const few = range.bad < MIN_BAD ? `; fewer than ${MIN_BAD} bad requests never fail` : "";
  const persists = persistenceKey(range, noise, bursts, meanVariance, ceiling);
  return [
    head,
    `    rate key         satisfied: reaches ${percent(ceiling)}`,
    `    significance key ${satisfied(significanceKey(range, pValue, level))}: ${pText(pValue)}; a failure requires ${pText(level, "≤")}${few}${bursts >= 2 ? `; counted as bursts of ${Math.round(bursts)}` : ""}`,
    `    persistence key  ${satisfied(persists)}: ${persistenceText(range, bursts, rule)}`,
    `    environment key  ${satisfied(environmentKey(range, metric, ceiling))}: ${environmentText(range, metric, ceiling)}`,
    `    ${CONCLUSIONS[kind](rule.suspicionFactor)}`,
  ];
}

const satisfied = (yes: boolean): string => (yes ? "satisfied" : "not satisfied");

/** The combined result of the keys for a window range. */
const CONCLUSIONS: Readonly<Record<TestedRange["kind"], (suspicion: number) => string>> = {
  fail: () => "all four keys are satisfied: this range fails the run",
  environment: () => "stable accounts for it: this range is a hold, environment",
  suspicious: (suspicion) =>
    `not all keys are satisfied, but suspicious (${pText(ALPHA_HOLD * suspicion, "≤")}): this range is a hold`,
  quiet: () => "not all keys are satisfied: this range is no evidence against the canary",
};

function persistenceText(range: WindowRange, bursts: number, { noise, meanVariance, ceiling }: MetricRule): string {
  if (range.windows === 1) return aloneText(ceiling);
  const rest = withoutWorst(range);
  if (rest.requests <= 0) return "no requests are left without the worst window";
  const left = `without its worst window ${grouped(rest.bad)} of ${grouped(rest.requests)} (${percent(rest.bad / rest.requests)})`;
  const pValue = rest.bad > 0 ? `, ${pText(pValueOf(rest, noise, bursts, meanVariance))}` : "";
  return `${left}${pValue}; a failure requires ${percent(PERSISTENT_SHARE * ceiling)} and ${pText(ALPHA_REST, "≤")}`;
}

function environmentText(range: WindowRange, metric: Metric, ceiling: number): string {
  if (range.comparedRequests <= 0) return "no stable traffic to compare with";
  const expected = `at stable's rate (${percent(range.stableBad / range.comparedRequests)}) ${shortNumber(range.stableBad)} of ${grouped(range.comparedRequests)} expected, observed ${grouped(range.comparedBad)}`;
  const required = comparison(range, metric, ceiling);
  if (required === null) return `${expected}; stable is too far below the ceiling to account for it`;
  const { times, pValue, level } = required;
  const rate = times === 1 ? "stable's rate" : "twice stable's rate";
  if (pValue === 1) return `${expected}; no more than at ${rate}`;
  return `${expected}; at ${rate} ${pText(pValue)}, a failure requires ${pText(level, "≤")}`;
}

function ruledOut(yes: boolean, times: number, { rule, scope }: MetricResult): string {
  const share = percent(times * rule.ceiling);
  if (yes) return `${share} (${times} x the ceiling) is ruled out at 95% confidence`;
  const { run } = scope.series[rule.metric];
  const needed = grouped(cleanRequestsNeeded(run, times, rule));
  return `${share} (${times} x the ceiling) is not ruled out by ${grouped(run.requests)} requests with ${grouped(run.bad)} bad ones; about ${needed} good ones would rule it out`;
}

function titleOf(metric: Metric, limitMs: number | null): string {
  if (metric === "errors") return "5xx responses";
  const limit = limitMs === null ? "" : milliseconds(limitMs);
  return metric === "ceiling" ? `requests over ${limit}` : `requests over ${limit} (stable's p99 and its margin)`;
}

function shortNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}
