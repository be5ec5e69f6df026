/** The targets of version 3 of the rule, T13 to T17: what the judge must not be blinded by, and what must not fail a run. */
import type { Cell } from "./cell.ts";
import type { Check } from "./checks.ts";
import {
  bySize,
  failed,
  fault,
  HEALTHY_RATE,
  LAWS,
  late,
  latencies,
  lognormal,
  RUNS,
  rates,
  reference,
  STABLE,
  steady,
} from "./checks.ts";
import type { LatencyScenario } from "./latency-run.ts";

/** One window of 50% errors on stable within the four hours before the run. */
const AFTER_OUTAGE = { windows: 48, times: 9, rate: STABLE.rate, incident: 0.5 } as const;
const SLOWER = { canary: { factor: 1.3, share: 1 } } as const;

/** The reference: incidents before the run. */
const T13: Check[] = [
  {
    target: "T13",
    what: "fault of 2% after an outage before the run: detected within the hour",
    cells: { "n=300": fault(300, [0.02], AFTER_OUTAGE) },
    measure: failed(),
    bound: { atLeast: 0.99 },
    runs: RUNS,
    quick: { runs: 500 },
  },
  {
    target: "T13",
    what: "fault of 2% after an outage before the run: detected by window 3",
    cells: { "n=1000": fault(1_000, [0.02], AFTER_OUTAGE) },
    measure: failed(3),
    bound: { atLeast: 0.99 },
    runs: RUNS,
  },
  {
    target: "T13",
    what: "fault of 0.6% after an outage before the run: detected by window 2",
    cells: { "n=5000": fault(5_000, [0.006], AFTER_OUTAGE) },
    measure: failed(2),
    bound: { atLeast: 0.85 },
    runs: RUNS,
  },
  {
    target: "T13",
    what: "healthy at 0.3% after an outage before the run: fails in an hour",
    cells: Object.fromEntries(
      [0, 0.001].flatMap((overdispersion) =>
        [50, 300, 1_000, 5_000].map((n) => [
          `n=${n}, rho ${overdispersion}`,
          rates({
            traffic: steady(n),
            rate: [HEALTHY_RATE],
            overdispersion,
            stable: { times: 9, rate: HEALTHY_RATE },
            knowledge: { ...AFTER_OUTAGE, rate: HEALTHY_RATE },
          }),
        ]),
      ),
    ),
    measure: failed(),
    bound: { atMost: 0.01 },
    runs: RUNS,
  },
  {
    target: "T13",
    what: "1.3 x slower, lognormal 0.4, after a slow spell before the run: detected by window 3",
    cells: { "n=300": latencies(lognormal(0.4), 300, { ...SLOWER, reference: 48, spell: 3 }) },
    measure: failed(3),
    bound: { atLeast: 0.9 },
    runs: RUNS,
    quick: { runs: 500 },
  },
];

/** 50% of all requests fail on both slices in windows 4 and 5. */
const OUTAGE = { rate: 0.5, windows: 2, unequal: 0.1, at: 3 } as const;

function besideSmallStable(shape: readonly [rate: number, windows: number]): Cell {
  const [rate, windows] = shape;
  return rates({
    traffic: steady(900),
    rate: [HEALTHY_RATE],
    stable: { times: 1 / 9, rate: HEALTHY_RATE },
    incident: { rate, windows, unequal: 0.2 },
    knowledge: { windows: 48, times: 1 / 9, rate: HEALTHY_RATE },
  });
}

