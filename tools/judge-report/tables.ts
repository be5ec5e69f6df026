/** The tables of docs/judge.md: their cells and their layout. */
import type { Cell, CellResult, RateCell } from "./cell.ts";
import { failedShare } from "./cell.ts";
import { fault, HEALTHY_RATE, LAWS, late, latencies, rates, reference, SIZES, STABLE, steady } from "./checks.ts";
import type { JudgeName, OtherJudge } from "./judged-windows.ts";
import type { Knowledge, Scenario } from "./scenario.ts";

/** One figure: the simulated cell, and the value read from its result. */
export interface Entry {
  readonly cell: Cell;
  readonly read: (result: CellResult) => number;
}

export interface Table {
  readonly title: string;
  readonly text: string;
  readonly head: readonly string[];
  /** A column may show several figures, separated by a slash. */
  readonly rows: readonly { readonly name: string; readonly columns: readonly (readonly Entry[])[] }[];
}

/** Runs per cell in tables and charts. */
export const TABLE_RUNS = 4_000;
const ALL_OTHERS: readonly OtherJudge[] = ["literal", "flagger", "argo", "mann-whitney"];
export const JUDGES: readonly JudgeName[] = ["two-key", ...ALL_OTHERS];

/** The share that a judge failed by window `by`, or in the whole run. */
export function entry(cell: Cell, judge: JudgeName = "two-key", by?: number): Entry {
  return { cell, read: (result) => failedShare(result, judge, by) };
}

/** All judges on the same runs: stable with nine times the canary's traffic, equally healthy, and known for four hours. */
function underAllRules(
  scenario: Omit<Scenario, "knowledge" | "stable"> & { readonly knowledge?: Knowledge },
  stableRate: number,
): RateCell {
  const knowledge = scenario.knowledge ?? reference(stableRate);
  return rates({ ...scenario, stable: { times: 9, rate: stableRate }, knowledge }, { others: ALL_OTHERS });
}

/** A healthy canary at 0.3%, alone: the input of a rule without stable. */
export function healthyAlone(n: number, overdispersion: number): RateCell {
  return rates(
    { traffic: steady(n), rate: [HEALTHY_RATE], overdispersion, knowledge: "nothing" },
    { others: ["literal", "flagger", "argo"] },
  );
}

/** The same next to a stable slice. */
export function healthyBeside(n: number, overdispersion: number): RateCell {
  const stable = { times: 9, rate: HEALTHY_RATE };
  const scenario = { traffic: steady(n), rate: [HEALTHY_RATE], overdispersion, stable, knowledge: reference(HEALTHY_RATE) };
  return rates(scenario, { others: ["mann-whitney"] });
}

const falseFails: Table = {
  title: "A healthy canary at 0.3%",
  text: "Healthy hours that fail, in percent: steady rates / rates that vary between windows (rho 0.001). n is the number of requests per window.",
  head: ["n", "literal", "2nd failed window", "4th failed window", "Mann-Whitney", "two-key, no reference", "two-key"],
  rows: SIZES.map((n) => {
    const both = (cell: (n: number, overdispersion: number) => RateCell, judge: JudgeName) =>
      [0, 0.001].map((overdispersion) => entry(cell(n, overdispersion), judge));
    return {
      name: formatCount(n),
      columns: [
        both(healthyAlone, "literal"),
        both(healthyAlone, "flagger"),
        both(healthyAlone, "argo"),
        both(healthyBeside, "mann-whitney"),
        both(healthyAlone, "two-key"),
        both(healthyBeside, "two-key"),
      ],
    };
  }),
};

export function faulty(n: number, rate: number): RateCell {
  return { ...fault(n, [rate]), others: ALL_OTHERS };
}

const FAULTS: readonly (readonly [rate: number, n: number, by: number])[] = [
  [0.006, 5_000, 2],
  [0.006, 20_000, 2],
  [0.0075, 1_000, 3],
  [0.01, 50, 4],
  [0.01, 300, 3],
  [0.01, 1_000, 2],
  [0.02, 20, 4],
  [0.02, 50, 4],
  [0.02, 100, 4],
  [0.05, 50, 4],
  [0.05, 200, 1],
  [0.2, 30, 1],
];

