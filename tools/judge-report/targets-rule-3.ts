/** The targets of version 3 of the rule, T13 to T17: what the judge must not be blinded by, and what must not fail a run. */
import type { Check } from "./checks.ts";
import { failed, fault, HEALTHY_RATE, latencies, lognormal, RUNS, rates, STABLE, steady } from "./checks.ts";

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

export const RULE_3: readonly Check[] = [...T13];
