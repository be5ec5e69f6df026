/** Every number behind one judgement, in the order of the rule: the four keys of each window range, then the evidence. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { WindowRange } from "./counts.ts";
import { EMPTY, withoutWorst, withWindow } from "./counts.ts";
import { grouped, milliseconds, percent, pText, rangeText } from "./format.ts";
import { judgeWindows } from "./judge.ts";
import { comparison, environmentKey, persistenceKey, pValueOf, rateKey, significanceKey } from "./keys.ts";
import type { JudgedRun } from "./outcome.ts";
import { ALPHA_HOLD, ALPHA_REST, HEALTHY, LEAST_BAD, METRICS, type Metric, PROMOTE, STEADY, STEP, WHOLE } from "./rule.ts";
import { healthyShare } from "./scope-measurement.ts";
import { aloneText } from "./sentences.ts";
import type { Threshold } from "./stable-band.ts";
import { type Found, findIn, type TwoKeyInput } from "./two-key.ts";
import { alphaLevel, cleanRequestsNeeded, evidenceOf, type TestedRange, testKeys } from "./window-ranges.ts";

/** Explains the judgement of the last of `windows` by the two-key rule, line by line. The arguments are those of `judge`. */
export function explainJudgement(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun): string[] {
  const { input, figures } = judgeWindows(windows, policy, run);
  if (figures.canary.requests === 0)
    return ["The canary had no requests in this window: there is nothing to judge, which is a hold."];
  const lines: string[] = [];
  for (const view of input.views) {
    // With a single AZ, its view equals the whole canary.
    if (view.name !== WHOLE && input.views.length === 2) continue;
    for (const metric of METRICS) {
      const found = findIn(input, metric, view);
      if (found === null) continue;
      lines.push(...explainMetric(found, metric, input), "");
    }
  }
  return lines;
}

function explainMetric(found: Found, metric: Metric, { t, policy, reference }: TwoKeyInput): string[] {
  const { rule, place, judged } = found;
  const where = place.az === null ? "" : ` in ${place.az}`;
  const { threshold } = judged.measured;
  const regression = metric === "regression" && threshold !== null;
  const healthy = regression ? healthyShare(threshold) : HEALTHY * rule.ceiling;
  const learned = place.referenceWindows > 0 ? learnedFrom(place.referenceWindows, reference) : "assumed, without a reference";
  const series = judged.view[metric];
  const lines = [
    `${titleOf(metric, place.limitMs)}${where}: ${percent(rule.ceiling)} is the ceiling, a healthy canary is assumed to have at most ${percent(healthy)}`,
    ...(regression ? [`  threshold         ${thresholdText(threshold, policy)}`] : []),
    `  noise             overdispersion rho ${shortNumber(rule.noise.rho)}, burst factor phi ${shortNumber(rule.noise.phi)} (${learned})`,
  ];
  if (rule.meanVariance > 0)
    lines.push(`                    stable's own share has a relative error of ${percent(Math.sqrt(rule.meanVariance))}`);
  for (const { stretch, whole } of told(found, t)) lines.push(...explainStretch(stretch, whole, found, t));
  if (place.az !== null) return lines;
  const evidence = evidenceOf(series, rule);
  lines.push(
    `  evidence          ${ruledOut(evidence.step, STEP, found)}`,
    `  for promotion     ${ruledOut(evidence.promote, PROMOTE, found)}${evidence.worse ? "; but significantly worse than stable" : ""}`,
  );
  return lines;
}

function learnedFrom(windows: number, reference: Reference | null): string {
  const of = reference?.from === "same-gateways" ? "the same gateways before the run" : "stable";
  return `learned from ${windows} windows of ${of}`;
}

function thresholdText({ limitMs, timed, above, windows }: Threshold, { thresholds }: Policy): string {
  const ratio = thresholds.maxP99RegressionRatio;
  const over = windows === 1 ? "one window" : `${windows} windows`;
  return `${ratio} x stable's p99 of ${milliseconds(limitMs / ratio)} over ${over}; of its ${grouped(timed)} requests ${grouped(above)} were slower (${percent(above / timed)})`;
}

/** The last window, the deciding window range, and the whole run; each once. */
function told({ finding, judged, rule }: Found, t: number): { stretch: WindowRange; whole: boolean }[] {
  const series = judged.view[rule.metric];
  const last = withWindow(EMPTY, series.recent.at(-1)!, rule.ceiling);
  const run = { ...series.run, windows: t };
  const { decided } = finding;
  const middle =
    decided !== null && decided.range.windows > 1 && !decided.whole ? [{ stretch: decided.range, whole: false }] : [];
  return [{ stretch: last, whole: t === 1 }, ...middle, ...(t > 1 ? [{ stretch: run, whole: true }] : [])];
}

