/** The two-key rule for one metric of one scope: tests every window range that ends now against the four keys. */
import type { Counts, WindowRange } from "./counts.ts";
import { EMPTY, withWindow, withWindows } from "./counts.ts";
import type { KeyRule } from "./keys.ts";
import { burstFactor, environmentKey, persistenceKey, pValueOf, rateKey, significanceKey } from "./keys.ts";
import { isSharedWindow } from "./left-out-windows.ts";
import { lowerTail, upperTail } from "./p-value.ts";
import { burstsPValue, isRepeated } from "./repeated-bursts.ts";
import {
  ALPHA_FEW,
  ALPHA_HOLD,
  ALPHA_PART,
  ALPHA_RUN,
  ALPHA_STILL_WORSE,
  ALPHA_WORSE,
  EVIDENCE_ERROR,
  FEW_MAX_BAD,
  FEW_MIN_WINDOWS,
  MAX_RANGE_WINDOWS,
  PROMOTE,
  STEP,
} from "./rule.ts";

/** Fewer bad requests than this do not show that the canary is worse than stable. */
const MIN_WORSE_BAD = 5;
/** Sentences never ask for more good requests than this. */
const MAX_REQUESTS_NEEDED = 2 ** 40;

/** One metric of one scope since the start of the run. */
export interface MetricSeries {
  /** The last windows, at most 12, oldest first; the last one is judged. */
  readonly recent: readonly Counts[];
  /** The windows of the run before them. */
  readonly older: WindowRange;
  /** All windows of the run. */
  readonly run: WindowRange;
}

export interface MetricRule extends KeyRule {
  /** Factor on the significance levels: the policy's `evidence`, divided by the number of AZs in the scope of one AZ. */
  readonly levelFactor: number;
  /** Factor on the p-value that makes a window range suspicious: 1, or one over the number of AZs. */
  readonly suspicionFactor: number;
}

/** A window range that reaches the ceiling, with the keys that it satisfies. `whole` is true for the whole run. */
export interface TestedRange {
  readonly range: WindowRange;
  readonly whole: boolean;
  readonly pValue: number;
  readonly bursts: number;
  readonly kind: "fail" | "environment" | "suspicious" | "quiet";
}

export interface MetricFinding {
  readonly kind: "fail" | "environment" | "suspicious" | "clear";
  /** The deciding window range: of this kind, the one with the smallest p-value; null if clear. */
  readonly decided: TestedRange | null;
  /** The smallest p-value over all window ranges that reach the ceiling; null if none does. */
  readonly pValue: number | null;
  /** The number of recent windows in the longest window range, or incident, that stable accounts for; 0 if there is none. */
  readonly explained: number;
}

/** What a run has shown so far, apart from faults. */
export interface Evidence {
  /** Whether gross faults (10 times the ceiling), and faults of twice the ceiling, are ruled out. */
  readonly step: boolean;
  readonly promote: boolean;
  /** The canary is significantly worse than stable over the run, and its last windows still show it. */
  readonly worse: boolean;
}

/** Another series of the same windows that must reach its own ceiling in a window range, or the range is not tested. */
export interface Gate {
  readonly series: MetricSeries;
  readonly ceiling: number;
}

/** @param windowNumber number of the last window since the start of the run (t), from 1 */
export function testRanges(series: MetricSeries, windowNumber: number, rule: MetricRule, gate?: Gate): MetricFinding {
  const tested = testedRanges(series, windowNumber, rule).filter(({ range, whole }) => isOpen(gate, range.windows, whole));
  const best = (kind: TestedRange["kind"]) =>
    tested.filter((one) => one.kind === kind).sort((p, q) => p.pValue - q.pValue)[0] ?? null;
  const incident = continuedIncident(series, rule);
  const decided = best("fail") ?? best("environment") ?? incident?.shown ?? best("suspicious");
  const shared = tested.filter(({ kind }) => kind === "environment").map(({ range }) => range.windows);
  return {
    kind: decided === null ? "clear" : (decided.kind as "fail" | "environment" | "suspicious"),
    decided,
    pValue: tested.length > 0 ? Math.min(...tested.map((one) => one.pValue)) : null,
    explained: Math.min(series.recent.length, Math.max(incident?.continues === true ? 1 : 0, ...shared)),
  };
}

