/** The simulation applies the rules to counts, for speed; `judge` on closed windows gives the same results, window for window. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow, WindowSummary } from "@aviary/shared/contract/window.ts";
import { estimateOf } from "@aviary/shared/histogram-buckets.ts";
import { type Random, seededRandom } from "../../../libs/shared/src/testing/random.ts";
import { referenceFrom } from "../../../services/evaluator/src/core/judge/learn-reference.ts";
import { cell, closed, judgeRun, POLICY } from "../../../services/evaluator/test/core/judge/windows.ts";
import { LAWS, reference, STABLE, steady } from "../checks.ts";
import type { SimulatedLatencies, SlowCounts } from "../latency-run.ts";
import { regressionRun, simulateLatencies } from "../latency-run.ts";
import { literalWatcher } from "../other-rules.ts";
import type { Knowledge, Scenario } from "../scenario.ts";
import type { SimulatedWindow, SliceCounts } from "../traffic.ts";
import { simulateRun } from "../traffic.ts";
import type { RuleResult } from "../two-key.ts";
import { errorRun, noiseOf } from "../two-key.ts";

const KNOWN: Knowledge = reference(STABLE.rate);

/** Scenarios with different decisions: every kind of traffic, noise, fault and knowledge, with few runs each. */
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "little traffic": { traffic: steady(20), rate: [0.02], knowledge: "nothing" },
  "a fault beside stable": { traffic: steady(50), rate: [0.02], stable: STABLE, knowledge: KNOWN },
  "just above the ceiling": { traffic: steady(5_000), rate: [0.006], stable: STABLE, knowledge: KNOWN },
  "rates that wander": { traffic: steady(2_000), rate: [0.008], overdispersion: 0.001, stable: STABLE, knowledge: KNOWN },
  bursts: { traffic: steady(300), rate: [0.01], burst: { size: 3, seconds: 30 }, stable: STABLE, knowledge: KNOWN },
  incidents: {
    traffic: steady(300),
    rate: [0.003],
    stable: { times: 9, rate: 0.003 },
    incident: { rate: 0.1, windows: 3, unequal: 0.2 },
    knowledge: KNOWN,
  },
  "a spike": { traffic: steady(300), rate: [0.001], spike: { rate: 1, seconds: 40 }, stable: STABLE, knowledge: KNOWN },
  "a ramp": { traffic: { kind: "ramp", requests: 1_000 }, rate: [0.008], stable: STABLE, knowledge: "nothing" },
  "windows without requests": {
    traffic: { kind: "alternating", low: 0, high: 300 },
    rate: [0.02],
    stable: STABLE,
    knowledge: "nothing",
  },
  "irregular traffic": { traffic: { kind: "irregular", requests: 60 }, rate: [0.01], stable: STABLE, knowledge: KNOWN },
  "a fault in one of three AZs": {
    traffic: steady(600),
    rate: [],
    azs: { rates: [0.02, 0.001, 0.004], stableRates: [0.001, 0.001, 0.004] },
    stable: STABLE,
    knowledge: KNOWN,
  },
  "an outage of both slices": {
    traffic: steady(300),
    rate: [0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.02],
    stable: STABLE,
    incident: { rate: 0.5, windows: 2, unequal: 0.1, at: 3 },
    knowledge: { windows: 48, times: 9, rate: 0.001, incident: 0.5 },
  },
  "a stable slice that is too small": {
    traffic: steady(900),
    rate: [0.01],
    stable: { times: 1 / 9, rate: 0.003 },
    knowledge: "nothing",
  },
  "an idle start": {
    traffic: { kind: "idle", windows: 12, requests: 50 },
    rate: [0.02],
    windows: 24,
    stable: STABLE,
    knowledge: KNOWN,
  },
  "more windows than are kept": { traffic: steady(300), rate: [0.006], windows: 20, stable: STABLE, knowledge: KNOWN },
};
const RUNS = 12;

function summary(slice: "canary" | "stable", az: string, { requests: n, failures: x }: SliceCounts): WindowSummary {
  return cell({ slice, az, requests: n, errors: x, latency: (_, requests) => (requests > 0 ? [[50, requests]] : []) });
}

function closedOf(window: SimulatedWindow, k: number): ClosedWindow {
  const cells = window.flatMap(({ canary, stable }, az) => [
    summary("canary", `az-${az}`, canary),
    ...(stable.requests.some((n) => n > 0) ? [summary("stable", `az-${az}`, stable)] : []),
  ]);
  return closed(k, cells);
}

const CONCERN = { fail: "fail", environment: "hold", suspicious: "hold", clear: "pass" } as const;

describe("errors, by counts and by closed windows", () => {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    it(name, () => {
      let fails = 0;
      for (let run = 0; run < RUNS; run++) {
        const simulated = simulateRun(scenario, seededRandom(17, run));
        const windows = Array.from({ length: scenario.windows ?? 12 }, () => simulated.next());
        const history = simulated.reference.map((slices, k) =>
          closed(
            k,
            slices.map((slice, az) => summary("stable", `az-${az}`, slice)),
          ),
        );
        const outcomes = judgeRun(windows.map(closedOf), {
          reference: history.length > 0 ? referenceFrom(history, POLICY, "stable") : null,
          hasStable: scenario.stable !== undefined,
        });
        const azs = scenario.azs?.rates.length ?? 1;
        const ours = errorRun(0.005, noiseOf(scenario.knowledge, simulated.reference, 0.005, azs));
        const literal = literalWatcher(0.005);
        for (const [k, window] of windows.entries()) {
          const where = `${name}, run ${run}, window ${k}`;
          const decision = ours.judge(window);
          const outcome = outcomes[k]!;
          if (window.some(({ canary }) => canary.requests.some((n) => n > 0))) {
            assert.equal(outcome.twoKey.concerns.errors, concernOf(decision, ours.evidence().step), where);
            if (decision.pValue !== null) assert.equal(outcome.pValue, decision.pValue, where);
            const { step, promote, worse } = ours.evidence();
            // The latencies are healthy, so twice their ceiling is ruled out sooner than twice that of errors.
            assert.equal(outcome.twoKey.promotable, outcome.twoKey.verdict === "pass" && promote && !worse && step, where);
          }
          assert.equal(literal.judge(window), outcome.literal.concerns.errors === "fail", where);
          if (decision.kind === "fail") fails++;
        }
      }
      assert.ok(fails > 0 || ["a spike", "incidents"].includes(name), "the scenario decides something");
    });
  }
});

