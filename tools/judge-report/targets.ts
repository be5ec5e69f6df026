/**
 * The judge's targets as data: cells, the measured value, and the bound. T1 to T10 of docs/judge.md are here; `sound.ts` has T11
 * and T12. Bounds leave a margin, so that a regression is detected and chance is not.
 */
import type { Cell } from "./cell.ts";
import {
  bySize,
  type Check,
  failed,
  fault,
  HEALTHY_RATE,
  LAWS,
  late,
  latencies,
  lognormal,
  prefixed,
  QUIET,
  RUNS,
  rates,
  reference,
  SIZES,
  steady,
} from "./checks.ts";
import type { Burst, Knowledge, Scenario, Stable, Traffic } from "./scenario.ts";
import { RULE_3 } from "./targets-rule-3.ts";

/** Healthy canaries of ten sizes. */
function healthy(
  changes: Partial<Scenario> & { knowledge: Knowledge; rate: readonly number[] },
  ceiling = 0.005,
): Record<string, Cell> {
  return bySize(SIZES, (n) => rates({ traffic: steady(n), ...changes }, ceiling === 0.005 ? {} : { ceiling }));
}

const KNOWN: Readonly<Record<string, Knowledge>> = {
  "without reference": "nothing",
  "with reference": reference(HEALTHY_RATE),
  "no noise, known": QUIET,
};

const T1: Check[] = [
  ...Object.entries(KNOWN).map(
    ([name, knowledge]): Check => ({
      target: "T1",
      what: `healthy at 0.3%, ${name}: fails in an hour`,
      cells: healthy({ rate: [HEALTHY_RATE], knowledge }),
      measure: failed(),
      bound: { atMost: knowledge === QUIET ? 0.011 : 0.01 },
      runs: RUNS,
      quick: { runs: 2_000, cells: ["n=50", "n=1000"] },
    }),
  ),
  ...[0.002, 0.001].map(
    (rate): Check => ({
      target: "T1",
      what: `healthy at ${100 * rate}%, with and without reference: fails in an hour`,
      cells: {
        ...prefixed("no reference, ", healthy({ rate: [rate], knowledge: "nothing" })),
        ...healthy({ rate: [rate], knowledge: reference(rate) }),
      },
      measure: failed(),
      // The level of ranges that expect few bad requests costs 0.08 points with 20 requests per window: 0.22% instead of 0.14%.
      bound: { atMost: rate === 0.002 ? 0.003 : 0.0005 },
      runs: RUNS,
    }),
  ),
  ...[0.001, 0.02, 0.05].map(
    (ceiling): Check => ({
      target: "T1",
      what: `ceiling ${100 * ceiling}%, healthy at 60% of it: fails in an hour`,
      cells: {
        ...prefixed("no reference, ", healthy({ rate: [0.6 * ceiling], knowledge: "nothing" }, ceiling)),
        ...healthy({ rate: [0.6 * ceiling], knowledge: reference(0.6 * ceiling) }, ceiling),
      },
      measure: failed(),
      bound: { atMost: 0.01 },
      runs: RUNS,
      ...(ceiling === 0.05 ? { quick: { runs: 4_000, cells: ["no reference, n=300"] } } : {}),
    }),
  ),
];

const T2: Check[] = (
  [
    ["without reference", "nothing", 0.01],
    ["48 windows of reference", reference(HEALTHY_RATE), 0.01],
    ["24 windows of reference", reference(HEALTHY_RATE, 24), 0.012],
  ] as const
).map(([name, knowledge, atMost]) => ({
  target: "T2",
  what: `healthy at 0.3%, rates vary (rho 0.001), ${name}: fails in an hour`,
  cells: healthy({ rate: [HEALTHY_RATE], overdispersion: 0.001, knowledge }),
  measure: failed(),
  bound: { atMost },
  runs: RUNS,
  ...(knowledge === "nothing" ? { quick: { runs: 2_000, cells: ["n=300", "n=5000"] } } : {}),
}));

