/**
 * The queue rule, the same in both modes. A canary lane deeper than its ceiling is a hold; if it also grew while the canary's
 * weight rose, it is a failure. Growth below the ceiling is a warning.
 *
 * "While the weight rose" is the window range that starts just before the last rise of the weight and ends now, extended into the
 * past until it has three windows with a known depth; the weight must be higher at its end than at its start.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import type { Outcome } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { fitClauses, grouped } from "./format.ts";
import type { GradedReason } from "./graded-reasons.ts";

export interface QueueResult {
  readonly outcome: Outcome;
  readonly reasons: readonly GradedReason[];
  readonly warnings: readonly Reason[];
}

const MIN_WINDOWS = 3;
const PASS: QueueResult = { outcome: "pass", reasons: [], warnings: [] };

/** @param windows oldest first; the last one is judged */
export function queueRule(windows: readonly ClosedWindow[], policy: Policy): QueueResult {
  const depth = windows.at(-1)?.queue_depth ?? null;
  if (depth === null) return unknownDepth(windows);
  if (!Number.isInteger(depth) || depth < 0) {
    return held({
      code: "gap",
      metric: "queue_depth",
      text: fitClauses(`A queue depth of ${depth} is not a count and was rejected`),
    });
  }
  const limit = policy.thresholds.maxQueueDepth;
  const growing = growthWhileRising(windows);
  const figures = { metric: "queue_depth", value: depth, limit, unit: "jobs" };
  const deep = `${grouped(depth)} jobs are waiting in the canary's lane, limit ${grouped(limit)}`;
  if (growing !== null) {
    const growth = `about ${Number(growing.slope.toFixed(1))} more per window over ${growing.windows} windows while the weight rose from ${growing.from}% to ${growing.to}%`;
    if (depth > limit) {
      const reason: Reason = { code: "queue_growth", ...figures, text: fitClauses(`${deep}: ${growth}`) };
      return { outcome: "fail", reasons: [{ outcome: "fail", reason }], warnings: [] };
    }
    const text = fitClauses(`The canary's lane grows: ${growth}; ${grouped(depth)} of ${grouped(limit)} jobs now`);
    return { outcome: "pass", reasons: [], warnings: [{ code: "queue_growth", ...figures, text }] };
  }
  if (depth <= limit) return PASS;
  return held({ code: "queue_high", ...figures, text: fitClauses(deep) });
}

/** A canary without a lane has no depth in any window; a depth that was reported before and is missing now is a hold. */
function unknownDepth(windows: readonly ClosedWindow[]): QueueResult {
  const before = windows.findLast((window) => window.queue_depth !== null);
  if (before === undefined) return PASS;
  const text = fitClauses(
    `No depth of the canary's lane was reported in this window; it was ${grouped(before.queue_depth!)} before`,
  );
  return held({ code: "gap", metric: "queue_depth", text });
}

function held(reason: Reason): QueueResult {
  return { outcome: "hold", reasons: [{ outcome: "hold", reason }], warnings: [] };
}

interface Growth {
  readonly slope: number;
  readonly windows: number;
  readonly from: number;
  readonly to: number;
}

/** Whether the weight rose; an unknown one proves no rise. */
const rises = (from: number | null, to: number | null): boolean => from !== null && to !== null && from < to;

function growthWhileRising(windows: readonly ClosedWindow[]): Growth | null {
  const weights = windows.map((window) => window.window.weight);
  const end = windows.length - 1;
  let start = weights.findLastIndex((weight, k) => k < end && rises(weight, weights[k + 1]!));
  if (start < 0) return null;
  const known = (from: number) => windows.slice(from).filter((window) => window.queue_depth !== null).length;
  while (start > 0 && known(start) < MIN_WINDOWS) start--;
  if (known(start) < MIN_WINDOWS || !rises(weights[start]!, weights[end]!)) return null;
  const points = windows
    .slice(start)
    .flatMap(({ window, queue_depth }) => (queue_depth === null ? [] : [{ at: window.index, queue_depth }]));
  const slope = theilSen(points.map(({ at, queue_depth }) => [at, queue_depth] as const));
  return slope > 0 ? { slope, windows: end - start + 1, from: weights[start] ?? 0, to: weights[end] ?? 0 } : null;
}

/**
 * The median of the slopes between all pairs of points (Theil 1950, Sen 1968): robust against one outlier.
 * @param points at least two, with different first coordinates
 */
export function theilSen(points: readonly (readonly [x: number, y: number])[]): number {
  const slopes: number[] = [];
  for (const [k, [x1, y1]] of points.entries()) {
    for (const [x2, y2] of points.slice(k + 1)) if (x2 !== x1) slopes.push((y2 - y1) / (x2 - x1));
  }
  slopes.sort((p, q) => p - q);
  const middle = slopes.length >> 1;
  return slopes.length % 2 === 1 ? slopes[middle]! : (slopes[middle - 1]! + slopes[middle]!) / 2;
}
