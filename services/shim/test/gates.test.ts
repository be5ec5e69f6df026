import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { REASON_CODES, REASONS, type ReasonCode } from "@aviary/shared/contract/reasons.ts";
import { RUN_STATES } from "@aviary/shared/contract/run.ts";
import { OUTCOMES, type Outcome } from "@aviary/shared/contract/verdict.ts";
import fc from "fast-check";
import { CONFIRM_GATES, GATES, type Gate, type GateFacts, gateAnswer } from "../src/adapters/flagger-gates.ts";

type Run = NonNullable<GateFacts["run"]>;
const activeRun: Run = { state: "active", canary_active: true, weight: 10, promotable: false, mac_release_ok: true };
const facts = (verdict: Outcome, run: Partial<Run> | null, code?: ReasonCode, known = true): GateFacts => ({
  known,
  verdict,
  reasons: code === undefined ? [] : [{ code, text: `because of ${code}` }],
  run: run === null ? null : { ...activeRun, ...run },
});

/** Every column that a row of the table can depend on. */
const COLUMNS = {
  pass: facts("pass", {}),
  "pass, promotable": facts("pass", { promotable: true }),
  "pass, weight 0": facts("pass", { weight: 0 }),
  "hold, soft": facts("hold", {}, "low_traffic"),
  "hold, soft, promotable": facts("hold", { promotable: true }, "low_traffic"),
  "hold, soft, weight 0": facts("hold", { weight: 0 }, "low_traffic"),
  "hold, hard": facts("hold", {}, "skill_skew"),
  "hold, hard, promotable": facts("hold", { promotable: true }, "skill_skew"),
  "hold, hard, weight 0": facts("hold", { weight: 0 }, "stale"),
  "hold, release wanted, weight 0": facts("hold", { weight: 0, state: "pending", mac_release_ok: false }, "pending"),
  fail: facts("fail", { state: "failed" }, "over_5xx"),
  "fail, promotable": facts("fail", { state: "failed", promotable: true }, "over_5xx"),
  "fail, weight 0": facts("fail", { state: "failed", weight: 0 }, "disk_red"),
  "no run": facts("hold", null, "no_run"),
  "no run, hard": facts("hold", null, "disk_red"),
  "revision unseen": { ...facts("hold", null, "pending"), unseen: true },
  "run over": facts("hold", { state: "passed", canary_active: false, weight: 50 }, "no_run"),
  "run passed, promotable": facts("hold", { state: "passed", canary_active: false, promotable: true }, "no_run"),
  "run expired at weight 0": facts("hold", { state: "expired", canary_active: false, weight: 0 }, "no_run"),
  "not ready, old run": facts("hold", { promotable: true }, "not_ready"),
  "run aborted": facts("hold", { state: "aborted", canary_active: false, weight: 0 }, "no_run"),
  "no evaluator": facts("hold", {}, "evaluator_down"),
  "not ready": facts("hold", null, "not_ready"),
  "gateway not reporting, weight 0": facts("hold", { weight: 0 }, "not_reporting"),
  "unknown canary": facts("hold", null, "unknown_canary", false),
} as const satisfies Record<string, GateFacts>;
type Column = keyof typeof COLUMNS;

/** The gates that are open in each column; all others are 403. */
const OPEN: Readonly<Record<Column, readonly Gate[]>> = {
  pass: ["confirm-rollout", "confirm-traffic-increase", "pre-rollout", "rollout", "post-rollout"],
  "pass, promotable": [
    "confirm-rollout",
    "confirm-traffic-increase",
    "confirm-promotion",
    "pre-rollout",
    "rollout",
    "post-rollout",
  ],
  "pass, weight 0": ["confirm-rollout", "confirm-traffic-increase", "pre-rollout", "rollout", "post-rollout"],
  "hold, soft": ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"],
  "hold, soft, promotable": ["confirm-rollout", "confirm-promotion", "pre-rollout", "rollout", "post-rollout"],
  "hold, soft, weight 0": ["confirm-rollout", "confirm-traffic-increase", "pre-rollout", "rollout", "post-rollout"],
  "hold, hard": ["pre-rollout", "rollout", "post-rollout"],
  "hold, hard, promotable": ["pre-rollout", "rollout", "post-rollout"],
  "hold, hard, weight 0": ["pre-rollout", "rollout", "post-rollout"],
  "hold, release wanted, weight 0": ["pre-rollout", "rollout", "post-rollout"],
  fail: ["rollback", "post-rollout"],
  "fail, promotable": ["rollback", "post-rollout"],
  "fail, weight 0": ["rollback", "post-rollout"],
  "no run": ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"],
  "no run, hard": ["pre-rollout", "rollout", "post-rollout"],
  "revision unseen": ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"],
  "run over": ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"],
  "run passed, promotable": ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"],
  "run expired at weight 0": ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"],
  "run aborted": ["post-rollout"],
  "not ready": ["post-rollout"],
  "not ready, old run": ["post-rollout"],
  "gateway not reporting, weight 0": ["pre-rollout", "rollout", "post-rollout"],
  "no evaluator": ["pre-rollout", "rollout", "post-rollout"],
  "unknown canary": ["post-rollout"],
};

