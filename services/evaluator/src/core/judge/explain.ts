/** Every number behind one judgment, in the order of the rule: the four keys of each window range, then the evidence. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { WindowRange } from "./counts.ts";
import { EMPTY, withoutWorst, withWindow } from "./counts.ts";
import { grouped, milliseconds, percent, pText, rangeText } from "./format.ts";
import { judgeWindows } from "./judge.ts";
import { comparison, environmentKey, persistenceKey, pValueOf, rateKey, restLevel, significanceKey } from "./keys.ts";
import type { JudgedRun } from "./outcome.ts";
import { figureName, referenceSliceRatio } from "./reference.ts";
import { healthyShare, isTail, TAILS, type TailName, type Threshold } from "./regression-limits.ts";
import { ALPHA_HOLD, HEALTHY_SHARE, METRICS, type Metric, MIN_BAD, PERSISTENT_SHARE, PROMOTE, STEP, WHOLE } from "./rule.ts";
import { aloneText } from "./sentences.ts";
import { type MetricResult, type TwoKeyInput, testMetric } from "./two-key.ts";
import { alphaLevel, cleanRequestsNeeded, evidenceOf, type MetricRule, type TestedRange, testKeys } from "./window-ranges.ts";

/** Explains the judgment of the last of `windows` by the two-key rule, line by line. The arguments are those of `judge`. */
export function explainJudgment(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun): string[] {
  const { input, figures } = judgeWindows(windows, policy, run).judged;
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

function explainMetric(result: MetricResult, metric: Metric, { windowNumber, reference }: TwoKeyInput): string[] {
  const { evidenceRule, label, scope } = result;
  const lines = [...headLines(result, metric, reference)];
  for (const { range, whole } of explainedRanges(result, windowNumber))
    lines.push(...explainRange(range, whole, result, windowNumber));
  if (label.az !== null) return lines;
  const evidence = evidenceOf(scope.series[metric], evidenceRule);
  lines.push(
    `  evidence          ${ruledOut(evidence.step, STEP, result)}`,
    `  for promotion     ${ruledOut(evidence.promote, PROMOTE, result)}${evidence.worse ? "; but significantly worse than stable" : ""}`,
  );
  return lines;
}

/** The ceiling, the threshold of a regression, and the noise. */
function headLines({ rule, label, scope }: MetricResult, metric: Metric, reference: Reference | null): string[] {
  const where = label.az === null ? "" : ` in ${label.az}`;
  const tail = isTail(rule.metric) ? rule.metric : null;
  const threshold = tail === null ? null : scope.measurement.limits[tail];
  const healthy = tail === null || threshold === null ? HEALTHY_SHARE * rule.ceiling : healthyShare(tail, threshold);
  const name = label.az ?? WHOLE;
  const leftOut = reference?.figures[figureName(name, rule.metric, "left_out")] ?? 0;
  const learned =
    label.referenceWindows > 0 ? learnedFrom(label.referenceWindows, leftOut, reference) : "assumed, without a reference";
  const { overdispersion, burstFactor } = rule.noise;
  const lines = [
    `${titleOf(metric, label.limitMs)}${where}: ${percent(rule.ceiling)} is the ceiling, a healthy canary is assumed to have at most ${percent(healthy)}`,
    ...(tail === null || threshold === null ? [] : [`  threshold         ${thresholdText(tail, threshold)}`]),
    `  noise             overdispersion rho ${shortNumber(overdispersion)}, burst factor phi ${shortNumber(burstFactor)} (${learned})`,
  ];
  if (tail !== null) {
    const ratio = referenceSliceRatio(reference, name, tail);
    if (ratio > 1)
      lines.push(
        `                    the canary's gateways were ${Number(ratio.toPrecision(3))} x slower than stable's before the run`,
      );
  }
  const outside = scope.series[rule.metric].recent.filter(({ leftOut: isOut }) => isOut === true).length;
  if (outside > 0) lines.push(`  left out          ${outside} of the last windows: stable accounts for them`);
  if (rule.meanVariance > 0)
    lines.push(`                    stable's own share has a relative error of ${percent(Math.sqrt(rule.meanVariance))}`);
  return lines;
}

function learnedFrom(windows: number, leftOut: number, reference: Reference | null): string {
  const of = reference?.from === "same-gateways" ? "the same gateways before the run" : "stable";
  const without = leftOut > 0 ? `, without ${leftOut === 1 ? "one bad window" : `${leftOut} bad windows`}` : "";
  return `estimated from ${windows} windows of ${of}${without}`;
}

function thresholdText(tail: TailName, { limitMs, stableLimitMs, timed, above, windows }: Threshold): string {
  const over = windows === 1 ? "one window" : `${windows} windows`;
  const quantile = `p${Math.round(100 * TAILS[tail].quantile)}`;
  return `${milliseconds(limitMs)}: stable's ${quantile} over ${over}, and its margin; of stable's ${grouped(timed)} requests ${grouped(above)} were slower than ${milliseconds(stableLimitMs)} (${percent(above / timed)})`;
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

function explainRange(
  range: WindowRange,
  whole: boolean,
  { rule, label, scope, finding }: MetricResult,
  windowNumber: number,
): string[] {
  const { ceiling } = rule;
  const title = rangeText(range.windows, whole);
  if (range.requests === 0) return [`  ${title}: no requests`];
  const bad = label.limitMs === null ? "failed" : `took over ${milliseconds(label.limitMs)}`;
  const head = `  ${title}: ${grouped(range.bad)} of ${grouped(range.requests)} requests ${bad} (${percent(range.bad / range.requests)})`;
  if (!rateKey(range, ceiling)) return [head, `    rate key         not satisfied: below ${percent(ceiling)}`];
  const level = alphaLevel(range, whole, scope.series[rule.metric], windowNumber, rule);
  const isDecided = finding.decided?.whole === whole && finding.decided.range.windows === range.windows;
  const { pValue, bursts, kind } = isDecided ? finding.decided : testKeys(range, whole, level, rule, false);
  const few = range.bad < MIN_BAD ? `; fewer than ${MIN_BAD} bad requests never fail` : "";
  const persists = persistenceKey(range, bursts, rule);
  return [
    head,
    `    rate key         satisfied: reaches ${percent(ceiling)}`,
    `    significance key ${satisfied(significanceKey(range, pValue, level))}: ${pText(pValue)}; a failure requires ${pText(level, "≤")}${few}${bursts >= 2 ? `; counted as bursts of ${Math.round(bursts)}` : ""}`,
    `    persistence key  ${satisfied(persists)}: ${persistenceText(range, bursts, rule)}`,
    `    environment key  ${satisfied(environmentKey(range, rule))}: ${environmentText(range, rule)}`,
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

function persistenceText(range: WindowRange, bursts: number, rule: MetricRule): string {
  const { ceiling } = rule;
  if (range.windows === 1) return aloneText(ceiling);
  const rest = withoutWorst(range);
  if (rest.requests <= 0) return "no requests are left without the worst window";
  const left = `without its worst window ${grouped(rest.bad)} of ${grouped(rest.requests)} (${percent(rest.bad / rest.requests)})`;
  const pValue = rest.bad > 0 ? `, ${pText(pValueOf(rest, bursts, rule))}` : "";
  return `${left}${pValue}; a failure requires ${percent(PERSISTENT_SHARE * ceiling)} and ${pText(restLevel(range, bursts, rule), "≤")}`;
}

function environmentText(range: WindowRange, rule: MetricRule): string {
  if (range.comparedRequests <= 0) return "no stable traffic to compare with";
  const expected = `at stable's rate (${percent(range.stableBad / range.comparedRequests)}) ${shortNumber(range.stableBad)} of ${grouped(range.comparedRequests)} expected, observed ${grouped(range.comparedBad)}`;
  const required = comparison(range, rule);
  if (required === null) return `${expected}; stable is too far below the ceiling to account for it`;
  const { times, pValue, level } = required;
  const rate = times === 1 ? "stable's rate" : "twice stable's rate";
  if (pValue === 1) return `${expected}; no more than at ${rate}`;
  return `${expected}; at ${rate} ${pText(pValue)}, a failure requires ${pText(level, "≤")}`;
}

function ruledOut(yes: boolean, times: number, { evidenceRule: rule, scope }: MetricResult): string {
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
