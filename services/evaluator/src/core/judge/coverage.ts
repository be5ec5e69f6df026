/** What a window can show at all, regardless of the rule: missing evidence is a hold in both modes. */
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import type { Outcome } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { AppliedWindow } from "./apply-window.ts";
import { fitClauses, grouped } from "./format.ts";
import type { GradedReason } from "./graded-reasons.ts";
import { worstOf } from "./graded-reasons.ts";
import type { WindowFigures } from "./literal.ts";
import { WHOLE } from "./rule.ts";

export interface Coverage {
  readonly errors: Outcome;
  readonly latency: Outcome;
  readonly reasons: readonly GradedReason[];
  readonly warnings: readonly Reason[];
}

/** The weight of all traffic, percent: with it on the canary, stable has none. */
export const ALL_WEIGHT = 100;

export function coverageOf(window: ClosedWindow, applied: AppliedWindow, figures: WindowFigures, hasStable: boolean): Coverage {
  const { canary, stable } = figures;
  const whole = holdReason(window, applied, figures);
  const stableExpected = hasStable && !((window.window.weight ?? 0) >= ALL_WEIGHT);
  const comparable = applied.measurements.get(WHOLE)!.limits.regression !== null;
  const latency = whole === null && canary.requests > 0 ? latencyReason(canary.p99Ms, !comparable && stableExpected) : null;
  const found = [whole, latency].filter((reason) => reason !== null);
  return {
    errors: whole === null ? "pass" : "hold",
    latency: worstOf(whole === null ? "pass" : "hold", latency === null ? "pass" : "hold"),
    reasons: found.map((reason) => ({ outcome: "hold", reason })),
    warnings: canary.requests > 0 && stable.requests === 0 ? [aloneWarning(hasStable, comparable)] : [],
  };
}

function holdReason(window: ClosedWindow, { tally }: AppliedWindow, { canary }: WindowFigures): Reason | null {
  if (tally.unreadable !== null) {
    return { code: "gap", text: fitClauses(`This window is unreadable and was rejected: ${tally.unreadable}`) };
  }
  if (!window.complete) {
    if (window.warm_up === true)
      return { code: "warming", text: "The warm-up of the run lies in this window; the next window is judged as a whole." };
    const [first = "signals are missing", ...more] = window.gaps;
    return {
      code: "gap",
      text: fitClauses(`Incomplete window: ${first}`, more.length > 0 ? `, and ${grouped(more.length)} more` : null),
    };
  }
  if (canary.requests > 0) return null;
  return { code: "low_traffic", metric: "requests", value: 0, text: "No requests in this window." };
}

function latencyReason(p99Ms: number | null, lacksStable: boolean): Reason | null {
  if (p99Ms === null) {
    return { code: "low_traffic", metric: "p99_ms", text: "This window has requests without latencies." };
  }
  if (!lacksStable) return null;
  return {
    code: "low_traffic",
    metric: "p99_ms",
    text: "Nothing to compare p99 with: stable had no requests in the last windows.",
  };
}

function aloneWarning(hasStable: boolean, comparable: boolean): Reason {
  const what = hasStable
    ? "Environment unknown: stable had no requests in this window"
    : "Environment unknown: this fleet has no stable slice";
  const text = fitClauses(
    what,
    "; a shared incident cannot be distinguished from a canary fault",
    comparable ? null : ", p99 regression is not judged",
  );
  return { code: "environment", text };
}
