/** Every number behind one judgement, in the order in which the rule asks: the four keys of each stretch, then the evidence. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { WindowRange } from "./counts.ts";
import { EMPTY, withoutWorst, withWindow } from "./counts.ts";
import { judgeWindows } from "./judge.ts";
import { comparison, environmentKey, persistenceKey, pValueOf, rateKey, significanceKey } from "./keys.ts";
import { healthyShare } from "./measure.ts";
import type { JudgedRun } from "./outcome.ts";
import { ALPHA_HOLD, ALPHA_REST, HEALTHY, LEAST_BAD, METRICS, type Metric, PROMOTE, STEADY, STEP, WHOLE } from "./rule.ts";
import { alphaLevel, cleanRequestsNeeded, evidenceOf, type Tried, tryKeys } from "./scan.ts";
import { aloneText } from "./sentences.ts";
import type { Threshold } from "./stable-band.ts";
import { type Found, findIn, type TwoKeyInput } from "./two-key.ts";
import { grouped, milliseconds, oneIn, percent, stretchWords } from "./words.ts";

/** Explains the judgement of the last of `windows` by the two-key rule, line by line. The arguments are those of `judge`. */
export function explainJudgement(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun): string[] {
  const { input, figures } = judgeWindows(windows, policy, run);
  if (figures.canary.requests === 0)
    return ["The canary had no request in this window: there is nothing to judge, and that is a hold."];
  const lines: string[] = [];
  for (const view of input.views) {
    // One AZ is the whole canary: it need not be told twice.
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
  const learned = place.referenceWindows > 0 ? learnedFrom(place.referenceWindows, reference) : "assumed: there was no reference";
  const series = judged.view[metric];
  const lines = [
    `${titleOf(metric, place.limitMs)}${where}: ${percent(rule.ceiling)} is the limit, a healthy canary has at most ${percent(healthy)}`,
    ...(regression ? [`  threshold         ${thresholdText(threshold, policy)}`] : []),
    `  noise             rates vary by rho ${shortNumber(rule.noise.rho)}, bad requests come ${shortNumber(rule.noise.phi)} at once (${learned})`,
  ];
  if (rule.baseline > 0)
    lines.push(`                    stable's own share is known to within ${percent(Math.sqrt(rule.baseline))} of it`);
  for (const { stretch, whole } of told(found, t)) lines.push(...explainStretch(stretch, whole, found, t));
  if (place.az !== null) return lines;
  const evidence = evidenceOf(series, rule);
  lines.push(
    `  evidence          ${ruledOut(evidence.step, STEP, found)}`,
    `  for promotion     ${ruledOut(evidence.promote, PROMOTE, found)}${evidence.worse ? "; but clearly worse than stable" : ""}`,
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

/** The last window, the stretch that decided, and the whole run; each once. */
function told({ finding, judged, rule }: Found, t: number): { stretch: WindowRange; whole: boolean }[] {
  const series = judged.view[rule.metric];
  const last = withWindow(EMPTY, series.recent.at(-1)!, rule.ceiling);
  const run = { ...series.run, windows: t };
  const { decided } = finding;
  const middle =
    decided !== null && decided.stretch.windows > 1 && !decided.whole ? [{ stretch: decided.stretch, whole: false }] : [];
  return [{ stretch: last, whole: t === 1 }, ...middle, ...(t > 1 ? [{ stretch: run, whole: true }] : [])];
}

function explainStretch(stretch: WindowRange, whole: boolean, { rule, place }: Found, t: number): string[] {
  const { noise, baseline, ceiling, metric } = rule;
  const words = stretchWords(stretch.windows, whole);
  if (stretch.n === 0) return [`  ${words}: no requests`];
  const bad = place.limitMs === null ? "failed" : `took over ${milliseconds(place.limitMs)}`;
  const head = `  ${words}: ${grouped(stretch.x)} of ${grouped(stretch.n)} requests ${bad} (${percent(stretch.x / stretch.n)})`;
  if (!rateKey(stretch, ceiling)) return [head, `    rate key        not turned: below ${percent(ceiling)}`];
  const level = alphaLevel(rule, t, whole);
  const { luck, bursts, kind } = tryKeys(stretch, whole, level, rule);
  const few = stretch.x < LEAST_BAD ? `; fewer than ${LEAST_BAD} never fail` : "";
  const steady = persistenceKey(stretch, noise, bursts, baseline, ceiling);
  return [
    head,
    `    rate key        turned: reaches ${percent(ceiling)}`,
    `    luck key        ${turned(significanceKey(stretch, luck, level))}: luck explains this ${oneIn(luck)}; a fail asks for ${oneIn(level)}${few}${bursts >= 2 ? `; counted as bursts of ${Math.round(bursts)}` : ""}`,
    `    steady key      ${turned(steady)}: ${steadyText(stretch, bursts, rule)}`,
    `    environment key ${turned(environmentKey(stretch, metric, ceiling))}: ${environmentText(stretch, metric, ceiling)}`,
    `    ${CONCLUSIONS[kind](rule.suspicion)}`,
  ];
}

const turned = (yes: boolean): string => (yes ? "turned" : "not turned");

/** What the keys make of a stretch together. */
const CONCLUSIONS: Readonly<Record<Tried["kind"], (suspicion: number) => string>> = {
  fail: () => "all four keys turned: this stretch fails the run",
  environment: () => "not all keys turned: stable explains it, this stretch holds the run",
  suspicious: (suspicion) =>
    `not all keys turned: it fails nothing, but from ${oneIn(ALPHA_HOLD * suspicion)} on a stretch holds the run`,
  quiet: () => "not all keys turned: this stretch says nothing against the canary",
};

function steadyText(stretch: WindowRange, bursts: number, { noise, baseline, ceiling }: Found["rule"]): string {
  if (stretch.windows === 1) return aloneText(ceiling);
  const rest = withoutWorst(stretch);
  if (rest.n <= 0) return "nothing is left without the worst window";
  const left = `without its worst window ${grouped(rest.x)} of ${grouped(rest.n)} (${percent(rest.x / rest.n)})`;
  const luck = rest.x > 0 ? `, luck explains that ${oneIn(pValueOf(rest, noise, bursts, baseline))}` : "";
  return `${left}${luck}; a fail asks for ${percent(STEADY * ceiling)} and ${oneIn(ALPHA_REST)}`;
}

function environmentText(stretch: WindowRange, metric: Metric, ceiling: number): string {
  if (stretch.ne <= 0) return "there is no stable traffic to compare with";
  const expected = `at stable's rate (${percent(stretch.e / stretch.ne)}) ${shortNumber(stretch.e)} of ${grouped(stretch.ne)} would be expected, there were ${grouped(stretch.xe)}`;
  const asked = comparison(stretch, metric, ceiling);
  if (asked === null) return `${expected}; so little on stable explains nothing`;
  const { times, chance, most } = asked;
  const rate = times === 1 ? "stable's rate" : "twice stable's rate";
  if (chance === 1) return `${expected}; that is no more than at ${rate}`;
  return `${expected}; at ${rate} luck explains so many ${oneIn(chance)}, a fail asks for ${oneIn(most)}`;
}

function ruledOut(yes: boolean, times: number, { rule, judged }: Found): string {
  const share = percent(times * rule.ceiling);
  if (yes) return `${share} (${times} x the limit) is ruled out at 95 %`;
  const { run } = judged.view[rule.metric];
  const needed = grouped(cleanRequestsNeeded(run, times, rule));
  return `${share} (${times} x the limit) is not ruled out by ${grouped(run.n)} requests with ${grouped(run.x)} bad ones: about ${needed} without one would do`;
}

function titleOf(metric: Metric, limitMs: number | null): string {
  if (metric === "errors") return "5xx answers";
  const limit = limitMs === null ? "" : milliseconds(limitMs);
  return metric === "ceiling" ? `requests over ${limit}` : `requests over ${limit} (stable's p99 and its margin)`;
}

function shortNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}