function explainStretch(stretch: WindowRange, whole: boolean, { rule, place }: Found, t: number): string[] {
  const { noise, meanVariance: baseline, ceiling, metric } = rule;
  const words = rangeText(stretch.windows, whole);
  if (stretch.requests === 0) return [`  ${words}: no requests`];
  const bad = place.limitMs === null ? "failed" : `took over ${milliseconds(place.limitMs)}`;
  const head = `  ${words}: ${grouped(stretch.bad)} of ${grouped(stretch.requests)} requests ${bad} (${percent(stretch.bad / stretch.requests)})`;
  if (!rateKey(stretch, ceiling)) return [head, `    rate key         not turned: below ${percent(ceiling)}`];
  const level = alphaLevel(rule, t, whole);
  const { pValue: luck, bursts, kind } = testKeys(stretch, whole, level, rule);
  const few = stretch.bad < LEAST_BAD ? `; fewer than ${LEAST_BAD} bad requests never fail` : "";
  const steady = persistenceKey(stretch, noise, bursts, baseline, ceiling);
  return [
    head,
    `    rate key         turned: reaches ${percent(ceiling)}`,
    `    significance key ${turned(significanceKey(stretch, luck, level))}: ${pText(luck)}; a fail requires ${pText(level, "≤")}${few}${bursts >= 2 ? `; counted as bursts of ${Math.round(bursts)}` : ""}`,
    `    persistence key  ${turned(steady)}: ${steadyText(stretch, bursts, rule)}`,
    `    environment key  ${turned(environmentKey(stretch, metric, ceiling))}: ${environmentText(stretch, metric, ceiling)}`,
    `    ${CONCLUSIONS[kind](rule.suspicionFactor)}`,
  ];
}

const turned = (yes: boolean): string => (yes ? "turned" : "not turned");

/** The combined result of the keys for a window range. */
const CONCLUSIONS: Readonly<Record<TestedRange["kind"], (suspicion: number) => string>> = {
  fail: () => "all four keys turned: this range fails the run",
  environment: () => "stable accounts for it: this range is a hold, environment",
  suspicious: (suspicion) => `not all keys turned, but suspicious (${pText(ALPHA_HOLD * suspicion, "≤")}): this range is a hold`,
  quiet: () => "not all keys turned: this range is no evidence against the canary",
};

function steadyText(stretch: WindowRange, bursts: number, { noise, meanVariance: baseline, ceiling }: Found["rule"]): string {
  if (stretch.windows === 1) return aloneText(ceiling);
  const rest = withoutWorst(stretch);
  if (rest.requests <= 0) return "no requests are left without the worst window";
  const left = `without its worst window ${grouped(rest.bad)} of ${grouped(rest.requests)} (${percent(rest.bad / rest.requests)})`;
  const luck = rest.bad > 0 ? `, ${pText(pValueOf(rest, noise, bursts, baseline))}` : "";
  return `${left}${luck}; a fail requires ${percent(STEADY * ceiling)} and ${pText(ALPHA_REST, "≤")}`;
}

function environmentText(stretch: WindowRange, metric: Metric, ceiling: number): string {
  if (stretch.comparedRequests <= 0) return "no stable traffic to compare with";
  const expected = `at stable's rate (${percent(stretch.stableBad / stretch.comparedRequests)}) ${shortNumber(stretch.stableBad)} of ${grouped(stretch.comparedRequests)} expected, observed ${grouped(stretch.comparedBad)}`;
  const asked = comparison(stretch, metric, ceiling);
  if (asked === null) return `${expected}; stable is too far below the ceiling to account for it`;
  const { times, chance, most } = asked;
  const rate = times === 1 ? "stable's rate" : "twice stable's rate";
  if (chance === 1) return `${expected}; no more than at ${rate}`;
  return `${expected}; at ${rate} ${pText(chance)}, a fail requires ${pText(most, "≤")}`;
}

function ruledOut(yes: boolean, times: number, { rule, judged }: Found): string {
  const share = percent(times * rule.ceiling);
  if (yes) return `${share} (${times} x the ceiling) is ruled out at 95% confidence`;
  const { run } = judged.view[rule.metric];
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
