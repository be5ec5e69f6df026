/**
 * The two-key rule at the level of counts: the judge's own code (`learnNoise`, `withWindow`, `testRanges`, `evidenceOf`), without
 * closed windows, histograms and sentences. A test asserts that it agrees with `judge`.
 */
import type { Counts, WindowRange } from "../../services/evaluator/src/core/judge/counts.ts";
import { EMPTY, NOTHING, withWindow } from "../../services/evaluator/src/core/judge/counts.ts";
import type { Noise } from "../../services/evaluator/src/core/judge/noise.ts";
import { defaultNoise, learnNoise } from "../../services/evaluator/src/core/judge/noise.ts";
import type { Metric } from "../../services/evaluator/src/core/judge/rule.ts";
import { HEALTHY, LONGEST } from "../../services/evaluator/src/core/judge/rule.ts";
import type { Evidence, Finding, Rule } from "../../services/evaluator/src/core/judge/window-ranges.ts";
import { evidenceOf, testRanges } from "../../services/evaluator/src/core/judge/window-ranges.ts";
import type { Knowledge } from "./scenario.ts";
import type { AzCounts, SimulatedWindow, SliceCounts } from "./traffic.ts";

/** One view of a run: the whole canary, or one of its AZs. */
export interface ViewRun {
  /**
   * Applies the next window and judges it. @param baseline for a regression, the relative variance of stable's share; otherwise 0
   */
  see(counts: Counts, baseline?: number): Finding;
  evidence(): Evidence;
}

/** @param share 1, or one over the number of AZs in the view of one AZ */
export function viewRun(metric: Metric, ceiling: number, noise: Noise, lambda = 1, share = 1): ViewRun {
  let recent: readonly Counts[] = [];
  let run: WindowRange = EMPTY;
  let t = 0;
  const rule: { -readonly [key in keyof Rule]: Rule[key] } = {
    metric,
    ceiling,
    levelFactor: lambda * share,
    suspicionFactor: share,
    noise,
    meanVariance: 0,
  };
  return {
    see(counts, baseline = 0) {
      recent = recent.length < LONGEST ? [...recent, counts] : [...recent.slice(1), counts];
      run = withWindow(run, counts, ceiling);
      rule.meanVariance = baseline;
      t++;
      return testRanges({ recent, run }, t, rule);
    },
    evidence: () => evidenceOf({ recent, run }, rule),
  };
}

export type Kind = Finding["kind"];

/** The rule's result for one window: of the whole canary, and the worst of its AZs. */
export interface RuleResult {
  readonly kind: Kind;
  readonly luck: number | null;
}

const RANK: Readonly<Record<Kind, number>> = { fail: 3, environment: 2, suspicious: 1, clear: 0 };

/** The 5xx rate of a whole run. */
export interface ErrorRun {
  see(window: SimulatedWindow): RuleResult;
  evidence(): Evidence;
}

export function errorRun(ceiling: number, noise: Noise, azs: number, lambda = 1): ErrorRun {
  const whole = viewRun("errors", ceiling, noise, lambda);
  const apart = azs > 1 ? Array.from({ length: azs }, () => viewRun("errors", ceiling, noise, lambda, 1 / azs)) : [];
  return {
    see(window) {
      const findings = [
        whole.see(errorCounts(window, ceiling)),
        ...apart.map((view, k) => view.see(errorCounts([window[k]!], ceiling))),
      ];
      const { kind } = findings.reduce((p, q) => (RANK[q.kind] > RANK[p.kind] ? q : p));
      const lucks = findings.flatMap(({ pValue: luck }) => luck ?? []);
      return { kind, luck: lucks.length > 0 ? Math.min(...lucks) : null };
    },
    evidence: () => whole.evidence(),
  };
}

/** The counts of these AZs, each compared with the stable slice of the same AZ. */
export function errorCounts(azs: readonly AzCounts[], ceiling: number): Counts {
  let [n, x, s2, q2, e, v, xe, ne] = [0, 0, 0, 0, 0, 0, 0, 0];
  const [{ canary: first }] = azs as readonly [AzCounts];
  for (let k = 0; k < first.n.length; k++) {
    let slotN = 0;
    let slotX = 0;
    for (const { canary } of azs) {
      slotN += canary.n[k]!;
      slotX += canary.x[k]!;
    }
    n += slotN;
    x += slotX;
    s2 += slotX * slotX;
    q2 += slotN * slotN;
  }
  if (n === 0) return NOTHING;
  for (const { canary, stable } of azs) {
    const stableN = sum(stable.n);
    const own = sum(canary.n);
    if (stableN === 0 || own === 0) continue;
    const share = own / stableN;
    const stableX = sum(stable.x);
    e += share * stableX;
    v += share * share * stableX;
    xe += sum(canary.x);
    ne += own;
  }
  return {
    requests: n,
    bad: x,
    badSquares: s2,
    requestSquares: q2,
    healthyBad: HEALTHY * ceiling * n,
    stableBad: e,
    stableVariance: v,
    comparedBad: xe,
    comparedRequests: ne,
  };
}

/** What the judge learns before a run. */
export function noiseOf(knows: Knowledge, reference: readonly SliceCounts[], ceiling: number): Noise {
  if (knows === "nothing") return defaultNoise(ceiling);
  if ("rho" in knows) return knows;
  return learnNoise(
    reference.map(({ n, x }) => ({
      ...NOTHING,
      requests: sum(n),
      bad: sum(x),
      badSquares: squares(x),
      requestSquares: squares(n),
    })),
    ceiling,
  );
}

export function sum(values: readonly number[]): number {
  let total = 0;
  for (let k = 0; k < values.length; k++) total += values[k]!;
  return total;
}

function squares(values: readonly number[]): number {
  let total = 0;
  for (let k = 0; k < values.length; k++) total += values[k]! * values[k]!;
  return total;
}
