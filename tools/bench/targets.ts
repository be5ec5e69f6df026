/**
 * The performance targets as data, one row each. A ratio always compares with something that runs next to it in the same run,
 * so that it has the same meaning on fast and slow machines. Absolute figures are also checked where they are promised.
 */

export interface Target {
  /** The two sides of the comparison, in a few words. */
  readonly what: string;
  /** The value that must be reached, and the value we aim for. */
  readonly goal: number;
  readonly near: number;
  readonly better: "higher" | "lower";
}

export const TARGETS = {
  P1: { what: "shim, answers per second / bare node:http with a constant body", goal: 0.8, near: 0.9, better: "higher" },
  P3: {
    what: "shim, p99 latency at 1,000 requests/s while 10,000 signals/s are applied / idle",
    goal: 2,
    near: 1.3,
    better: "lower",
  },
  P4: { what: "CPU of a no-op consumer / CPU of the evaluator, per signal", goal: 0.35, near: 0.5, better: "higher" },
  P5: { what: "evaluator, signals per second / no-op consumer", goal: 0.45, near: 0.6, better: "higher" },
  P6: { what: "CPU of bare js.publish / CPU of our publisher, per message", goal: 4, near: 6, better: "higher" },
  P7: { what: "deadline to verdict served, p99 / NATS request-reply, p99", goal: 10, near: 4, better: "lower" },
  P8: { what: "judge, CPU of a verdict / one merge of two full histograms", goal: 20, near: 5, better: "lower" },
  P14: { what: "collector at 1 Hz, resident memory / bare node with the NATS client", goal: 1.25, near: 1.1, better: "lower" },
  P16: { what: "bytes of a gateway's signals / Prometheus scrapes of the same facts", goal: 0.2, near: 0.05, better: "lower" },
} as const satisfies Readonly<Record<string, Target>>;

export type TargetId = keyof typeof TARGETS;

/** An absolute value that the goal requires besides the ratio. */
export interface Bound {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** The measurement of one target. */
export interface MeasuredTarget {
  readonly id: TargetId;
  readonly ratio: number;
  /** The two sides of the ratio, in `unit`. */
  readonly ours: number;
  readonly denominator: number;
  readonly unit: string;
  readonly rounds: number;
  readonly bounds?: readonly Bound[];
}

const holds = (ratio: number, limit: number, better: Target["better"]): boolean =>
  better === "higher" ? ratio >= limit : ratio <= limit;

export const boundHolds = (bound: Bound): boolean =>
  (bound.atLeast === undefined || bound.value >= bound.atLeast) && (bound.atMost === undefined || bound.value <= bound.atMost);

/** Whether the goal is met with all its bounds, and whether the ratio is near the limit. */
export function judgeMeasurement(measured: MeasuredTarget): { meetsGoal: boolean; meetsNear: boolean } {
  const target: Target = TARGETS[measured.id];
  const bounds = (measured.bounds ?? []).every(boundHolds);
  return {
    meetsGoal: bounds && holds(measured.ratio, target.goal, target.better),
    meetsNear: bounds && holds(measured.ratio, target.near, target.better),
  };
}
