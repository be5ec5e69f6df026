/**
 * 4xx responses of the canary against stable's: a release that answers 401 or 404 to everything has no 5xx, is fast, and must not be
 * promoted. The share that clients cause by themselves is stable's, so there is no fixed ceiling: the canary must have four times
 * stable's share, and satisfy the four keys with it.
 */
import { type Policy, SLOTS } from "@aviary/shared/contract/policy.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import type { ClosedWindow, WindowSummary } from "@aviary/shared/contract/window.ts";
import type { Counts } from "./counts.ts";
import { EMPTY, NOTHING, withWindow } from "./counts.ts";
import { fitClauses, grouped, percent, pText, rangeText, roundedFigure } from "./format.ts";
import { rateKey } from "./keys.ts";
import type { MarginalResult } from "./marginal-result.ts";
import { NO_OBJECTION } from "./marginal-result.ts";
import { defaultNoise } from "./noise.ts";
import { EVIDENCE_FACTOR } from "./rule.ts";
import { CURRENT_RULE } from "./rule-version.ts";
import { countsOf } from "./scope-measurement.ts";
import type { MetricRule } from "./window-ranges.ts";
import { testRanges } from "./window-ranges.ts";
import { selectsSource } from "./window-tally.ts";

/** The canary must have this many times stable's share. */
const TIMES_STABLE = 4;
/** Below this share 4xx responses are no storm, however few stable has. */
const MIN_SHARE = 0.01;

/** @param windows the last windows of the run, oldest first; those without counts of 4xx responses are skipped */
export function clientErrorRule(windows: readonly ClosedWindow[], policy: Policy): MarginalResult {
  if (!windows.at(-1)!.cells.some(({ slots }) => slots.some(({ errors_4xx }) => errors_4xx !== undefined))) return NO_OBJECTION;
  const slices = windows.map((window) => slicesOf(window, policy.traffic));
  const known = slices.filter((one) => one !== null);
  const stable = known.reduce((sum, { stable: s }) => ({ n: sum.n + s.n, x: sum.x + s.x }), { n: 0, x: 0 });
  if (stable.n === 0) return NO_OBJECTION;
  const ceiling = Math.max(MIN_SHARE, TIMES_STABLE * ((stable.x + 1) / (stable.n + 1 / MIN_SHARE)));
  if (ceiling >= 1) return NO_OBJECTION;
  const rule: MetricRule = {
    version: CURRENT_RULE,
    metric: "errors",
    ceiling,
    noise: defaultNoise(ceiling),
    meanVariance: 1 / (stable.x + 1),
    levelFactor: EVIDENCE_FACTOR[policy.evidence],
    suspicionFactor: 1,
  };
  const recent = slices.map((one) => (one === null ? NOTHING : shareCounts(one, ceiling / TIMES_STABLE)));
  const run = recent.reduce((sum, window) => withWindow(sum, window, ceiling), EMPTY);
  // A hold is about now: a storm that is over, and a window without counts, is none.
  if (!rateKey(recent.at(-1)!, ceiling)) return NO_OBJECTION;
  const { kind, decided } = testRanges({ recent, older: EMPTY, run }, recent.length, rule);
  if (kind !== "fail" || decided === null) return NO_OBJECTION;
  const { range, whole, pValue } = decided;
  const share = range.bad / range.requests;
  const text = fitClauses(
    `${grouped(range.bad)} of ${grouped(range.requests)} requests were answered with 4xx in ${rangeText(range.windows, whole)} (${percent(share)})`,
    `; stable ${percent(stable.x / stable.n)}`,
    `; ${pText(pValue)} at stable's share`,
  );
  const reason: Reason = {
    code: "over_4xx",
    metric: "4xx_rate",
    value: roundedFigure(share),
    limit: roundedFigure(ceiling),
    unit: "1",
    text,
  };
  return { outcome: policy.over4xx, reasons: [{ outcome: policy.over4xx, reason }] };
}

interface SliceShares {
  readonly canary: { readonly slots: readonly (readonly [requests: number, errors: number])[] };
  readonly stable: { readonly n: number; readonly x: number };
}

/** Both slices in one window; null if a cell has no counts of 4xx responses. */
function slicesOf({ cells }: ClosedWindow, traffic: Policy["traffic"]): SliceShares | null {
  const selected = cells.filter(({ source }) => selectsSource(traffic, source));
  if (selected.length === 0 || selected.some(({ slots }) => slots.some(({ errors_4xx }) => errors_4xx === undefined)))
    return null;
  const sum = (of: readonly WindowSummary[], slot: number, key: "requests" | "errors_4xx") =>
    of.reduce((total, { slots }) => total + (slots[slot]?.[key] ?? 0), 0);
  const slice = (name: "canary" | "stable") => {
    const own = selected.filter((cell) => cell.slice === name);
    return Array.from({ length: SLOTS }, (_, slot) => [sum(own, slot, "requests"), sum(own, slot, "errors_4xx")] as const);
  };
  const stable = slice("stable");
  const total = (k: 0 | 1) => stable.reduce((all, slot) => all + slot[k], 0);
  return { canary: { slots: slice("canary") }, stable: { n: total(0), x: total(1) } };
}

/** @param healthyShare stable's share of 4xx responses */
function shareCounts(slices: SliceShares, healthyShare: number): Counts {
  return countsOf([slices], [slices], healthyShare, ({ canary, stable }) => ({
    slotRequests: canary.slots.map(([requests]) => requests),
    slotBad: canary.slots.map(([, errors]) => errors),
    stableRequests: stable.n,
    stableBad: stable.x,
    slotted: true,
  }));
}
