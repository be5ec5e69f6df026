/** The charts of docs/judge.md. */
import type { Cell, CellResult, RateCell } from "./cell.ts";
import { failedShare } from "./cell.ts";
import { fault, LAWS, latencies, SIZES } from "./checks.ts";
import type { JudgeName } from "./judged-windows.ts";
import { WINDOWS } from "./scenario.ts";
import type { Axis, ChartSeries, Mark } from "./svg.ts";
import { dotChart, lineChart } from "./svg.ts";
import { CHANGING_CONDITIONS, faulty, healthyAlone, healthyBeside, JUDGES } from "./tables.ts";

/** A palette that is safe for color blindness (Okabe and Ito 2008). */
const LOOKS: Readonly<Record<JudgeName, { readonly name: string; readonly color: string }>> = {
  "two-key": { name: "two-key", color: "#0072b2" },
  literal: { name: "literal: two in a row", color: "#d55e00" },
  flagger: { name: "2nd failed window", color: "#cc79a7" },
  argo: { name: "4th failed window", color: "#e69f00" },
  "mann-whitney": { name: "Mann-Whitney", color: "#009e73" },
};

export interface Figure {
  readonly file: string;
  readonly title: string;
  draw(resultOf: ResultOf): Promise<string>;
}

export type ResultOf = (cell: Cell) => Promise<CellResult>;

const LEAST = 5e-4;
const logPercent = (label: string): Axis => ({
  label,
  from: LEAST,
  to: 1,
  log: true,
  ticks: [LEAST, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1],
  format: (share) => (share === LEAST ? "less" : percent(share)),
});
const plainPercent = (label: string): Axis => ({
  label,
  from: 0,
  to: 1,
  log: false,
  ticks: [0, 0.25, 0.5, 0.75, 1],
  format: percent,
});
const ONE_PERCENT = (axis: "x" | "y"): Mark => ({ axis, at: 0.01, text: "1%" });

function percent(share: number): string {
  return `${Number((100 * share).toFixed(2))}%`;
}

/** The line of one judge; the two-key rule is the thick one. */
function lineOf(judge: JudgeName, points: ChartSeries["points"], without = false): ChartSeries {
  const { name, color } = LOOKS[judge];
  if (judge !== "two-key") return { name, color, points };
  return without
    ? { name: "two-key, no reference", color: "#56b4e9", width: 2.5, dashed: true, points }
    : { name, color, width: 3.5, points };
}

async function pointsOf(
  places: readonly number[],
  cellOf: (place: number) => Cell,
  resultOf: ResultOf,
  judge: JudgeName,
): Promise<ChartSeries["points"]> {
  return Promise.all(places.map(async (place) => [place, failedShare(await resultOf(cellOf(place)), judge)] as const));
}

const falseFails: Figure = {
  file: "false-fails.svg",
  title: "Healthy hours that fail, by requests per window",
  async draw(resultOf) {
    const panel = async (title: string, overdispersion: number) => {
      const line = async (judge: JudgeName, cell: (n: number, overdispersion: number) => RateCell, without = false) =>
        lineOf(judge, await pointsOf(SIZES, (n) => cell(n, overdispersion), resultOf, judge), without);
      const series = await Promise.all([
        line("two-key", healthyBeside),
        line("two-key", healthyAlone, true),
        line("literal", healthyAlone),
        line("flagger", healthyAlone),
        line("argo", healthyAlone),
        line("mann-whitney", healthyBeside),
      ]);
      return { title, series, marks: [ONE_PERCENT("y")] };
    };
    return lineChart({
      title: "How often a healthy canary fails",
      subtitle: "0.3% of requests fail, 0.5% are allowed; share of hours that fail",
      x: sizes("requests per window"),
      y: logPercent("hours that fail"),
      columns: 2,
      panels: await Promise.all([panel("rates are steady", 0), panel("rates wander between windows (rho 0.001)", 0.001)]),
    });
  },
};

function sizes(label: string): Axis {
  return {
    label,
    from: 20,
    to: 20_000,
    log: true,
    ticks: [20, 100, 1_000, 5_000, 20_000],
    format: (n) => n.toLocaleString("en-US"),
  };
}

const RATES = [0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05] as const;