/** Incidents on both slices during the run. */
const T14: Check[] = [
  {
    target: "T14",
    what: "an outage of both slices for two windows: passes within four windows after it",
    cells: bySize([50, 300, 5_000], (n) =>
      rates(
        {
          traffic: steady(n),
          rate: [0.001],
          windows: 9,
          stable: STABLE,
          incident: OUTAGE,
          knowledge: reference(STABLE.rate),
        },
        { promotion: true },
      ),
    ),
    measure: ({ recovered, runs }) => recovered / runs,
    bound: { atLeast: 0.98 },
    runs: 5_000,
    quick: { runs: 300 },
  },
  {
    target: "T14",
    what: "a fault of 2% from window 7 on, after such an outage: detected within six windows",
    cells: bySize([300, 1_000], (n) =>
      rates({
        traffic: steady(n),
        rate: late(0.02),
        stable: STABLE,
        incident: OUTAGE,
        knowledge: reference(STABLE.rate),
      }),
    ),
    measure: failed(12),
    bound: { atLeast: 0.98 },
    runs: 5_000,
  },
  {
    target: "T14",
    what: "an incident on both slices, stable a ninth of the canary: fails in an hour",
    cells: Object.fromEntries(
      (
        [
          [0.02, 2],
          [0.05, 3],
          [0.1, 2],
          [0.5, 1],
        ] as const
      ).map((shape) => [`${100 * shape[0]}% for ${shape[1]}`, besideSmallStable(shape)]),
    ),
    measure: failed(),
    bound: { atMost: 0.055 },
    runs: RUNS,
    quick: { runs: 500, cells: ["5% for 3"] },
  },
  {
    target: "T14",
    what: "fault of 1%, stable a ninth of the canary: detected by window 3",
    cells: {
      "900:100": rates({
        traffic: steady(900),
        rate: [0.01],
        stable: { times: 1 / 9, rate: STABLE.rate },
        knowledge: { windows: 48, times: 1 / 9, rate: STABLE.rate },
      }),
    },
    measure: failed(3),
    bound: { atLeast: 0.33 },
    runs: RUNS,
  },
];

/** One window of 2% among windows at 0.3%. */
const badWindow = (n: number): Cell =>
  rates({
    traffic: steady(n),
    rate: [HEALTHY_RATE],
    spike: { rate: 0.02, seconds: 300 },
    knowledge: reference(HEALTHY_RATE),
  });

/** Few counts, single windows, idle hours. */
const T15: Check[] = [
  {
    target: "T15",
    what: "one window of 2% among 0.3%: fails in an hour",
    cells: { "n=1000": badWindow(1_000) },
    measure: failed(),
    bound: { atMost: 0.11 },
    runs: RUNS,
    quick: { runs: 1_000 },
  },
  {
    target: "T15",
    what: "one window of 2% among 0.3%: fails in an hour",
    cells: { "n=5000": badWindow(5_000) },
    measure: failed(),
    bound: { atMost: 0.03 },
    runs: RUNS,
  },
  {
    target: "T15",
    what: "fault of 2% from window 7 on: detected within 6 windows",
    cells: { "n=50": fault(50, late(0.02)) },
    measure: failed(12),
    bound: { atLeast: 0.6 },
    runs: RUNS,
    quick: { runs: 1_000 },
  },
  {
    target: "T15",
    what: "fault of 2% from window 7 on: detected within 6 windows",
    cells: { "n=100": fault(100, late(0.02)) },
    measure: failed(12),
    bound: { atLeast: 0.9 },
    runs: RUNS,
  },
  {
    target: "T15",
    what: "fault of 2% after twelve windows without requests: detected within an hour of traffic",
    cells: {
      "n=50": rates({
        traffic: { kind: "idle", windows: 12, requests: 50 },
        rate: [0.02],
        windows: 24,
        stable: STABLE,
        knowledge: reference(STABLE.rate),
      }),
    },
    measure: failed(),
    bound: { atLeast: 0.92 },
    runs: RUNS,
    quick: { runs: 1_000 },
  },
];

/** 1.3 times slower, from the first window on. */
const slower = (law: string, requests = 300, changes: Partial<LatencyScenario> = {}): Cell =>
  latencies(LAWS[law]!, requests, { ...SLOWER, ...changes });

