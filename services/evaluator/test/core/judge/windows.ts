/** Closed windows for the judge's tests: built from a few numbers, with defaults of an ordinary run. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { defaultPolicy } from "@aviary/shared/contract/policy.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow, WindowSummary } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { judge } from "../../../src/core/judge/judge.ts";
import type { JudgeMemory, JudgeOutcome } from "../../../src/core/judge/outcome.ts";
import type { RuleVersion } from "../../../src/core/judge/rule-version.ts";
import { CURRENT_RULE } from "../../../src/core/judge/rule-version.ts";

export const POLICY: Policy = defaultPolicy();

export interface CellPlan {
  readonly slice?: "canary" | "stable";
  readonly az?: string;
  readonly source?: WindowSummary["source"];
  /** Requests and 5xx responses, per sub-window. */
  readonly requests: readonly number[];
  readonly errors?: readonly number[];
  /** Latency of the requests of sub-window k: each [ms, how many]; 50 ms for all by default. */
  readonly latency?: (slot: number, requests: number) => readonly (readonly [ms: number, times: number])[];
  readonly slotted?: boolean;
  /** Scale of the histograms; the default one if absent. */
  readonly scale?: number;
}

/** `n` distributed over five sub-windows, the remainder in the first ones. */
export function evenly(n: number): number[] {
  return Array.from({ length: 5 }, (_, k) => Math.floor(n / 5) + (k < n % 5 ? 1 : 0));
}

export function cell(plan: CellPlan): WindowSummary {
  const {
    slice = "canary",
    az = "az-a",
    source = "access-log",
    requests,
    errors = [0, 0, 0, 0, 0],
    slotted = true,
    scale,
  } = plan;
  const slots = requests.map((n, k) => {
    const h = histogram.create(scale);
    for (const [ms, times] of plan.latency?.(k, n) ?? [[50, n]]) histogram.insert(h, ms, times);
    return { requests: n, errors_5xx: errors[k]!, latency: histogram.toSparse(h) };
  });
  return { slice, az, source, slots, slotted, gateways: 2, expected: 2 };
}

export function closed(
  index: number,
  cells: readonly WindowSummary[],
  changes: Partial<ClosedWindow> & { weight?: number } = {},
): ClosedWindow {
  const { weight = 10, ...rest } = changes;
  const at = (minutes: number) => new Date(Date.UTC(2026, 10, 21, 10, minutes)).toISOString();
  return {
    window: { start: at(5 * index), end: at(5 * index + 5), index, weight },
    complete: true,
    gaps: [],
    late: 0,
    queue_depth: null,
    cells: [...cells],
    ...rest,
  };
}

/** A canary cell from totals: errors in the sub-windows given by `where`, one after the other, the first ones by default. */
export function canary(n: number, errors: number, where: readonly number[] = [0, 1, 2, 3, 4]): WindowSummary {
  const bySlot = [0, 0, 0, 0, 0];
  for (let k = 0; k < errors; k++) bySlot[where[k % where.length]!]!++;
  return cell({ requests: evenly(n), errors: bySlot });
}

export function stable(n: number, errors: number, az = "az-a"): WindowSummary {
  return cell({ slice: "stable", az, requests: evenly(n), errors: [errors, 0, 0, 0, 0] });
}

export interface RunPlan {
  readonly policy?: Policy;
  readonly reference?: Reference | null;
  readonly hasStable?: boolean;
  readonly rule?: RuleVersion;
}

/** Judges a run window by window, as the evaluator does; the memory passes through JSON each time. */
export function judgeRun(windows: readonly ClosedWindow[], plan: RunPlan = {}): JudgeOutcome[] {
  const outcomes: JudgeOutcome[] = [];
  let memory: JudgeMemory | null = null;
  for (let t = 1; t <= windows.length; t++) {
    const run = {
      judged: t - 1,
      memory,
      reference: plan.reference ?? null,
      hasStable: plan.hasStable ?? true,
      rule: plan.rule ?? CURRENT_RULE,
    };
    const outcome = judge(windows.slice(Math.max(0, t - 12), t), plan.policy ?? POLICY, run);
    memory = JSON.parse(JSON.stringify(outcome.memory)) as JudgeMemory;
    outcomes.push(outcome);
  }
  return outcomes;
}

/** A histogram with all its observations in one bucket. */
export function oneBucket(scale: number, index: number, times: number): histogram.LatencySparse {
  return { scale, zero: 0, total: times, last: index, pairs: [index, times] };
}

export function noise(rho: number, phi = 1): Reference {
  return { windows: 48, from: "stable", figures: { "errors.rho": rho, "errors.phi": phi } };
}