const characteristic: Figure = {
  file: "characteristic.svg",
  title: "Hours that fail, by the canary's true rate",
  async draw(resultOf) {
    const panels = await Promise.all(
      [50, 300, 5_000].map(async (n) => ({
        title: `${n.toLocaleString("en-US")} requests per window`,
        series: await Promise.all(
          JUDGES.map(async (judge) => lineOf(judge, await pointsOf(RATES, (rate) => faulty(n, rate), resultOf, judge))),
        ),
        marks: [
          { axis: "x", at: 0.001, to: 0.003, text: "healthy" },
          { axis: "x", at: 0.005, text: "ceiling" },
        ] satisfies Mark[],
      })),
    );
    return lineChart({
      title: "The rules at every error rate",
      subtitle:
        "Share of hours that fail; stable has 0.1%. In the shaded range a fail is wrong, right of the ceiling it is right",
      x: {
        label: "the canary's true rate of failed requests",
        from: 0.001,
        to: 0.05,
        log: true,
        ticks: [0.001, 0.003, 0.01, 0.02, 0.05],
        format: percent,
      },
      y: plainPercent("hours that fail"),
      columns: 3,
      panels,
    });
  },
};

const delays: Figure = {
  file: "delay.svg",
  title: "Faults found, window by window",
  async draw(resultOf) {
    const windows = Array.from({ length: WINDOWS }, (_, t) => t + 1);
    const faults = [
      [50, 0.05],
      [50, 0.02],
      [300, 0.01],
      [5_000, 0.006],
    ] as const;
    const panels = await Promise.all(
      faults.map(async ([n, rate]) => {
        const by = async (cell: Cell, judge: JudgeName, without = false) => {
          const result = await resultOf(cell);
          return lineOf(
            judge,
            windows.map((t) => [t, failedShare(result, judge, t)] as const),
            without,
          );
        };
        const own = await by(faulty(n, rate), "two-key");
        const without = await by(fault(n, [rate], "nothing"), "two-key", true);
        const others = await Promise.all(JUDGES.slice(1).map((judge) => by(faulty(n, rate), judge)));
        return {
          title: `${percent(rate)} fail, ${n.toLocaleString("en-US")} requests per window`,
          series: [own, without, ...others],
        };
      }),
    );
    return lineChart({
      title: "Time to detect a fault",
      subtitle: "Share of runs that have failed by the end of a window; the fault is present from the first window on",
      x: { label: "window", from: 1, to: WINDOWS, log: false, ticks: [1, 2, 3, 4, 6, 8, 10, 12], format: String },
      y: plainPercent("runs that have failed"),
      columns: 2,
      panels,
    });
  },
};

/** One row of dots per judge: the share of failed hours of every cell. */
function dotsOf(judges: readonly JudgeName[], cells: readonly Cell[], resultOf: ResultOf) {
  return Promise.all(
    judges.map(async (judge) => ({
      ...LOOKS[judge],
      large: judge === "two-key",
      values: await Promise.all(cells.map(async (cell) => failedShare(await resultOf(cell), judge))),
    })),
  );
}

const troubles: Figure = {
  file: "trouble.svg",
  title: "Healthy hours that fail under changing conditions",
  async draw(resultOf) {
    const groups = Object.entries(CHANGING_CONDITIONS).map(([title, cells]) => ({ title, rows: Object.keys(cells) }));
    const cells = Object.values(CHANGING_CONDITIONS).flatMap((group) => Object.values(group));
    const series = await dotsOf(JUDGES, cells, resultOf);
    return dotChart({
      title: "A healthy canary under changing conditions",
      subtitle: "Share of hours that fail although the canary is healthy",
      x: logPercent("hours that fail"),
      marks: [ONE_PERCENT("x")],
      groups,
      series,
    });
  },
};

const latencyFigure: Figure = {
  file: "latency.svg",
  title: "p99 regression, by latency distribution",
  async draw(resultOf) {
    const slow = { canary: { factor: 1.3, share: 1 } };
    const groups = [
      { title: "Equal latencies, n = 300", cell: (name: string) => latencies(LAWS[name]!, 300) },
      {
        title: "Equal, slow shares wander, n = 300",
        cell: (name: string) => latencies(LAWS[name]!, 300, { overdispersion: 0.001 }),
      },
      { title: "1.3 times slower, n = 300", cell: (name: string) => latencies(LAWS[name]!, 300, slow) },
    ];
    const names = Object.keys(LAWS);
    const cells = groups.flatMap(({ cell }) => names.map(cell));
    const series = await dotsOf(["two-key", "literal"], cells, resultOf);
    return dotChart({
      title: "p99 regression: equal latencies, and a canary that is slower",
      subtitle: "Share of hours that fail. Where latencies are equal a fail is wrong; 1.3 times slower is over the limit of 1.15",
      x: logPercent("hours that fail"),
      marks: [ONE_PERCENT("x")],
      groups: groups.map(({ title }) => ({ title, rows: names })),
      series,
    });
  },
};

export const FIGURES: readonly Figure[] = [falseFails, characteristic, delays, troubles, latencyFigure];
