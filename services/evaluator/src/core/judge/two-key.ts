/**
 * The two-key rule over all metrics and views: the canary as a whole, and each of its AZs against the stable gateways of that AZ.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import type { Outcome, Reference } from "@aviary/shared/contract/verdict.ts";
import type { Graded } from "./graded-reasons.ts";
import type { Noise } from "./noise.ts";
import { referenceNoise } from "./reference.ts";
import type { Metric } from "./rule.ts";
import { ceilingOf, compareRate, LAMBDA, METRICS, WHOLE } from "./rule.ts";
import type { ViewScope } from "./sentences.ts";
import { evidenceReason, findingReason, overWarning, promotionWarning, worseWarning } from "./sentences.ts";
import type { JudgedView } from "./traffic-scope.ts";
import type { Evidence, Finding, Rule } from "./window-ranges.ts";
import { evidenceOf, pValueOfRun, testRanges } from "./window-ranges.ts";

export interface TwoKeyInput {
  /** The whole canary first, then its AZs. */
  readonly views: readonly JudgedView[];
  /** Number of the window since the start of the run, from 1. */
  readonly t: number;
  readonly policy: Policy;
  readonly reference: Reference | null;
}

export interface TwoKeyResult {
  readonly outcomes: Readonly<Record<Metric, Outcome>>;
  /** Failures first. */
  readonly reasons: readonly Graded[];
  readonly warnings: readonly Reason[];
  /** Faults of twice the ceiling are ruled out in every metric, and the canary is not significantly worse than stable. */
  readonly promoteEvidence: boolean;
  /** The smallest p-value over everything that reaches a ceiling; if nothing does, that of the run's errors. */
  readonly luck: number | null;
  /** The noise of the 5xx rate. */
  readonly noise: Noise;
}

const RANK = { fail: 3, environment: 2, suspicious: 1, clear: 0 } as const;

/** One metric of one view, with its rule and the finding. */
export interface Found {
  readonly rule: Rule;
  readonly place: ViewScope;
  readonly finding: Finding;
  readonly judged: JudgedView;
}

export function twoKeyRule(input: TwoKeyInput): TwoKeyResult {
  const outcomes: Record<Metric, Outcome> = { errors: "pass", ceiling: "pass", regression: "pass" };
  const ranked: { rank: number; reason: Reason }[] = [];
  const warnings: Reason[] = [];
  const lucks: number[] = [];
  let promoteEvidence = true;
  let ownLuck: number | null = null;
  for (const metric of METRICS) {
    const whole = findIn(input, metric, input.views[0]!);
    // Without a baseline there is no regression to judge; the caller decides whether that is a hold.
    if (whole === null) continue;
    const azs = input.views.length > 2 ? input.views.slice(1).flatMap((view) => findIn(input, metric, view) ?? []) : [];
    const worst = [whole, ...azs].reduce((p, q) => (RANK[q.finding.kind] > RANK[p.finding.kind] ? q : p));
    const series = whole.judged.view[metric];
    const evidence = evidenceOf(series, whole.rule);
    if (worst.finding.kind === "fail") outcomes[metric] = "fail";
    else if (worst.finding.kind !== "clear" || !evidence.step) outcomes[metric] = "hold";
    for (const { finding, rule, place } of shown(whole, azs)) {
      if (finding.decided === null) continue;
      ranked.push({ rank: RANK[finding.kind], reason: findingReason(finding, finding.decided, rule, place) });
    }
    if (!evidence.step && whole.finding.kind === "clear" && series.run.requests > 0) {
      ranked.push({ rank: 0, reason: evidenceReason(series.run, whole.rule, whole.place) });
    }
    warnings.push(...warningsOf(metric, whole, azs, evidence));
    if (!evidence.promote || (metric === "errors" && evidence.worse)) promoteEvidence = false;
    lucks.push(...[whole, ...azs].flatMap(({ finding }) => finding.pValue ?? []));
    if (metric === "errors") ownLuck = pValueOfRun(series, whole.rule);
  }
  ranked.sort((p, q) => q.rank - p.rank);
  return {
    outcomes,
    reasons: ranked.map(({ rank, reason }) => ({ outcome: rank === RANK.fail ? "fail" : "hold", reason })),
    warnings,
    promoteEvidence,
    luck: lucks.length > 0 ? Math.min(...lucks) : ownLuck,
    noise: referenceNoise(input.reference, WHOLE, "errors", ceilingOf("errors", input.policy)).noise,
  };
}

/** The result for a window without requests: none. */
export function nothingToJudge({ reference, policy }: TwoKeyInput): TwoKeyResult {
  const { noise } = referenceNoise(reference, WHOLE, "errors", ceilingOf("errors", policy));
  const outcomes = { errors: "hold", ceiling: "hold", regression: "hold" } as const;
  return { outcomes, reasons: [], warnings: [], promoteEvidence: false, luck: null, noise };
}

/** The whole view, unless it is clear, and the worst AZ if it is no better than the whole. */
function shown(whole: Found, azs: readonly Found[]): Found[] {
  const [worst] = [...azs].sort(
    (p, q) => RANK[q.finding.kind] - RANK[p.finding.kind] || (p.finding.decided?.pValue ?? 1) - (q.finding.decided?.pValue ?? 1),
  );
  if (worst === undefined || RANK[worst.finding.kind] < RANK[whole.finding.kind]) return [whole];
  return RANK[worst.finding.kind] > RANK[whole.finding.kind] ? [worst, whole] : [whole, worst];
}

/** @returns null for the regression of a view without a baseline */
export function findIn(input: TwoKeyInput, metric: Metric, judged: JudgedView): Found | null {
  const { policy, reference, t } = input;
  const { threshold } = judged.measured;
  if (metric === "regression" && threshold === null) return null;
  const ceiling = ceilingOf(metric, policy);
  const { noise, windows } = referenceNoise(reference, judged.name, metric, ceiling);
  const share = judged.name === WHOLE ? 1 : 1 / (input.views.length - 1);
  const baseline =
    metric === "regression" && threshold !== null
      ? (noise.phi + (noise.rho * threshold.timed) / threshold.windows) / (threshold.above + 1)
      : 0;
  const rule: Rule = {
    metric,
    ceiling,
    levelFactor: LAMBDA[policy.evidence] * share,
    suspicionFactor: share,
    noise,
    meanVariance: baseline,
  };
  const limits = { errors: null, ceiling: policy.thresholds.maxP99Ms, regression: threshold?.limitMs ?? null };
  const place: ViewScope = { az: judged.name === WHOLE ? null : judged.name, limitMs: limits[metric], referenceWindows: windows };
  return { rule, place, judged, finding: testRanges(judged.view[metric], t, rule) };
}

/** What is below the rule's threshold and must stay visible. */
function warningsOf(metric: Metric, whole: Found, azs: readonly Found[], evidence: Evidence): Reason[] {
  const warnings: Reason[] = [];
  for (const { judged, finding, rule, place } of [whole, ...azs]) {
    const { requests: n, bad: x } = judged.measured.counts[metric];
    if (finding.kind !== "clear" || n === 0 || compareRate(x, n, rule.ceiling) <= 0) continue;
    warnings.push(overWarning(x, n, metric, rule.ceiling, place, ": consistent with chance"));
  }
  const { finding, rule, place, judged } = whole;
  const run = judged.view[metric].run;
  if (finding.kind !== "clear" || !evidence.step) return warnings;
  if (metric === "errors" && evidence.worse) warnings.push(worseWarning(run, rule));
  else if (!evidence.promote) warnings.push(promotionWarning(run, rule, place));
  return warnings;
}
