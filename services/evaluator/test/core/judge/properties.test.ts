/** Properties of any run: fail closed, the same bytes for the same input, and more errors never help. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MAX_REASON_TEXT } from "@aviary/shared/contract/reasons.ts";
import type { ClosedWindow, WindowSummary } from "@aviary/shared/contract/window.ts";
import fc from "fast-check";
import { judge } from "../../../src/core/judge/judge.ts";
import { storeMemory } from "../../../src/core/judge/memory-codec.ts";
import type { JudgedRun, JudgeMemory } from "../../../src/core/judge/outcome.ts";
import { cell, closed, judgeRun, noise, POLICY } from "./windows.ts";

const RANK = { pass: 0, hold: 1, fail: 2 } as const;

const slot = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ n: 0, x: 0, ms: 50 }) },
  {
    weight: 6,
    arbitrary: fc
      .record({
        n: fc.integer({ min: 0, max: 400 }),
        share: fc.constantFrom(0, 0, 0, 0.003, 0.02, 0.5, 1),
        ms: fc.constantFrom(20, 60, 180, 260),
      })
      .map(({ n, share, ms }) => ({ n, x: Math.round(n * share), ms })),
  },
);
const anyCell: fc.Arbitrary<WindowSummary> = fc
  .record({
    slice: fc.constantFrom("canary" as const, "canary" as const, "stable" as const),
    az: fc.constantFrom("az-a", "az-b", "az-c"),
    source: fc.constantFrom("access-log" as const, "access-log" as const, "prometheus" as const, "synthetic" as const),
    slots: fc.array(slot, { minLength: 5, maxLength: 5 }),
    slotted: fc.boolean(),
  })
  .map(({ slice, az, source, slots, slotted }) =>
    cell({
      slice,
      az,
      source,
      slotted,
      requests: slots.map(({ n }) => n),
      errors: slots.map(({ x }) => x),
      latency: (k, n) => (n === 0 ? [] : [[slots[k]!.ms, n]]),
    }),
  );
const anyRun: fc.Arbitrary<ClosedWindow[]> = fc
  .array(
    fc.record({
      cells: fc.array(anyCell, { maxLength: 6 }),
      complete: fc.boolean(),
      weight: fc.constantFrom(0, 5, 20, 100),
      queue_depth: fc.option(fc.nat(30)),
    }),
    { minLength: 1, maxLength: 16 },
  )
  .map((plans) => plans.map(({ cells, ...rest }, k) => closed(k, cells, rest)));

/** Latencies that vary between windows, a little or a lot, for each slice and AZ, at any scale. */
const wanderingLatencies: fc.Arbitrary<ClosedWindow[]> = fc
  .array(
    fc.array(
      fc.record({
        slice: fc.constantFrom("canary" as const, "stable" as const, "stable" as const),
        az: fc.constantFrom("az-a", "az-b"),
        n: fc.integer({ min: 1, max: 900 }),
        typicalMs: fc.constantFrom(0, 30, 60, 65, 70, 70, 80, 240, 5_000),
        slowMs: fc.constantFrom(0.5, 90, 100, 105, 120, 160, 219, 221, 800, 1e9),
        slowShare: fc.constantFrom(0, 0.004, 0.0101, 0.012, 0.05),
        scale: fc.constantFrom(6, 6, 6, 6, 8, 4),
      }),
      { maxLength: 6 },
    ),
    { minLength: 2, maxLength: 16 },
  )
  .map((plans) =>
    plans.map((cells, k) =>
      closed(
        k,
        cells.map(({ slice, az, n, typicalMs, slowMs, slowShare, scale }) => {
          const slow = Math.round(n * slowShare);
          const latency = [[typicalMs, n - slow] as const, [slowMs, slow] as const];
          return cell({ slice, az, scale, requests: [n, n, 0, n, 1], latency: (_, m) => (m === n ? latency : [[typicalMs, m]]) });
        }),
      ),
    ),
  );

const plan = { reference: noise(1e-4, 1.2) };

function requests(window: ClosedWindow): number {
  const cells = window.cells.filter(({ slice, source }) => slice === "canary" && source !== "synthetic");
  return cells.flatMap(({ slots }) => slots).reduce((sum, one) => sum + one.requests, 0);
}