const faultyCanary: Table = {
  title: "A faulty canary",
  text: "Faulty hours that fail, in percent: within the hour / by the given window. Stable has 0.1%.",
  head: [
    "fault, n (by window)",
    "literal",
    "2nd failed window",
    "4th failed window",
    "Mann-Whitney",
    "two-key, no reference",
    "two-key",
  ],
  rows: FAULTS.map(([rate, n, by]) => {
    const both = (cell: RateCell, judge: JudgeName) => [entry(cell, judge), entry(cell, judge, by)];
    const cell = faulty(n, rate);
    return {
      name: `${percentOf(rate)}, ${formatCount(n)} (${by})`,
      columns: [
        both(cell, "literal"),
        both(cell, "flagger"),
        both(cell, "argo"),
        both(cell, "mann-whitney"),
        both(fault(n, [rate], "nothing"), "two-key"),
        both(cell, "two-key"),
      ],
    };
  }),
};

/** The effect of traffic and environment on a healthy canary: rows of the table and of the chart. */
export const CHANGING_CONDITIONS: Readonly<Record<string, Readonly<Record<string, RateCell>>>> = {
  "Traffic changes (0.3%)": {
    "daily, 50 to 300 per window": underAllRules(
      { traffic: { kind: "daily", requests: 50 }, rate: [HEALTHY_RATE] },
      HEALTHY_RATE,
    ),
    "weight 5 to 80% of 1,000": underAllRules(
      {
        traffic: { kind: "ramp", requests: 1_000 },
        rate: [HEALTHY_RATE],
        knowledge: { windows: 48, times: 1, rate: HEALTHY_RATE },
      },
      HEALTHY_RATE,
    ),
    "irregular around 60": underAllRules({ traffic: { kind: "irregular", requests: 60 }, rate: [HEALTHY_RATE] }, HEALTHY_RATE),
    "20 and 20,000 alternating": underAllRules(
      { traffic: { kind: "alternating", low: 20, high: 20_000 }, rate: [HEALTHY_RATE] },
      HEALTHY_RATE,
    ),
  },
  "Noise (0.3%)": {
    "rates vary, n = 1,000": underAllRules({ traffic: steady(1_000), rate: [HEALTHY_RATE], overdispersion: 0.001 }, HEALTHY_RATE),
    "rates vary, n = 20,000": underAllRules(
      { traffic: steady(20_000), rate: [HEALTHY_RATE], overdispersion: 0.001 },
      HEALTHY_RATE,
    ),
    "failures in threes, n = 300": underAllRules(
      { traffic: steady(300), rate: [HEALTHY_RATE], burst: { size: 3, seconds: 30 } },
      HEALTHY_RATE,
    ),
    "failures in tens, n = 1,000": underAllRules(
      { traffic: steady(1_000), rate: [HEALTHY_RATE], burst: { size: 10, seconds: 30 } },
      HEALTHY_RATE,
    ),
  },
  "Events (0.1% otherwise)": {
    "one window of 2%, n = 300": underAllRules(
      { traffic: steady(300), rate: [0.001], spike: { rate: 0.02, seconds: 300 } },
      0.001,
    ),
    "one window of 2%, n = 5,000": underAllRules(
      { traffic: steady(5_000), rate: [0.001], spike: { rate: 0.02, seconds: 300 } },
      0.001,
    ),
    "everything fails for 40 s, n = 50": underAllRules(
      { traffic: steady(50), rate: [0.001], spike: { rate: 1, seconds: 40 } },
      0.001,
    ),
    "everything fails for 40 s, n = 300": underAllRules(
      { traffic: steady(300), rate: [0.001], spike: { rate: 1, seconds: 40 } },
      0.001,
    ),
  },
  "Incidents on both slices (0.3% otherwise)": {
    "5% for 3 windows, n = 50": underAllRules(incident(50, 0.05, 3), HEALTHY_RATE),
    "5% for 3 windows, n = 1,000": underAllRules(incident(1_000, 0.05, 3), HEALTHY_RATE),
    "20% for 1 window, n = 300": underAllRules(incident(300, 0.2, 1), HEALTHY_RATE),
  },
  "Three AZs that differ (0.1%, 0.3%, 0.5%)": {
    "n = 300": underAllRules({ traffic: steady(300), rate: [], azs: azRates([0.001, 0.003, 0.005]) }, HEALTHY_RATE),
    "n = 3,000": underAllRules({ traffic: steady(3_000), rate: [], azs: azRates([0.001, 0.003, 0.005]) }, HEALTHY_RATE),
  },
};