/** Changing traffic; irregular traffic has the past of the same gateways as its reference. */
const CHANGING: Readonly<Record<string, readonly [Traffic, times: number]>> = {
  "daily from 50": [{ kind: "daily", requests: 50 }, 9],
  "daily from 1000": [{ kind: "daily", requests: 1_000 }, 9],
  "ramp of 200": [{ kind: "ramp", requests: 200 }, 1],
  "ramp of 1000": [{ kind: "ramp", requests: 1_000 }, 1],
  "ramp of 20000": [{ kind: "ramp", requests: 20_000 }, 1],
  "irregular around 60": [{ kind: "irregular", requests: 60 }, 1],
  "irregular around 300": [{ kind: "irregular", requests: 300 }, 1],
  "irregular around 1200": [{ kind: "irregular", requests: 1_200 }, 1],
  "20 and 20000 in turn": [{ kind: "alternating", low: 20, high: 20_000 }, 9],
};

const T3: Check[] = [0, 0.001].map((overdispersion) => ({
  target: "T3",
  what: `changing traffic, 0.3%, ${overdispersion === 0 ? "steady rates" : "rates vary"}: fails in an hour`,
  cells: Object.fromEntries(
    Object.entries(CHANGING).map(([name, [traffic, times]]) => [
      name,
      rates({ traffic, rate: [HEALTHY_RATE], overdispersion, knowledge: { windows: 48, times, rate: HEALTHY_RATE } }),
    ]),
  ),
  measure: failed(),
  bound: { atMost: 0.01 },
  runs: RUNS,
  ...(overdispersion > 0 ? { quick: { runs: 1_200, cells: ["daily from 50", "ramp of 1000"] } } : {}),
}));

const BURST_SIZES = [20, 50, 100, 300, 1_000, 5_000, 20_000] as const;

function bursts(seconds: number, sizes: readonly number[], knowledge: Knowledge): Record<string, Cell> {
  const cells: Record<string, Cell> = {};
  for (const size of [1.5, 2, 3, 5, 10]) {
    const burst: Burst = { size, seconds };
    for (const n of sizes)
      cells[`bursts of ${size}, n=${n}`] = rates({ traffic: steady(n), rate: [HEALTHY_RATE], burst, knowledge });
  }
  return cells;
}

const T4: Check[] = [
  {
    target: "T4",
    what: "failures in bursts of 1.5 to 10 within 30 s, with reference: fails in an hour",
    cells: bursts(30, [20, 50, 100, 300, 1_000, 5_000], reference(HEALTHY_RATE)),
    measure: failed(),
    bound: { atMost: 0.008 },
    runs: 5_000,
    quick: { runs: 2_000, cells: ["bursts of 3, n=300"] },
  },
  {
    target: "T4",
    what: "bursts within one sub-window, without reference: fails in an hour",
    cells: bursts(0, BURST_SIZES, "nothing"),
    measure: failed(),
    bound: { atMost: 0.015 },
    runs: RUNS,
    quick: { runs: 2_000, cells: ["bursts of 2, n=100", "bursts of 5, n=1000"] },
  },
  {
    // A burst across the boundary of a sub-window looks like two events; only a reference shows that failures occur in bursts.
    target: "T4",
    what: "bursts within 30 s at any time, without reference: fails in an hour",
    cells: bursts(30, BURST_SIZES, "nothing"),
    measure: failed(),
    bound: { atMost: 0.025 },
    runs: RUNS,
  },
];

interface Detection {
  readonly target: string;
  /** Requests per window. */
  readonly requests: number;
  /** Share of the canary's requests that fail. */
  readonly rate: number;
  /** The window; the whole run if absent. */
  readonly by?: number;
  readonly atLeast: number;
  /** Runs in the quick set; 0: not in it. */
  readonly quick?: number;
  readonly knowledge?: Knowledge;
}

/** A fault from the first window on that must be detected. */
function detected({ target, requests, rate, by, atLeast, quick = 2_000, knowledge }: Detection): Check {
  const when = by === undefined ? "within the hour" : `by window ${by}`;
  return {
    target,
    what: `fault of ${100 * rate}%${knowledge === "nothing" ? ", without reference" : ""}: detected ${when}`,
    cells: { [`n=${requests}`]: fault(requests, [rate], knowledge) },
    measure: failed(by),
    bound: { atLeast },
    runs: RUNS,
    ...(quick > 0 ? { quick: { runs: quick } } : {}),
  };
}

