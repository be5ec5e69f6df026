/** Formats measurements: JSON for machines, a table for people. */
import type { BenchmarkResult } from "./benchmark.ts";
import { type Bound, boundHolds, judgeMeasurement, type MeasuredTarget, TARGETS } from "./targets.ts";

/** One target as one line of JSON. */
export function jsonLine(measured: MeasuredTarget): string {
  const { id, ratio, ours, denominator, unit, rounds, bounds = [] } = measured;
  const { goal, near } = TARGETS[id];
  return JSON.stringify({
    id,
    ratio: rounded(ratio),
    goal,
    near,
    ...judgeMeasurement(measured),
    ours: rounded(ours),
    denominator: rounded(denominator),
    unit,
    rounds,
    ...(bounds.length === 0 ? {} : { bounds: bounds.map((bound) => ({ ...bound, value: rounded(bound.value) })) }),
  });
}

/** The measurements of one benchmark as a table, with its bounds and notes below. */
export function table({ measurements, notes }: BenchmarkResult): string {
  const rows = measurements.map((measured) => {
    const { goal, near, better } = TARGETS[measured.id];
    const sign = better === "higher" ? ">=" : "<=";
    const { meetsGoal, meetsNear } = judgeMeasurement(measured);
    return [
      measured.id,
      number(measured.ratio),
      `${sign} ${goal}`,
      `${sign} ${near}`,
      meetsNear ? "near the limit" : meetsGoal ? "goal" : "missed",
      `${number(measured.ours)} ${measured.unit}`,
      `${number(measured.denominator)} ${measured.unit}`,
      String(measured.rounds),
    ];
  });
  const head = ["", "ratio", "goal", "near", "", "ours", "compared with", "rounds"];
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const lines = [head, ...rows].map((row) =>
    `  ${row.map((text, column) => text.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd(),
  );
  const bounds = measurements.flatMap(({ id, bounds: list = [] }) => list.map((bound) => `  ${id}: ${boundText(bound)}`));
  return [...lines, ...bounds, ...notes.map((note) => `  ${note}`)].join("\n");
}

function boundText(bound: Bound): string {
  const limit = bound.atLeast === undefined ? `at most ${bound.atMost}` : `at least ${bound.atLeast}`;
  return `${bound.what} ${number(bound.value)} ${bound.unit} (${limit}: ${boundHolds(bound) ? "met" : "missed"})`;
}

/** Three significant digits, so that columns can be compared at a glance. */
export function number(value: number): string {
  return rounded(value).toLocaleString("en-US", { maximumFractionDigits: 6 });
}

function rounded(value: number): number {
  return Number(value.toPrecision(value >= 1000 ? 4 : 3));
}
