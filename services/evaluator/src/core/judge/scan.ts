/** The two-key rule for one metric of one view: tests every window range that ends now against the four keys. */
import type { Counts, WindowRange } from "./counts.ts";
import { EMPTY, withWindow } from "./counts.ts";
import { burstFactor, environmentKey, persistenceKey, pValueOf, rateKey, significanceKey } from "./keys.ts";
import type { Noise } from "./noise.ts";
import { lowerTail, tail } from "./p-value.ts";
import type { Metric } from "./rule.ts";
import { ALPHA_HOLD, ALPHA_PART, ALPHA_RUN, EVIDENCE_ERROR, LONGEST, PROMOTE, STEP, WORSE } from "./rule.ts";

/** Sentences never ask for more good requests than this. */
const MOST = 2 ** 40;

/** One metric of one view since the start of the run. */
export interface Series {
  /** The last windows, at most 12, oldest first; the last one is judged. */
  readonly recent: readonly Counts[];
  /** All windows of the run. */
  readonly run: WindowRange;
}

export interface Rule {
  readonly metric: Metric;
  /** Allowed share of bad requests, a ratio. */
  readonly ceiling: number;
  /** Factor on the significance levels: the policy's `evidence`, divided by the number of AZs in the view of one AZ. */
  readonly lambda: number;
  /** Factor on the p-value that makes a window range suspicious: 1, or one over the number of AZs. */
  readonly suspicion: number;
  readonly noise: Noise;
  /**
   * Relative variance of the healthy mean itself: 0, or for a regression the uncertainty of stable's own share of slow requests.
   */
  readonly baseline: number;
}

/** A window range that reaches the ceiling, with the keys it turned. `whole` is true for the whole run. */
export interface Tried {
  readonly stretch: WindowRange;
  readonly whole: boolean;
  readonly luck: number;
  readonly bursts: number;
  readonly kind: "fail" | "environment" | "suspicious" | "quiet";
}

export interface Finding {
  readonly kind: "fail" | "environment" | "suspicious" | "clear";
  /** The deciding window range: of this kind, the one with the smallest p-value; null if clear. */
  readonly decided: Tried | null;
  /** The smallest p-value over all window ranges that reach the ceiling; null if none does. */
  readonly luck: number | null;
}

/** What a run has shown so far, apart from faults. */
export interface Evidence {
  /** Whether gross faults (10 times the ceiling), and faults of twice the ceiling, are ruled out. */
  readonly step: boolean;
  readonly promote: boolean;
  /** The canary is significantly worse than stable over the run. */
  readonly worse: boolean;
}

/** @param t number of the last window since the start of the run, from 1 */
export function scan(series: Series, t: number, rule: Rule): Finding {
  const tried = stretches(series, t, rule);
  const decided = (["fail", "environment", "suspicious"] as const)
    .map((kind) => tried.filter((one) => one.kind === kind).sort((p, q) => p.luck - q.luck)[0])
    .find((one) => one !== undefined);
  return {
    kind: decided === undefined ? "clear" : (decided.kind as "fail" | "environment" | "suspicious"),
    decided: decided ?? null,
    luck: tried.length > 0 ? Math.min(...tried.map((one) => one.luck)) : null,
  };
}

export function evidenceOf({ run }: Series, rule: Rule): Evidence {
  return { step: ruledOut(run, STEP, rule), promote: ruledOut(run, PROMOTE, rule), worse: isWorse(run, rule) };
}

/** After 12 windows every further window requires stronger evidence: (12 / t)^2. */
function brakeOf(rule: Rule, t: number): number {
  return rule.lambda * (t <= LONGEST ? 1 : (LONGEST / t) ** 2);
}

/** The significance level of a window range. */
export function alphaLevel(rule: Rule, t: number, whole: boolean): number {
  return (whole && t > 1 ? ALPHA_RUN : ALPHA_PART) * brakeOf(rule, t);
}

/** The last 1 to 12 windows, shorter than the whole run, and the whole run. */
function stretches(series: Series, t: number, rule: Rule): Tried[] {
  const tried: Tried[] = [];
  const { recent } = series;
  let [n, x] = [0, 0];
  let stretch = EMPTY;
  for (let k = 1; k <= Math.min(t - 1, recent.length); k++) {
    const window = recent[recent.length - k]!;
    n += window.n;
    x += window.x;
    // Most window ranges end here, so the sums are computed only if the rate reaches the ceiling.
    if (!rateKey({ n, x }, rule.ceiling)) continue;
    while (stretch.windows < k) stretch = withWindow(stretch, recent[recent.length - 1 - stretch.windows]!, rule.ceiling);
    tried.push(tryKeys(stretch, false, alphaLevel(rule, t, false), rule));
  }
  const whole = { ...series.run, windows: t };
  if (rateKey(whole, rule.ceiling)) tried.push(tryKeys(whole, true, alphaLevel(rule, t, true), rule));
  return tried;
}

/** @param level the significance level of the window range */
export function tryKeys(stretch: WindowRange, whole: boolean, level: number, rule: Rule): Tried {
  const { noise, baseline, ceiling } = rule;
  const bursts = burstFactor(stretch, noise);
  const luck = pValueOf(stretch, noise, bursts, baseline);
  const lucky = significanceKey(stretch, luck, level);
  const steady = lucky && persistenceKey(stretch, noise, bursts, baseline, ceiling);
  let kind: Tried["kind"] = luck <= ALPHA_HOLD * rule.suspicion ? "suspicious" : "quiet";
  if (steady) kind = environmentKey(stretch, rule.metric, ceiling) ? "fail" : "environment";
  return { stretch, whole, luck, bursts, kind };
}

/** The p-value of the whole run, also below the ceiling; null without requests. */
export function pValueOfRun({ run }: Series, rule: Rule): number | null {
  if (run.n === 0) return null;
  return pValueOf(run, rule.noise, burstFactor(run, rule.noise), rule.baseline);
}

/** Whether a service at `times` the ceiling would almost certainly have had more bad requests than this run. */
function ruledOut(run: WindowRange, times: number, rule: Rule): boolean {
  return run.n > 0 && lowerTail(run.x, times * rule.ceiling * run.n, evidenceSpread(run, times, rule)) <= EVIDENCE_ERROR;
}

function evidenceSpread(run: WindowRange, times: number, rule: Rule): number {
  const mu = times * rule.ceiling * run.n;
  return Math.max(1e-9, (rule.noise.phi - 1) / mu + (rule.noise.rho * run.q) / (run.n * mu));
}

/** An estimate of the number of good requests, in windows of the current size, that rule out `times` the ceiling. */
export function cleanRequestsNeeded(run: WindowRange, times: number, rule: Rule): number {
  const perWindow = run.n > 0 ? run.q / run.n : 0;
  const enough = (n: number) => ruledOut({ ...EMPTY, n, q: n * Math.min(n, perWindow) }, times, rule);
  let high = 1;
  while (!enough(high) && high < MOST) high *= 2;
  let low = Math.floor(high / 2);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (enough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function isWorse(run: WindowRange, rule: Rule): boolean {
  if (run.xe < 5 || run.e <= 0) return false;
  const c = run.v / (run.e * run.e) + (rule.noise.rho * run.q) / (run.n * run.e) + (rule.noise.phi - 1) / run.e;
  return tail(run.xe, run.e, c) <= WORSE;
}