function incident(n: number, rate: number, windows: number): Pick<Scenario, "traffic" | "rate" | "incident"> {
  return { traffic: steady(n), rate: [HEALTHY_RATE], incident: { rate, windows, unequal: 0.2 } };
}

/** Stable has the same rates, AZ by AZ; `faults` replaces the canary's. */
function azRates(stableRates: readonly number[], faults: readonly number[] = stableRates): NonNullable<Scenario["azs"]> {
  return { rates: faults, stableRates };
}

const allJudges = (cell: RateCell, by?: number): Entry[][] => JUDGES.map((judge) => [entry(cell, judge, by)]);
const JUDGE_HEAD = ["two-key", "literal", "2nd failed window", "4th failed window", "Mann-Whitney"] as const;

const trouble: Table = {
  title: "A healthy canary under changing conditions",
  text: "False fails: percent of healthy hours that fail. Stable has nine times the canary's traffic and the same rates.",
  head: ["", ...JUDGE_HEAD],
  rows: Object.entries(CHANGING_CONDITIONS).flatMap(([group, cells]) =>
    Object.entries(cells).map(([name, cell]) => ({ name: `${group.replace(/ \(.*/, "")}: ${name}`, columns: allJudges(cell) })),
  ),
};

const hidden: Table = {
  title: "Masked faults",
  text: "Percent of hours with this fault that fail.",
  head: ["", ...JUDGE_HEAD],
  rows: [
    ...(
      [
        [0.05, 50],
        [0.02, 100],
        [0.02, 300],
        [0.01, 1_000],
      ] as const
    ).map(([rate, n]) => ({
      name: `${percentOf(rate)} from window 7 on, n = ${formatCount(n)}`,
      columns: allJudges(underAllRules({ traffic: steady(n), rate: late(rate) }, STABLE.rate)),
    })),
    {
      name: "2% from window 5 of a ramp from 5% to 80% of 1,000",
      columns: allJudges(
        underAllRules(
          {
            traffic: { kind: "ramp", requests: 1_000 },
            rate: [0.001, 0.001, 0.001, 0.001, 0.02],
            knowledge: { windows: 48, times: 1, rate: STABLE.rate },
          },
          STABLE.rate,
        ),
      ),
    },
    ...[300, 1_000].map((n) => ({
      name: `2% in one AZ of three, n = ${formatCount(n)} in total`,
      columns: allJudges(
        underAllRules({ traffic: steady(n), rate: [], azs: azRates([0.001, 0.001, 0.001], [0.02, 0.001, 0.001]) }, STABLE.rate),
      ),
    })),
  ],
};

const slow = { factor: 1.3, share: 1 };

const slowness: Table = {
  title: "p99 regression",
  text: "Stable has nine times the canary's traffic and is known for two hours. Hours that fail, in percent: equal latencies with n = 300 / 1,000; the canary 1.3 times slower, by window 3 / within the hour.",
  head: [
    "latency distribution",
    "literal, equal",
    "two-key, equal",
    "two-key, equal, slow shares vary",
    "literal, 1.3 x, n = 300",
    "two-key, 1.3 x, n = 300",
    "two-key, 1.3 x, n = 1,000",
  ],
  rows: Object.entries(LAWS).map(([name, law]) => {
    const equal = (judge: JudgeName, overdispersion = 0) =>
      [300, 1_000].map((n) => entry(latencies(law, n, overdispersion > 0 ? { overdispersion } : {}), judge));
    const slower = (judge: JudgeName, n: number) => [
      entry(latencies(law, n, { canary: slow }), judge, 3),
      entry(latencies(law, n, { canary: slow }), judge),
    ];
    return {
      name,
      columns: [
        equal("literal"),
        equal("two-key"),
        equal("two-key", 0.001),
        slower("literal", 300),
        slower("two-key", 300),
        slower("two-key", 1_000),
      ],
    };
  }),
};