function concernOf({ kind }: RuleResult, step: boolean): "pass" | "hold" | "fail" {
  return kind === "clear" && !step ? "hold" : CONCERN[kind];
}

const SLOW_POLICY: Policy = { ...POLICY, thresholds: { ...POLICY.thresholds, maxP99Ms: 100_000 } };

/** Histograms of a slice, per sub-window, in the same buckets. */
type SlotBuckets = readonly (readonly number[])[];

function intoSlots({ requests: n, counts }: SlowCounts, random: Random): SlotBuckets {
  const room = Array.from({ length: 5 }, () => n / 5);
  const slots = Array.from({ length: 5 }, () => counts.map(() => 0));
  for (const [bucket, times] of counts.entries()) {
    for (let left = times; left > 0; ) {
      const slot = Math.floor(random() * 5);
      if (room[slot]! < 1) continue;
      slots[slot]![bucket]!++;
      room[slot]!--;
      left--;
    }
  }
  return slots;
}

function latencySummary(slice: "canary" | "stable", { requests: n, cut }: SlowCounts, slots: SlotBuckets): WindowSummary {
  return cell({
    slice,
    requests: [1, 2, 3, 4, 5].map(() => n / 5),
    latency: (slot, requests) => {
      const slow = slots[slot]!;
      const below = requests - slow.reduce((sum, times) => sum + times, 0);
      const pairs = slow.map((times, bucket) => [estimateOf(cut + bucket, 6), times] as const);
      return [[estimateOf(cut - 1, 6), below] as const, ...pairs].filter(([, times]) => times > 0);
    },
  });
}

describe("p99 regression, by counts and by closed windows", () => {
  const plans = [
    { law: "lognormal 0.4", requests: 300, canary: { factor: 1.3, share: 1 }, reference: 24 },
    { law: "lognormal 0.8", requests: 100, overdispersion: 0.001, canary: { factor: 1.6, share: 1 }, reference: 24 },
    { law: "1.5% in a slow hump", requests: 500, reference: 5, overdispersion: 0.002, canary: { factor: 1.3, share: 1 } },
    { law: "lognormal 0.6", requests: 200, reference: 0, windows: 15, canary: { factor: 1.5, share: 1 } },
    { law: "1% in a slow hump", requests: 300, reference: 24, canary: { factor: 1.3, share: 1 } },
    {
      law: "lognormal 0.4",
      requests: 100,
      reference: 24,
      spell: 3,
      drift: 0.85,
      canary: { factor: 1.6, share: 1 },
      incident: { factor: 3, share: 1, windows: 2 },
    },
    { law: "lognormal 0.4", requests: 300, reference: 24, unequal: 1.2, windows: 14, canary: { factor: 1.3, share: 1 } },
  ] as const;
  for (const { law, ...plan } of plans) {
    it(`${law}, ${plan.requests} requests, ${plan.reference} windows before`, () => {
      let fails = 0;
      for (let run = 0; run < 4; run++) {
        const random = seededRandom(23, run);
        const simulated: SimulatedLatencies = simulateLatencies({ law: LAWS[law]!, times: 4, ...plan }, random);
        const windows = Array.from({ length: "windows" in plan ? plan.windows : 12 }, () => simulated.next());
        const slots = new Map<SlowCounts, SlotBuckets>();
        const keep = (slice: SlowCounts): SlotBuckets => {
          const known = slots.get(slice) ?? intoSlots(slice, random);
          slots.set(slice, known);
          return known;
        };
        const history = simulated.reference.map((slice, k) => {
          const before = simulated.canaryHistory[k];
          const canary = before === undefined ? [] : [latencySummary("canary", before, intoSlots(before, random))];
          return closed(k, [latencySummary("stable", slice, keep(slice)), ...canary]);
        });
        const outcomes = judgeRun(
          windows.map(({ canary, stable }, k) =>
            closed(k, [latencySummary("canary", canary, keep(canary)), latencySummary("stable", stable, keep(stable))]),
          ),
          { policy: SLOW_POLICY, reference: history.length > 0 ? referenceFrom(history, SLOW_POLICY, "stable") : null },
        );
        const ours = regressionRun(
          simulated.reference,
          (slice, from) =>
            keep(slice).map((counts) => counts.slice(Math.max(0, from - slice.cut)).reduce((sum, times) => sum + times, 0)),
          simulated.canaryHistory,
        );
        for (const [k, window] of windows.entries()) {
          const { kind, pValue, literalFails } = ours.judge(window);
          const outcome = outcomes[k]!;
          assert.equal(outcome.twoKey.concerns.latency, CONCERN[kind], `run ${run}, window ${k}`);
          if (pValue !== null) assert.equal(outcome.pValue, pValue, `run ${run}, window ${k}`);
          assert.equal(outcome.literal.concerns.latency === "fail", literalFails, `run ${run}, window ${k}`);
          if (kind === "fail") fails++;
        }
      }
      assert.ok(fails > 0, "the plan decides something");
    });
  }
});