/** A fault from window 7 on: detected within this many windows. */
function detectedLate(n: number, rate: number, within: number, atLeast: number): Check {
  return {
    target: "T5",
    what: `fault of ${100 * rate}% from window 7 on: detected within ${within} windows`,
    cells: { [`n=${n}`]: fault(n, late(rate)) },
    measure: failed(6 + within),
    bound: { atLeast },
    runs: RUNS,
    quick: { runs: 1_500 },
  };
}

const T5: Check[] = [
  detected({ target: "T5", requests: 50, rate: 0.02, atLeast: 0.9 }),
  detected({ target: "T5", requests: 50, rate: 0.02, atLeast: 0.9, knowledge: "nothing" }),
  detected({ target: "T5", requests: 100, rate: 0.02, atLeast: 0.99 }),
  detected({ target: "T5", requests: 300, rate: 0.01, atLeast: 0.965 }),
  detected({ target: "T5", requests: 300, rate: 0.01, atLeast: 0.965, quick: 0, knowledge: "nothing" }),
  detected({ target: "T5", requests: 50, rate: 0.05, by: 4, atLeast: 0.96 }),
  detected({ target: "T5", requests: 200, rate: 0.05, by: 1, atLeast: 0.74 }),
  detected({ target: "T5", requests: 30, rate: 0.2, by: 1, atLeast: 0.88 }),
  detected({ target: "T5", requests: 50, rate: 0.2, by: 1, atLeast: 0.975 }),
  detectedLate(50, 0.05, 4, 0.93),
  detectedLate(100, 0.02, 6, 0.82),
];

const T6: Check[] = [
  detected({ target: "T6", requests: 5_000, rate: 0.006, by: 2, atLeast: 0.85, quick: 0 }),
  detected({ target: "T6", requests: 6_000, rate: 0.006, by: 2, atLeast: 0.9, quick: 0 }),
  detected({ target: "T6", requests: 20_000, rate: 0.006, by: 2, atLeast: 0.99, quick: 0 }),
  detected({ target: "T6", requests: 1_000, rate: 0.01, by: 2, atLeast: 0.76, quick: 1_500 }),
  detected({ target: "T6", requests: 1_000, rate: 0.01, by: 3, atLeast: 0.95, quick: 1_500 }),
  detected({ target: "T6", requests: 2_000, rate: 0.01, by: 2, atLeast: 0.975, quick: 1_500 }),
  {
    target: "T6",
    what: "0.45%, under the ceiling, with ample traffic: fails in an hour",
    cells: { "n=200000": rates({ traffic: steady(200_000), rate: [0.0045], knowledge: QUIET }) },
    measure: failed(),
    bound: { atMost: 0.001 },
    runs: RUNS,
    quick: { runs: 1_000 },
  },
];

function badWindow(sizes: readonly number[], rate: number, spike: NonNullable<Scenario["spike"]>): Record<string, Cell> {
  return bySize(sizes, (n) => rates({ traffic: steady(n), rate: [rate], spike, knowledge: reference(rate) }));
}

const T7: Check[] = [
  ...(
    [
      [0.001, 0.01],
      [0.002, 0.06],
    ] as const
  ).map(
    ([rate, atMost]): Check => ({
      target: "T7",
      what: `one window of 2% among ${100 * rate}%: fails in an hour`,
      cells: badWindow([1_000, 2_000, 5_000, 20_000], rate, { rate: 0.02, seconds: 300 }),
      measure: failed(),
      bound: { atMost },
      runs: RUNS,
      quick: { runs: 1_500, cells: ["n=1000"] },
    }),
  ),
  {
    target: "T7",
    what: "everything fails for 40 s within one sub-window, 0.1% otherwise: fails in an hour",
    cells: badWindow([50, 100, 300, 1_000, 5_000], 0.001, { rate: 1, seconds: 40, withinSlot: true }),
    measure: failed(),
    bound: { atMost: 0.005 },
    runs: RUNS,
    quick: { runs: 1_000, cells: ["n=50", "n=300"] },
  },
  {
    target: "T7",
    what: "everything fails for 40 s at any time, 0.1% otherwise: fails in an hour",
    cells: badWindow([300, 1_000, 5_000], 0.001, { rate: 1, seconds: 40 }),
    measure: failed(),
    bound: { atMost: 0.005 },
    runs: RUNS,
  },
];

