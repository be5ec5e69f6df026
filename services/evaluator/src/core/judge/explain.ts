/** Every number behind one judgement, in the order in which the rule asks: the four keys of each stretch, then the evidence. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { Stretch } from "./counts.ts";
import { EMPTY, withoutWorst, withWindow } from "./counts.ts";
import { lookAt } from "./judge.ts";
import { burstFactor, environmentKey, luckKey, luckOf, rateKey, steadyKey } from "./keys.ts";
import type { JudgedRun } from "./outcome.ts";
import { FAST, HEALTHY, LEAST_BAD, METRICS, type Metric, PROMOTE, STEP, WHOLE } from "./rule.ts";
import { cleanRequestsNeeded, evidenceOf, luckLevel } from "./scan.ts";
import { type Found, findIn } from "./two-key.ts";
import { grouped, milliseconds, oneIn, percent, stretchWords } from "./words.ts";

/** Explains the judgement of the last of `windows` by the two-key rule, line by line. The arguments are those of `judge`. */
export function explainJudgement(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun): string[] {
  const { input, figures } = lookAt(windows, policy, run);
  if (figures.canary.requests === 0)
    return ["The canary had no request in this window: there is nothing to judge, and that is a hold."];
  const lines: string[] = [];
  for (const view of input.views) {
    // One AZ is the whole canary: it need not be told twice.
    if (view.name !== WHOLE && input.views.length === 2) continue;
    for (const metric of METRICS) {
      const found = findIn(input, metric, view);
      if (found === null) continue;
      lines.push(...explainMetric(found, input.t, metric), "");
    }
  }
  return lines;
}

function explainMetric(found: Found, t: number, metric: Metric): string[] {
  const { rule, place, judged } = found;
  const where = place.az === null ? "" : ` in ${place.az}`;
  const learned =
    place.referenceWindows > 0 ? `learned from ${place.referenceWindows} windows` : "assumed: there was no reference";
  const series = judged.view[metric];
  const lines = [
    `${titleOf(metric, place.limitMs)}${where}: ${percent(rule.ceiling)} is the limit, a healthy canary has at most ${percent(HEALTHY * rule.ceiling)}`,
    `  noise             rates vary by rho ${shortNumber(rule.noise.rho)}, bad requests come ${shortNumber(rule.noise.phi)} at once (${learned})`,
  ];
  for (const { stretch, whole } of told(found, t)) lines.push(...explainStretch(stretch, whole, found, t));
  if (place.az !== null) return lines;
  const evidence = evidenceOf(series, rule);
  lines.push(
    `  evidence          ${ruledOut(evidence.step, STEP, found)}`,
    `  for promotion     ${ruledOut(evidence.promote, PROMOTE, found)}${evidence.worse ? "; but clearly worse than stable" : ""}`,
  );
  return lines;
}

/** The last window, the stretch that decided, and the whole run; each once. */
function told({ finding, judged, rule }: Found, t: number): { stretch: Stretch; whole: boolean }[] {
  const series = judged.view[rule.metric];
  const last = withWindow(EMPTY, series.recent.at(-1)!, rule.ceiling);
  const run = { ...series.run, windows: t };
  const { decided } = finding;
  const middle =
    decided !== null && decided.stretch.windows > 1 && !decided.whole ? [{ stretch: decided.stretch, whole: false }] : [];
  return [{ stretch: last, whole: t === 1 }, ...middle, ...(t > 1 ? [{ stretch: run, whole: true }] : [])];
}

function explainStretch(stretch: Stretch, whole: boolean, { rule, place }: Found, t: number): string[] {
  const { noise, baseline, ceiling, metric } = rule;
  const words = stretchWords(stretch.windows, whole);
  if (stretch.n === 0) return [`  ${words}: no requests`];
  const bad = place.limitMs === null ? "failed" : `took over ${milliseconds(place.limitMs)}`;
  const head = `  ${words}: ${grouped(stretch.x)} of ${grouped(stretch.n)} requests ${bad} (${percent(stretch.x / stretch.n)})`;
  if (!rateKey(stretch, ceiling)) return [head, `    rate key        not turned: below ${percent(ceiling)}`];
  const bursts = burstFactor(stretch, noise);
  const luck = luckOf(stretch, noise, bursts, baseline);
  const level = luckLevel(rule, t, whole);
  const few = stretch.x < LEAST_BAD ? `; fewer than ${LEAST_BAD} never fail` : "";
  const steady = steadyKey(stretch, noise, bursts, baseline, ceiling);
  const stands = environmentKey(stretch, metric, ceiling);
  const keys = [true, luckKey(stretch, luck, level), steady, stands];
  return [
    head,
    `    rate key        turned: reaches ${percent(ceiling)}`,
    `    luck key        ${turned(keys[1]!)}: luck explains this ${oneIn(luck)}; a fail asks for ${oneIn(level)}${few}${bursts >= 2 ? `; counted as bursts of ${Math.round(bursts)}` : ""}`,
    `    steady key      ${turned(steady)}: ${steadyText(stretch, ceiling)}`,
    `    environment key ${turned(stands)}: ${environmentText(stretch)}`,
    `    ${keys.every(Boolean) ? "all four keys turned: this stretch fails the run" : "not all keys turned: this stretch fails nothing"}`,
  ];
}

const turned = (yes: boolean): string => (yes ? "turned" : "not turned");

function steadyText(stretch: Stretch, ceiling: number): string {
  if (stretch.windows === 1) return `one window alone fails only from ${percent(Math.min(1, FAST * ceiling))}`;
  const rest = withoutWorst(stretch);
  return rest.n <= 0
    ? "nothing is left without the worst window"
    : `without its worst window ${grouped(rest.x)} of ${grouped(rest.n)} (${percent(rest.x / rest.n)})`;
}

function environmentText(stretch: Stretch): string {
  if (stretch.ne <= 0) return "there is no stable traffic to compare with";
  return `at stable's rate ${shortNumber(stretch.e)} of ${grouped(stretch.ne)} would be expected, there were ${grouped(stretch.xe)}`;
}

function ruledOut(yes: boolean, times: number, { rule, judged }: Found): string {
  const share = percent(times * rule.ceiling);
  if (yes) return `${share} (${times} x the limit) is ruled out at 95 %`;
  const needed = cleanRequestsNeeded(judged.view[rule.metric].run, times, rule);
  return `${share} (${times} x the limit) is not ruled out: that takes about ${grouped(needed)} requests without a bad one`;
}

function titleOf(metric: Metric, limitMs: number | null): string {
  if (metric === "errors") return "5xx answers";
  const limit = limitMs === null ? "" : milliseconds(limitMs);
  return metric === "ceiling" ? `requests over ${limit}` : `requests over ${limit} (stable's p99 and its margin)`;
}

function shortNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}