const PROMOTION_SIZES = [50, 100, 300, 1_000, 5_000] as const;

function promotionCell(rate: number, n: number): RateCell {
  const stable = { times: 9, rate: Math.min(rate, HEALTHY_RATE) };
  return rates({ traffic: steady(n), rate: [rate], stable, knowledge: reference(stable.rate) }, { promotion: true });
}

const promotions: Table = {
  title: "Hold and promote",
  text: "Suspicious windows, in percent of all; and runs after an hour: failed / promotable / neither. Stable has the canary's rate, at most 0.3%.",
  head: ["canary", ...PROMOTION_SIZES.map((n) => `n = ${formatCount(n)}`)],
  rows: [0.001, 0.002, 0.003, 0.005, 0.01].map((rate) => ({
    name: percentOf(rate),
    columns: PROMOTION_SIZES.map((n) => {
      const cell = promotionCell(rate, n);
      return [
        { cell, read: ({ suspicious, windows }) => suspicious / windows },
        entry(cell),
        { cell, read: ({ promotedLast, runs }) => promotedLast / runs },
        { cell, read: (result) => 1 - failedShare(result) - result.promotedLast / result.runs },
      ];
    }),
  })),
};

const strictness: Table = {
  title: "Evidence",
  text: "The effect of the policy's `evidence` and of longer runs; percent of runs that fail.",
  head: ["", "strict", "normal", "eager"],
  rows: (
    [
      [
        "healthy at 0.3%, n = 300, an hour",
        { traffic: steady(300), rate: [HEALTHY_RATE], knowledge: reference(HEALTHY_RATE) },
        undefined,
      ],
      [
        "the same, a day",
        { traffic: steady(300), rate: [HEALTHY_RATE], windows: 288, knowledge: reference(HEALTHY_RATE) },
        undefined,
      ],
      ["5%, n = 50, by window 4", fault(50, [0.05]).scenario, 4],
      ["2%, n = 50, within the hour", fault(50, [0.02]).scenario, undefined],
      ["0.6%, n = 5,000, by window 2", fault(5_000, [0.006]).scenario, 2],
    ] as const
  ).map(([name, scenario, by]) => ({
    name,
    columns: (["strict", "normal", "eager"] as const).map((evidence) => [
      entry(rates(scenario, evidence === "normal" ? {} : { evidence }), "two-key", by),
    ]),
  })),
};

export const TABLES: readonly Table[] = [falseFails, faultyCanary, trouble, hidden, slowness, promotions, strictness];

/** The tables as Markdown. @param resultOf returns the result of a cell */
export async function writeTable(table: Table, resultOf: (cell: Cell) => Promise<CellResult>): Promise<string> {
  const rows = await Promise.all(
    table.rows.map(async ({ name, columns }) => {
      const shown = await Promise.all(
        columns.map(async (entries) => {
          const values = await Promise.all(entries.map(async ({ cell, read }) => read(await resultOf(cell))));
          return values.map(inPercent).join(" / ");
        }),
      );
      return `| ${[name, ...shown].join(" | ")} |`;
    }),
  );
  const head = [`| ${table.head.join(" | ")} |`, `|${"---|".repeat(table.head.length)}`];
  return [`### ${table.title}`, "", table.text, "", ...head, ...rows].join("\n");
}

/** A percentage with the precision of a few thousand runs. */
export function inPercent(share: number): string {
  const value = 100 * share;
  if (value === 0 || value === 100) return String(value);
  if (value > 99.95) return "> 99.9";
  return value < 1 || value > 99 ? value.toFixed(value < 1 ? 2 : 1) : value < 10 ? value.toFixed(1) : value.toFixed(0);
}

function percentOf(rate: number): string {
  return `${Number((100 * rate).toFixed(3))}%`;
}

function formatCount(n: number): string {
  return n.toLocaleString("en-US");
}