type Incident = readonly [rate: number, windows: number];

/** Incidents that add 2% to 50% on both slices, for one to four windows. */
const INCIDENTS: readonly Incident[] = [
  [0.02, 2],
  [0.03, 4],
  [0.05, 1],
  [0.05, 3],
  [0.1, 2],
  [0.2, 4],
  [0.5, 1],
];
/**
 * The hardest to distinguish from a fault of the canary: with little traffic, one of their windows is barely visible on stable.
 */
const MILD: readonly Incident[] = [
  [0.01, 2],
  [0.01, 4],
  [0.02, 4],
];

/** They affect the canary up to 20% more or less than stable. */
function incidents(shapes: readonly Incident[], sizes: readonly number[], times: number, rate: number): Record<string, Cell> {
  const cells: Record<string, Cell> = {};
  for (const [added, windows] of shapes) {
    for (const n of sizes) {
      cells[`${100 * added}% for ${windows}, n=${n}`] = rates({
        traffic: steady(n),
        rate: [rate],
        stable: { times, rate },
        incident: { rate: added, windows, unequal: 0.2 },
        knowledge: { windows: 48, times, rate },
      });
    }
  }
  return cells;
}

function slowIncidents(): Record<string, Cell> {
  const cells: Record<string, Cell> = {};
  for (const name of ["lognormal 0.4", "lognormal 0.8", "Pareto 1.5"]) {
    for (const [factor, windows] of [
      [1.3, 3],
      [2, 2],
      [3, 1],
    ] as const) {
      for (const times of [9, 1])
        cells[`${name}, ${factor} x for ${windows}, stable ${times} x`] = latencies(LAWS[name]!, 300, {
          times,
          incident: { factor, share: 1, windows },
        });
    }
  }
  return cells;
}

const T8: Check[] = [
  {
    target: "T8",
    what: "an incident on both slices, stable 9 x the canary: fails in an hour",
    cells: incidents(INCIDENTS, [50, 100, 300, 1_000, 5_000, 20_000], 9, HEALTHY_RATE),
    measure: failed(),
    bound: { atMost: 0.014 },
    runs: RUNS,
    quick: { runs: 1_500, cells: ["2% for 2, n=300", "5% for 3, n=100"] },
  },
  {
    target: "T8",
    what: "the same, stable as large as the canary: fails in an hour",
    cells: incidents(INCIDENTS, [500, 5_000], 1, HEALTHY_RATE),
    measure: failed(),
    bound: { atMost: 0.022 },
    runs: RUNS,
  },
  {
    target: "T8",
    what: "a mild incident (1% to 2% for two to four windows), stable 9 x the canary: fails in an hour",
    cells: {
      ...prefixed("0.1% before, ", incidents(MILD, [50, 100, 300, 1_000], 9, 0.001)),
      ...prefixed("0.3% before, ", incidents(MILD, [50, 100, 300, 1_000], 9, HEALTHY_RATE)),
    },
    measure: failed(),
    bound: { atMost: 0.025 },
    runs: RUNS,
  },
  {
    target: "T8",
    what: "the same, stable as large as the canary: fails in an hour",
    cells: {
      ...prefixed("0.1% before, ", incidents(MILD, [500, 5_000], 1, 0.001)),
      ...prefixed("0.3% before, ", incidents(MILD, [500, 5_000], 1, HEALTHY_RATE)),
    },
    measure: failed(),
    bound: { atMost: 0.04 },
    runs: RUNS,
  },
  {
    target: "T8",
    what: "both slices are slower for a while, n=300: p99 regression fails in an hour",
    cells: slowIncidents(),
    measure: failed(),
    bound: { atMost: 0.012 },
    runs: 5_000,
    quick: { runs: 500, cells: ["lognormal 0.8, 2 x for 2, stable 9 x"] },
  },
];