describe("any run", () => {
  it("never passes without requests or in an incomplete window, always has a reason otherwise, and matches the contract", () => {
    fc.assert(
      fc.property(anyRun, (windows) => {
        for (const [k, outcome] of judgeRun(windows, plan).entries()) {
          for (const mode of [outcome.literal, outcome.twoKey]) {
            // The queue may fail without requests; nothing else may.
            if (requests(windows[k]!) === 0) assert.deepEqual([mode.concerns.errors, mode.concerns.latency], ["hold", "hold"]);
            if (!windows[k]!.complete) assert.notEqual(mode.verdict, "pass");
            assert.equal(mode.reasons.length === 0, mode.verdict === "pass");
            assert.ok(!mode.promotable || mode.verdict === "pass");
            for (const { text, value = 0, limit = 0 } of [...mode.reasons, ...mode.warnings]) {
              assert.ok(text.length > 0 && text.length <= MAX_REASON_TEXT, text);
              assert.ok(Number.isFinite(value) && Number.isFinite(limit), text);
            }
          }
          assert.ok(outcome.pValue === null || (outcome.pValue >= 0 && outcome.pValue <= 1));
          assert.ok(JSON.stringify(storeMemory(outcome.memory)).length < 24_000);
        }
      }),
      { numRuns: 150, seed: 5 },
    );
  });

  it("yields the same bytes from kept memory and from the windows alone", () => {
    fc.assert(
      fc.property(anyRun, (windows) => {
        const outcomes = judgeRun(windows, plan);
        assert.equal(JSON.stringify(judgeRun(windows, plan)), JSON.stringify(outcomes));
        // As long as no window is lost, a judge without memory rebuilds the same.
        const upTo = Math.min(windows.length, 12);
        const forgetful: JudgedRun = { judged: upTo - 1, memory: null, reference: plan.reference, hasStable: true };
        const { memory: _, ...fresh } = judge(windows.slice(0, upTo), POLICY, forgetful);
        const { memory: __, ...kept } = outcomes[upTo - 1]!;
        assert.deepEqual(fresh, kept);
      }),
      { numRuns: 100, seed: 6 },
    );
  });

  it("keeps as much of stable's latencies as the rule reads, wherever they move", () => {
    const limits = { "regression.limit_ms": 65, "az-b/regression.limit_ms": 240 };
    const known = { "regression.timed": 9_000, "regression.above": 45, "regression.windows": 12, "regression.ratio": 1.15 };
    const inAz = Object.fromEntries(Object.entries(known).map(([name, figure]) => [`az-b/${name}`, figure]));
    const reference = { ...plan.reference, figures: { ...plan.reference.figures, ...limits, ...known, ...inAz } };
    let bands = 0;
    fc.assert(
      fc.property(wanderingLatencies, fc.constantFrom(reference, plan.reference), (windows, before) => {
        let memory: JudgeMemory | null = null;
        for (let t = 1; t <= windows.length; t++) {
          const given = windows.slice(Math.max(0, t - 12), t);
          const run = { judged: t - 1, memory, reference: before, hasStable: true };
          const { memory: next, ...banded } = judge(given, POLICY, run);
          const { memory: _, ...whole } = judge(given, POLICY, { ...run, memory: memory && { ...memory, stableBand: null } });
          assert.deepEqual(banded, whole);
          memory = next;
          const { low, high } = next.stableBand as { low: number; high: number };
          if (high - low < 400) bands++;
        }
      }),
      { numRuns: 400, seed: 9 },
    );
    assert.ok(bands > 1_000, `${bands} windows were judged from a band`);
  });

  it("fails from three bad requests on, and in the first window only from eight times the ceiling", () => {
    const errors = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 5, maxLength: 5 });
    fc.assert(
      fc.property(errors, (bySlot) => {
        const [outcome] = judgeRun([closed(0, [cell({ requests: bySlot.map(() => 60), errors: bySlot })])], { hasStable: false });
        const bad = bySlot.reduce((sum, x) => sum + x, 0);
        if (outcome!.twoKey.verdict === "fail") assert.ok(bad >= 12, `${bad} of 300`);
      }),
      { numRuns: 300, seed: 7 },
    );
  });

  it("more errors in the last window, equally distributed, never improve the verdict", () => {
    const perSlot = fc.integer({ min: 0, max: 4 });
    fc.assert(
      fc.property(fc.array(perSlot, { maxLength: 6 }), fc.constantFrom(20, 100, 1000), (before, n) => {
        let worst = 0;
        for (let last = 0; last <= 8; last++) {
          const windows = [...before, last].map((x, k) =>
            closed(k, [cell({ requests: Array(5).fill(n), errors: Array(5).fill(x) })]),
          );
          const { twoKey } = judgeRun(windows, { hasStable: false }).at(-1)!;
          assert.ok(RANK[twoKey.verdict] >= worst, `${before} then ${last}: ${twoKey.verdict}`);
          worst = RANK[twoKey.verdict];
        }
      }),
      { numRuns: 60, seed: 8 },
    );
  });
});