/**
 * An incident on both slices that the window before the last one belongs to: it has just ended, or the last window is shared too,
 * though alone it may be too small to fail.
 */
function continuedIncident(
  { recent }: MetricSeries,
  rule: MetricRule,
): { readonly shown: TestedRange; readonly continues: boolean } | null {
  const [before, last] = [recent.at(-2), recent.at(-1)];
  if (before?.leftOut !== true || last === undefined) return null;
  const continues = isSharedWindow(last, rule);
  const { leftOut: _, ...counts } = continues ? last : before;
  const range = withWindow(EMPTY, counts, rule.ceiling);
  const bursts = burstFactor(range, rule.noise);
  return { shown: { range, whole: false, pValue: pValueOf(range, bursts, rule), bursts, kind: "environment" }, continues };
}

export function evidenceOf({ run, recent }: MetricSeries, rule: MetricRule): Evidence {
  const worse =
    run.comparedBad >= MIN_WORSE_BAD && isWorse(run, ALPHA_WORSE, rule) && (rule.version < 3 || isStillWorse(recent, rule));
  return { step: ruledOut(run, STEP, rule), promote: ruledOut(run, PROMOTE, rule), worse };
}

/** A difference at the start of a long run, such as a slow start, does not block the promotion for the rest of it. */
function isStillWorse(recent: readonly Counts[], rule: MetricRule): boolean {
  return isWorse(withWindows(EMPTY, recent, rule.ceiling), ALPHA_STILL_WORSE, rule);
}

/**
 * After 12 windows every further window requires stronger evidence: (12 / t)^2. Windows without requests are not tested, so they
 * do not count.
 */
function levelFactorAt({ run }: MetricSeries, windowNumber: number, rule: MetricRule): number {
  const windows = rule.version >= 3 ? run.activeWindows : windowNumber;
  return rule.levelFactor * (windows <= MAX_RANGE_WINDOWS ? 1 : (MAX_RANGE_WINDOWS / windows) ** 2);
}

/** The significance level of a window range of a series. @param windowNumber as in `testRanges` */
export function alphaLevel(
  range: WindowRange,
  whole: boolean,
  series: MetricSeries,
  windowNumber: number,
  rule: MetricRule,
): number {
  return levelFactorAt(series, windowNumber, rule) * (whole && windowNumber > 1 ? ALPHA_RUN : partLevel(range, rule));
}

/** With few expected bad requests the counts are so coarse that the plain level is never used up. */
function partLevel({ windows, healthyBad }: WindowRange, { version }: MetricRule): number {
  return version >= 3 && windows >= FEW_MIN_WINDOWS && healthyBad <= FEW_MAX_BAD ? ALPHA_FEW : ALPHA_PART;
}

function isOpen(gate: Gate | undefined, windows: number, whole: boolean): boolean {
  if (gate === undefined) return true;
  const { recent, run } = gate.series;
  if (whole) return rateKey(run, gate.ceiling);
  const counted = recent.slice(-windows).filter(({ leftOut }) => leftOut !== true);
  const sum = (key: "requests" | "bad") => counted.reduce((total, window) => total + window[key], 0);
  return rateKey({ requests: sum("requests"), bad: sum("bad") }, gate.ceiling);
}

