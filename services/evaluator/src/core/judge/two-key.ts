/**
 * The two-key rule over all metrics and scopes: the canary as a whole, and each of its AZs against the stable gateways of that AZ.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import type { Outcome, Reference } from "@aviary/shared/contract/verdict.ts";
import type { Counts } from "./counts.ts";
import type { GradedReason } from "./graded-reasons.ts";
import { markLike, markShared } from "./left-out-windows.ts";
import type { Noise } from "./noise.ts";
import { isStableOverCeiling, referenceNoise } from "./reference.ts";
import type { Threshold } from "./regression-limits.ts";
import { isTail } from "./regression-limits.ts";
import type { Metric, SeriesName } from "./rule.ts";
import { ceilingOf, compareRate, EVIDENCE_FACTOR, METRICS, WHOLE } from "./rule.ts";
import type { RuleVersion } from "./rule-version.ts";
import type { ScopeLabel } from "./sentences.ts";
import { evidenceReason, findingReason, overWarning, promotionWarning, raiseCeilingWarning, worseWarning } from "./sentences.ts";
import type { JudgedScope } from "./traffic-scope.ts";
import type { Evidence, Gate, MetricFinding, MetricRule } from "./window-ranges.ts";
import { evidenceOf, pValueOfRun, testRanges } from "./window-ranges.ts";

export interface TwoKeyInput {
  /** The whole canary first, then its AZs. */
  readonly scopes: readonly JudgedScope[];
  /** Number of the window since the start of the run, from 1. */
  readonly windowNumber: number;
  readonly policy: Policy;
  readonly reference: Reference | null;
  readonly version: RuleVersion;
}

export interface TwoKeyResult {
  readonly outcomes: Readonly<Record<Metric, Outcome>>;
  /** Failures first. */
  readonly reasons: readonly GradedReason[];
  readonly warnings: readonly Reason[];
  /** Faults of twice the ceiling are ruled out in every metric, and the canary is not significantly worse than stable. */
  readonly promoteEvidence: boolean;
  /** The smallest p-value over everything that reaches a ceiling; if nothing does, that of the run's errors. */
  readonly pValue: number | null;
  /** The noise of the 5xx rate. */
  readonly noise: Noise;
  /** By scope: the recent windows of the metrics in which stable accounts for some, which are marked. */
  readonly marked: ReadonlyMap<string, MarkedSeries>;
}

/** The recent windows of the series in which some are left out. */
type MarkedSeries = Partial<Record<SeriesName, readonly Counts[]>>;

const RANK = { fail: 3, environment: 2, suspicious: 1, clear: 0 } as const;

/** One metric of one scope, with its rule and the finding. */
export interface MetricResult {
  /** The rule of the finding. */
  readonly rule: MetricRule;
  /** The rule of the metric itself, for evidence. */
  readonly evidenceRule: MetricRule;
  readonly label: ScopeLabel;
  readonly finding: MetricFinding;
  readonly scope: JudgedScope;
}

export function twoKeyRule(input: TwoKeyInput): TwoKeyResult {
  const outcomes: Record<Metric, Outcome> = { errors: "pass", ceiling: "pass", regression: "pass" };
  const ranked: RankedReason[] = [];
  const warnings: Reason[] = [];
  const pValues: number[] = [];
  const marked = new Map<string, MarkedSeries>();
  let promoteEvidence = true;
  let errorsPValue: number | null = null;
  for (const metric of METRICS) {
    if (metric === "ceiling" && isUnusableCeiling(input)) {
      warnings.push(raiseCeilingWarning(input.policy, input.reference!.windows));
      continue;
    }
    const whole = testMetric(input, metric, input.scopes[0]!);
    // Without stable's latencies there is no regression to judge; the caller decides whether that is a hold.
    if (whole === null) continue;
    const azs = input.scopes.length > 2 ? input.scopes.slice(1).flatMap((scope) => testMetric(input, metric, scope) ?? []) : [];
    for (const result of [whole, ...azs]) {
      const known = marked.get(result.scope.name) ?? {};
      marked.set(result.scope.name, { ...known, ...markedWindows(result, metric) });
    }
    const series = whole.scope.series[metric];
    const evidence = evidenceOf(series, whole.evidenceRule);
    outcomes[metric] = outcomeOf([whole, ...azs], evidence);
    ranked.push(...rankedReasons(whole, azs, evidence));
    warnings.push(...warningsOf(metric, whole, azs, evidence));
    if (!evidence.promote || (metric === "errors" && evidence.worse)) promoteEvidence = false;
    pValues.push(...[whole, ...azs].flatMap(({ finding }) => finding.pValue ?? []));
    if (metric === "errors") errorsPValue = pValueOfRun(series, whole.evidenceRule);
  }
  ranked.sort((p, q) => q.rank - p.rank);
  return {
    outcomes,
    reasons: ranked.map(({ rank, reason }) => ({ outcome: rank === RANK.fail ? "fail" : "hold", reason })),
    warnings,
    promoteEvidence,
    pValue: pValues.length > 0 ? Math.min(...pValues) : errorsPValue,
    noise: referenceNoise(input.reference, WHOLE, "errors", ceilingOf("errors", input.policy)).noise,
    marked,
  };
}

/** A ceiling that stable is over by itself is not judged, as long as the canary is compared with stable. */
export function isUnusableCeiling({ version, reference, scopes }: TwoKeyInput): boolean {
  return version >= 3 && isStableOverCeiling(reference) && scopes[0]!.measurement.limits.regression !== null;
}