function equalLatencies(overdispersion: number): Record<string, Cell> {
  const cells: Record<string, Cell> = {};
  for (const [name, law] of Object.entries(LAWS))
    for (const n of [100, 300, 1_000, 5_000])
      cells[`${name}, n=${n}`] = latencies(law, n, overdispersion > 0 ? { overdispersion } : {});
  return cells;
}

function slower(n: number, by: number, atLeast: number, runs: number): Check {
  return {
    target: "T9",
    what: `1.3 x slower, lognormal 0.4: detected by window ${by}`,
    cells: { [`n=${n}`]: latencies(lognormal(0.4), n, { canary: { factor: 1.3, share: 1 } }) },
    measure: failed(by),
    bound: { atLeast },
    runs,
  };
}

const T9: Check[] = [
  {
    target: "T9",
    what: "equal latencies, six distributions: p99 regression fails in an hour",
    cells: equalLatencies(0),
    measure: failed(),
    bound: { atMost: 0.01 },
    runs: 5_000,
    quick: { runs: 700, cells: ["lognormal 0.6, n=300", "1% in a slow hump, n=300"] },
  },
  {
    target: "T9",
    what: "the same, slow shares vary (rho 0.001): p99 regression fails in an hour",
    cells: equalLatencies(0.001),
    measure: failed(),
    bound: { atMost: 0.012 },
    runs: 3_000,
  },
  // Close to their bounds, and cheap: more runs.
  { ...slower(300, 3, 0.9, 40_000) },
  { ...slower(300, 4, 0.965, 40_000), quick: { runs: 1_000 } },
  { ...slower(450, 3, 0.98, 40_000) },
  { ...slower(1_000, 2, 0.995, RUNS) },
  {
    target: "T9",
    what: "5% slower, within the limit of 15%: p99 regression fails in an hour",
    cells: bySize([100, 300, 1_000], (n) => latencies(lognormal(0.4), n, { canary: { factor: 1.05, share: 1 } })),
    measure: failed(),
    // The second witness (p90) costs 0.4 points here: 1.27% in 6,000 runs, 0.87% by the p99 alone.
    bound: { atMost: 0.015 },
    runs: RUNS,
  },
];

function promotions(rate: number, sizes: readonly number[], windows: number): Record<string, Cell> {
  const stable: Stable = { times: 9, rate: Math.min(rate, HEALTHY_RATE) };
  return bySize(sizes, (n) =>
    rates({ traffic: steady(n), rate: [rate], windows, stable, knowledge: reference(stable.rate) }, { promotion: true }),
  );
}

const T10: Check[] = [
  {
    target: "T10",
    what: "1%, twice the ceiling: promotable at window 12",
    cells: promotions(0.01, [20, 50, 100, 300, 1_000], 12),
    measure: ({ promotedLast, runs }) => promotedLast / runs,
    bound: { atMost: 0.04 },
    runs: RUNS,
    quick: { runs: 1_500, cells: ["n=100"] },
  },
  {
    target: "T10",
    what: "1%: promotable in any of 24 windows",
    cells: promotions(0.01, [20, 50, 100, 300, 1_000], 24),
    measure: ({ promotedEver, runs }) => promotedEver / runs,
    bound: { atMost: 0.12 },
    runs: RUNS,
  },
  {
    target: "T10",
    what: "0.1%: promotable in any of 24 windows",
    cells: promotions(0.001, [50, 100, 300, 1_000, 5_000], 24),
    measure: ({ promotedEver, runs }) => promotedEver / runs,
    bound: { atLeast: 0.99 },
    runs: RUNS,
    quick: { runs: 1_000, cells: ["n=50"] },
  },
  {
    target: "T10",
    what: "0.1%: suspicious windows",
    cells: promotions(0.001, [50, 100, 300, 1_000, 5_000], 12),
    measure: ({ suspicious, windows }) => suspicious / windows,
    bound: { atMost: 0.02 },
    runs: RUNS,
    quick: { runs: 1_000, cells: ["n=50"] },
  },
];

export const CHECKS: readonly Check[] = [...T1, ...T2, ...T3, ...T4, ...T5, ...T6, ...T7, ...T8, ...T9, ...T10, ...RULE_3];