describe("the gate table", () => {
  for (const [column, given] of Object.entries(COLUMNS) as [Column, GateFacts][]) {
    for (const gate of GATES) {
      const open = OPEN[column].includes(gate);
      it(`${gate}: ${column} is ${open ? "200" : "403"}`, () => assert.equal(gateAnswer(gate, given).allowed, open));
    }
  }
});

const anyFacts: fc.Arbitrary<GateFacts> = fc.record({
  known: fc.boolean(),
  verdict: fc.constantFrom(...OUTCOMES),
  reasons: fc.array(fc.record({ code: fc.constantFrom(...REASON_CODES), text: fc.string({ maxLength: 200 }) }), { maxLength: 5 }),
  run: fc.option(
    fc.record({
      state: fc.constantFrom(...RUN_STATES),
      canary_active: fc.boolean(),
      weight: fc.constantFrom(0, 10, 100),
      promotable: fc.boolean(),
      mac_release_ok: fc.boolean(),
    }),
    { nil: null },
  ),
});

describe("in every state", () => {
  it("an open rollback gate implies that every confirm gate is closed", () => {
    fc.assert(
      fc.property(anyFacts, (given) => {
        if (!gateAnswer("rollback", given).allowed) return;
        for (const gate of CONFIRM_GATES) assert.equal(gateAnswer(gate, given).allowed, false, gate);
      }),
      { numRuns: 2_000 },
    );
  });

  it("rollback is open on a fail of a known canary and never otherwise", () => {
    fc.assert(
      fc.property(anyFacts, (given) => {
        assert.equal(gateAnswer("rollback", given).allowed, given.known && given.verdict === "fail");
      }),
    );
  });

  it("a hard reason keeps confirm-rollout closed unless the verdict is a pass", () => {
    fc.assert(
      fc.property(anyFacts, (given) => {
        const hard = given.reasons.some(({ code }) => REASONS[code].hard);
        if (hard && given.verdict !== "pass") assert.equal(gateAnswer("confirm-rollout", given).allowed, false);
      }),
    );
  });

  it("whatever widens needs an open run", () => {
    fc.assert(
      fc.property(anyFacts, fc.constantFrom("confirm-traffic-increase" as const, "confirm-promotion" as const), (given, gate) => {
        const isOpen = given.run !== null && ["pending", "warming", "active", "failed"].includes(given.run.state);
        if (!isOpen) assert.equal(gateAnswer(gate, given).allowed, false);
      }),
      { numRuns: 1_000 },
    );
  });

  it("a promotion is refused while a reason other than missing traffic is present", () => {
    fc.assert(
      fc.property(anyFacts, (given) => {
        const harmless = ["low_traffic", "late", "hold_expired"];
        if (given.reasons.some(({ code }) => !harmless.includes(code)))
          assert.equal(gateAnswer("confirm-promotion", given).allowed, false);
      }),
      { numRuns: 1_000 },
    );
  });

  it("the text is one line of 1 to 200 characters", () => {
    fc.assert(
      fc.property(anyFacts, fc.constantFrom(...GATES), (given, gate) => {
        const { text } = gateAnswer(gate, given);
        assert.ok(text.length > 0 && text.length <= 200, JSON.stringify(text));
        assert.ok(!/[\r\n]/.test(text), JSON.stringify(text));
      }),
    );
  });
});