/** The last 1 to 12 windows, shorter than the whole run, and the whole run. */
function testedRanges(series: MetricSeries, windowNumber: number, rule: MetricRule): TestedRange[] {
  const tested: TestedRange[] = [];
  const { recent } = series;
  let [requests, bad] = [0, 0];
  let range = EMPTY;
  for (let k = 1; k <= Math.min(windowNumber - 1, recent.length); k++) {
    const window = recent[recent.length - k]!;
    if (window.leftOut !== true) {
      requests += window.requests;
      bad += window.bad;
    }
    // Most window ranges end here, so the sums are computed only if the rate reaches the ceiling.
    if (!rateKey({ requests, bad }, rule.ceiling)) continue;
    while (range.windows < k) range = withWindow(range, recent[recent.length - 1 - range.windows]!, rule.ceiling);
    const level = alphaLevel(range, false, series, windowNumber, rule);
    tested.push(testKeys(range, false, level, rule, isRepeated(recent.slice(-k), rule)));
  }
  const whole = { ...series.run, windows: windowNumber };
  if (rateKey(whole, rule.ceiling)) {
    const level = alphaLevel(whole, true, series, windowNumber, rule);
    tested.push(testKeys(whole, true, level, rule, recent.length === windowNumber && isRepeated(recent, rule)));
  }
  return tested;
}

/**
 * @param level the significance level of the window range
 * @param repeated whether its bursts come back in every window
 */
export function testKeys(range: WindowRange, whole: boolean, level: number, rule: MetricRule, repeated: boolean): TestedRange {
  const bursts = burstFactor(range, rule.noise);
  const counted = pValueOf(range, bursts, rule);
  const pValue = repeated ? Math.min(counted, burstsPValue(range, bursts, rule)) : counted;
  const persists = significanceKey(range, pValue, level) && persistenceKey(range, bursts, rule);
  let kind: TestedRange["kind"] = pValue <= ALPHA_HOLD * rule.suspicionFactor ? "suspicious" : "quiet";
  if (persists) kind = environmentKey(range, rule) ? "fail" : "environment";
  return { range, whole, pValue, bursts, kind };
}

/** The p-value of the whole run, also below the ceiling; null without requests. */
export function pValueOfRun({ run }: MetricSeries, rule: MetricRule): number | null {
  if (run.requests === 0) return null;
  return pValueOf(run, burstFactor(run, rule.noise), rule);
}

/** Whether a service at `times` the ceiling would almost certainly have had more bad requests than this run. */
function ruledOut(run: WindowRange, times: number, rule: MetricRule): boolean {
  return (
    run.requests > 0 &&
    lowerTail(run.bad, times * rule.ceiling * run.requests, evidenceSpread(run, times, rule)) <= EVIDENCE_ERROR
  );
}

function evidenceSpread(run: WindowRange, times: number, rule: MetricRule): number {
  const mean = times * rule.ceiling * run.requests;
  const { overdispersion, burstFactor } = rule.noise;
  return Math.max(1e-9, (burstFactor - 1) / mean + (overdispersion * run.requestSquares) / (run.requests * mean));
}

/** An estimate of the number of good requests, in windows of the current size, that rule out `times` the ceiling. */
export function cleanRequestsNeeded(run: WindowRange, times: number, rule: MetricRule): number {
  const perWindow = run.requests > 0 ? run.requestSquares / run.requests : 0;
  const enough = (requests: number) =>
    ruledOut({ ...EMPTY, requests, requestSquares: requests * Math.min(requests, perWindow) }, times, rule);
  let high = 1;
  while (!enough(high) && high < MAX_REQUESTS_NEEDED) high *= 2;
  let low = Math.floor(high / 2);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (enough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function isWorse(range: WindowRange, level: number, { noise }: MetricRule): boolean {
  const { comparedBad, stableBad, stableVariance, requests, requestSquares } = range;
  if (stableBad <= 0) return false;
  const relativeVariance =
    stableVariance / (stableBad * stableBad) +
    (noise.overdispersion * requestSquares) / (requests * stableBad) +
    (noise.burstFactor - 1) / stableBad;
  return upperTail(comparedBad, stableBad, relativeVariance) <= level;
}