/** A failed run stays failed: its windows stay as they are. */
function markedWindows({ finding, scope, rule }: MetricResult, metric: Metric): MarkedSeries {
  if (finding.kind === "fail" || finding.explained === 0 || rule.version < 3) return {};
  const own = markShared(scope.series[metric].recent, finding.explained, rule);
  if (metric !== "regression") return { [metric]: own };
  return { regression: own, body: markLike(scope.series.body.recent, own) };
}

/** The worst finding decides; a clear one is a pass only with enough evidence. */
function outcomeOf(results: readonly MetricResult[], evidence: Evidence): Outcome {
  const kinds = results.map(({ finding }) => finding.kind);
  if (kinds.includes("fail")) return "fail";
  return evidence.step && kinds.every((kind) => kind === "clear") ? "pass" : "hold";
}

interface RankedReason {
  readonly rank: number;
  readonly reason: Reason;
}

function rankedReasons(whole: MetricResult, azs: readonly MetricResult[], evidence: Evidence): RankedReason[] {
  const ranked = reportedResults(whole, azs).flatMap(({ finding, rule, label }) =>
    finding.decided === null ? [] : { rank: RANK[finding.kind], reason: findingReason(finding, finding.decided, rule, label) },
  );
  const { run } = whole.scope.series[whole.rule.metric];
  if (!evidence.step && whole.finding.kind === "clear" && run.requests > 0)
    ranked.push({ rank: RANK.clear, reason: evidenceReason(run, whole.rule, whole.label) });
  return ranked;
}

/** The result for a window without requests: none. */
export function nothingToJudge({ reference, policy }: TwoKeyInput): TwoKeyResult {
  const { noise } = referenceNoise(reference, WHOLE, "errors", ceilingOf("errors", policy));
  const outcomes = { errors: "hold", ceiling: "hold", regression: "hold" } as const;
  return { outcomes, reasons: [], warnings: [], promoteEvidence: false, pValue: null, noise, marked: new Map() };
}

/** The whole canary, unless it is clear, and the worst AZ if it is no better than the whole. */
function reportedResults(whole: MetricResult, azs: readonly MetricResult[]): MetricResult[] {
  const [worst] = [...azs].sort(
    (p, q) => RANK[q.finding.kind] - RANK[p.finding.kind] || (p.finding.decided?.pValue ?? 1) - (q.finding.decided?.pValue ?? 1),
  );
  if (worst === undefined || RANK[worst.finding.kind] < RANK[whole.finding.kind]) return [whole];
  return RANK[worst.finding.kind] > RANK[whole.finding.kind] ? [worst, whole] : [whole, worst];
}

/** @returns null for the regression of a scope without stable's latencies */
export function testMetric(input: TwoKeyInput, metric: Metric, scope: JudgedScope): MetricResult | null {
  const own = testSeries(input, metric, scope);
  if (own === null || metric !== "regression" || input.version < 3) return own;
  const gate = { series: scope.series.regression, ceiling: own.rule.ceiling };
  const body = testSeries(input, "body", scope, gate);
  if (body?.finding.kind !== "fail") return own;
  const isOwn = own.finding.kind === "fail" && own.finding.decided!.pValue <= body.finding.decided!.pValue;
  return isOwn ? own : { ...body, evidenceRule: own.rule };
}

/** @param gate another series that must reach its ceiling in the same window range */
function testSeries(input: TwoKeyInput, name: SeriesName, scope: JudgedScope, gate?: Gate): MetricResult | null {
  const { policy, reference, windowNumber, version } = input;
  const threshold = isTail(name) ? scope.measurement.limits[name] : undefined;
  if (threshold === null) return null;
  const ceiling = ceilingOf(name, policy);
  const { noise, windows } = referenceNoise(reference, scope.name, name, ceiling);
  const share = scope.name === WHOLE ? 1 : 1 / (input.scopes.length - 1);
  const rule: MetricRule = {
    version,
    metric: name,
    ceiling,
    levelFactor: EVIDENCE_FACTOR[policy.evidence] * share,
    suspicionFactor: share,
    noise,
    meanVariance: threshold === undefined ? 0 : relativeVariance(threshold, noise),
  };
  const limitMs = threshold?.limitMs ?? (name === "ceiling" ? policy.thresholds.maxP99Ms : null);
  const label: ScopeLabel = { az: scope.name === WHOLE ? null : scope.name, limitMs, referenceWindows: windows };
  return { rule, evidenceRule: rule, label, scope, finding: testRanges(scope.series[name], windowNumber, rule, gate) };
}

/** Relative variance of stable's own share of requests above the threshold. */
export function relativeVariance({ timed, above, windows }: Threshold, noise: Noise): number {
  return (noise.burstFactor + (noise.overdispersion * timed) / windows) / (above + 1);
}

/** What is below the rule's threshold and must stay visible. */
function warningsOf(metric: Metric, whole: MetricResult, azs: readonly MetricResult[], evidence: Evidence): Reason[] {
  const warnings: Reason[] = [];
  for (const { scope, finding, rule, label } of [whole, ...azs]) {
    const { requests, bad } = scope.measurement.counts[metric];
    if (finding.kind !== "clear" || requests === 0 || compareRate(bad, requests, rule.ceiling) <= 0) continue;
    warnings.push(overWarning({ requests, bad, metric, ceiling: rule.ceiling, label, why: ": consistent with chance" }));
  }
  const { finding, rule, label, scope } = whole;
  const { run } = scope.series[metric];
  if (finding.kind !== "clear" || !evidence.step) return warnings;
  if (metric === "errors" && evidence.worse) warnings.push(worseWarning(run, rule));
  else if (!evidence.promote) warnings.push(promotionWarning(run, rule, label));
  return warnings;
}