function detectedSlower(what: string, cell: Cell, by: number, atLeast: number, quick = 0): Check {
  return {
    target: "T16",
    what: `1.3 x slower, ${what}: detected ${by === 12 ? "within the hour" : `by window ${by}`}`,
    cells: { "n=300": cell },
    measure: failed(by),
    bound: { atLeast },
    runs: 5_000,
    ...(quick > 0 ? { quick: { runs: quick } } : {}),
  };
}

/** Latency: the shift of the 90th percentile as a second witness, and a run that is faster or slower than the hour before it. */
const T16: Check[] = [
  detectedSlower("lognormal 0.8", slower("lognormal 0.8"), 3, 0.66, 500),
  detectedSlower("Pareto 1.5", slower("Pareto 1.5"), 3, 0.2),
  detectedSlower("Pareto 1.5", slower("Pareto 1.5"), 12, 0.86),
  detectedSlower("1.5% in a slow hump", slower("1.5% in a slow hump"), 3, 0.84),
  detectedSlower("both slices 15% faster than before", slower("lognormal 0.4", 300, { drift: 0.85 }), 3, 0.97, 500),
  detectedSlower("both slices 20% slower than before", slower("lognormal 0.4", 300, { drift: 1.2 }), 3, 0.97),
  {
    target: "T16",
    what: "equal latencies, both slices faster or slower than before: p99 regression fails in an hour",
    cells: Object.fromEntries(
      Object.entries(LAWS).flatMap(([name, law]) =>
        [0.85, 1.2].map((drift) => [`${name}, ${drift} x`, latencies(law, 300, { drift })]),
      ),
    ),
    measure: failed(),
    bound: { atMost: 0.01 },
    runs: 5_000,
    quick: { runs: 300, cells: ["lognormal 0.6, 1.2 x"] },
  },
];

/** The canary's gateways are 1.2 times slower than stable's by themselves. */
const UNEQUAL = { reference: 48, unequal: 1.2 } as const;

/** Gateways and AZs that differ by themselves. */
const T17: Check[] = [
  {
    target: "T17",
    what: "canary gateways that were 1.2 x slower before the run: p99 regression fails in an hour",
    cells: { "lognormal 0.4, n=300": latencies(LAWS["lognormal 0.4"]!, 300, UNEQUAL) },
    measure: failed(),
    bound: { atMost: 0.01 },
    runs: 3_000,
    quick: { runs: 300 },
  },
  {
    // The allowance is a lower bound: the wider the tail, the more of the margin it takes.
    target: "T17",
    what: "the same with wide tails: p99 regression fails in an hour",
    cells: Object.fromEntries(
      ["lognormal 0.8", "Pareto 1.5"].map((law) => [`${law}, n=300`, latencies(LAWS[law]!, 300, UNEQUAL)]),
    ),
    measure: failed(),
    bound: { atMost: 0.05 },
    runs: 3_000,
  },
  {
    target: "T17",
    what: "1.3 x slower on such gateways: detected within the hour",
    cells: { "lognormal 0.4, n=300": latencies(LAWS["lognormal 0.4"]!, 300, { ...SLOWER, ...UNEQUAL }) },
    measure: failed(),
    bound: { atLeast: 0.99 },
    runs: 3_000,
  },
  {
    target: "T17",
    what: "eight AZs of 2,000 that wander on their own (rho 0.001), 0.3%: fails in an hour",
    cells: {
      "n=16000": rates({
        traffic: steady(16_000),
        rate: [],
        azs: { rates: new Array(8).fill(HEALTHY_RATE), stableRates: new Array(8).fill(HEALTHY_RATE) },
        overdispersion: 0.001,
        stable: { times: 9, rate: HEALTHY_RATE },
        knowledge: reference(HEALTHY_RATE),
      }),
    },
    measure: failed(),
    bound: { atMost: 0.018 },
    runs: 3_000,
    quick: { runs: 300 },
  },
];

export const RULE_3: readonly Check[] = [...T13, ...T14, ...T15, ...T16, ...T17];
