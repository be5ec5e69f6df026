import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { REASON_CODES, REASONS, type ReasonCode } from "@aviary/shared/contract/reasons.ts";
import { RUN_STATES, type RunState } from "@aviary/shared/contract/run.ts";
import { OUTCOMES, type Outcome, type RevisionEntry } from "@aviary/shared/contract/verdict.ts";
import { aReason, aVerdict } from "@aviary/shared/testing/builders.ts";
import fc from "fast-check";
import { gateFacts } from "../src/adapters/flagger.ts";
import { CONFIRM_GATES, GATES, type Gate, type GateFacts, gateAnswer } from "../src/adapters/flagger-gates.ts";
import { requestSubject } from "../src/response/standing.ts";
import { currentAnswer } from "../src/response/verdict-answer.ts";

const openRun = { weight: 10 as number | null, granted: true, promotable: false, mac_release_ok: true };
const closedRun = { state: null, isRestoring: false, abortedByOperator: false, needsMacRelease: false };

interface Change {
  readonly code?: ReasonCode;
  readonly known?: boolean;
  readonly strategy?: GateFacts["strategy"];
}
const factsWith = (
  verdict: Outcome,
  run: GateFacts["run"],
  { code, known = true, strategy = "weighted" }: Change,
): GateFacts => ({
  known,
  verdict,
  reasons: code === undefined ? [] : [{ code, text: `because of ${code}` }],
  run,
  strategy,
});
const open = (verdict: Outcome, run: Partial<typeof openRun> = {}, code?: ReasonCode, change: Change = {}) =>
  factsWith(verdict, { ...openRun, ...run }, { ...(code === undefined ? {} : { code }), ...change });
const closed = (
  run: Partial<Omit<typeof closedRun, "state">> & { state?: RunState | null },
  code: ReasonCode = "no_run",
  change: Change = {},
) => factsWith("hold", { ...closedRun, ...run }, { code, ...change });

const AT_ZERO = { weight: 0, granted: false };

/** Every column that a row of the table can depend on, and the gates that are open in it; all others are 403. */
const TABLE: Readonly<Record<string, readonly [GateFacts, readonly Gate[]]>> = {
  pass: [open("pass"), ["confirm-rollout", "confirm-traffic-increase", "pre-rollout", "rollout", "post-rollout"]],
  "pass, weight unknown": [
    open("pass", { weight: null }),
    ["confirm-rollout", "confirm-traffic-increase", "pre-rollout", "rollout", "post-rollout"],
  ],
  "pass, promotable": [open("pass", { promotable: true }), GATES.filter((gate) => gate !== "rollback")],
  "hold, soft": [open("hold", {}, "low_traffic"), ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"]],
  "hold, soft, promotable": [
    open("hold", { promotable: true }, "low_traffic"),
    ["confirm-rollout", "confirm-promotion", "pre-rollout", "rollout", "post-rollout"],
  ],
  "hold, soft, weight 0": [
    open("hold", AT_ZERO, "low_traffic"),
    ["confirm-rollout", "confirm-traffic-increase", "pre-rollout", "rollout", "post-rollout"],
  ],
  "hold, soft, weight 0, increase granted": [
    open("hold", { weight: 0, granted: true }, "low_traffic"),
    ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"],
  ],
  "hold, soft, weight unknown": [
    open("hold", { weight: null, granted: false }, "warming"),
    ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"],
  ],
  "hold, hard": [open("hold", {}, "skill_skew"), ["pre-rollout", "rollout", "post-rollout"]],
  "hold, hard, promotable": [open("hold", { promotable: true }, "gateway_down"), ["pre-rollout", "rollout", "post-rollout"]],
  "hold, hard, weight 0": [open("hold", AT_ZERO, "stale"), ["pre-rollout", "rollout", "post-rollout"]],
  "hold, caller gone": [open("hold", AT_ZERO, "caller_gone"), ["pre-rollout", "rollout", "post-rollout"]],
  "hold, release wanted, weight 0": [
    open("hold", { ...AT_ZERO, mac_release_ok: false }, "pending"),
    ["pre-rollout", "rollout", "post-rollout"],
  ],
  "hold, soft, A/B": [
    open("hold", {}, "low_traffic", { strategy: "ab" }),
    ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"],
  ],
  "hold, hard, A/B": [open("hold", {}, "stale", { strategy: "ab" }), ["rollout", "post-rollout"]],
  fail: [open("fail", {}, "over_5xx"), ["rollback", "post-rollout"]],
  "fail, promotable": [open("fail", { promotable: true }, "over_5xx"), ["rollback", "post-rollout"]],
  "fail, weight 0": [open("fail", AT_ZERO, "disk_red"), ["rollback", "post-rollout"]],
  "no run": [closed({}), ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"]],
  "no run, hard": [closed({}, "disk_red"), ["pre-rollout", "rollout", "post-rollout"]],
  "no run, A/B, hard": [closed({}, "disk_red", { strategy: "ab" }), ["rollout", "post-rollout"]],
  "a new revision, release required": [closed({ needsMacRelease: true }), ["pre-rollout", "rollout", "post-rollout"]],
  passed: [closed({ state: "passed" }), ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"]],
  expired: [closed({ state: "expired" }), ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"]],
  unjudged: [closed({ state: "unjudged" }), ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"]],
  superseded: [closed({ state: "superseded" }), ["confirm-rollout", "pre-rollout", "rollout", "post-rollout"]],
  "failed and restored": [closed({ state: "failed" }), ["confirm-rollout", "rollback", "post-rollout"]],
  "failed, restoring": [closed({ state: "failed", isRestoring: true }), ["rollback", "post-rollout"]],
  "aborted by its controller": [closed({ state: "aborted" }), ["confirm-rollout", "post-rollout"]],
  "aborted by an operator": [closed({ state: "aborted", abortedByOperator: true }), ["post-rollout"]],
  "no evaluator": [open("hold", {}, "evaluator_down"), ["pre-rollout", "rollout", "post-rollout"]],
  "not ready": [closed({}, "not_ready"), ["post-rollout"]],
  "not ready, failed": [closed({ state: "failed" }, "not_ready"), ["post-rollout"]],
  "not ready, old run": [open("hold", { promotable: true }, "not_ready"), ["post-rollout"]],
  "gateway not reporting, weight 0": [open("hold", AT_ZERO, "not_reporting"), ["pre-rollout", "rollout", "post-rollout"]],
  "unknown canary": [closed({}, "unknown_canary", { known: false }), ["post-rollout"]],
};

describe("the gate table", () => {
  for (const [column, [given, opened]] of Object.entries(TABLE)) {
    for (const gate of GATES) {
      const isAllowed = opened.includes(gate);
      it(`${gate}: ${column} is ${isAllowed ? "200" : "403"}`, () => assert.equal(gateAnswer(gate, given).allowed, isAllowed));
    }
  }
});

/** The revision that a call names, in words. */
const NAMINGS = ["nothing", "the current revision", "an older revision", "a new revision"] as const;
/** Reasons by their meaning for a gate: none, only missing evidence, measured traffic, or a hard fault. */
const REASON_CLASSES = { none: undefined, evidence: "low_traffic", measured: "over_5xx", broken: "gateway_down" } as const;

/**
 * The rules of the gates, independent of the table's code: a gate that widens traffic needs an open run of that revision, and
 * either a pass or a weight that is known to be 0 with nothing granted.
 */
function expectedOf(gate: Gate, given: Situation): boolean {
  const isOpenRun = ["pending", "warming", "active"].includes(given.state) || (given.state === "failed" && given.frozen);
  const isAbout = given.naming === "nothing" || given.naming === "the current revision";
  const isOwn = isAbout && isOpenRun;
  const ended = isAbout ? (isOpenRun ? undefined : given.state) : given.naming === "an older revision" ? given.older : "never";
  const failsNow = isOwn && given.state === "failed";
  const isBroken = given.reason === "broken";
  const isPass = isOwn && given.state === "active" && given.reason === "none";
  switch (gate) {
    case "post-rollout":
      return true;
    case "rollback":
      return failsNow || ended === "failed";
    case "confirm-rollout":
      return isOwn ? !failsNow && (isPass || !isBroken) : !isBroken && !(ended === "aborted");
    case "pre-rollout":
    case "rollout":
      return isOwn ? !failsNow : ended !== "failed" && ended !== "aborted";
    case "confirm-traffic-increase":
      if (!isOwn || failsNow) return false;
      return isPass || (given.weight === 0 && !given.granted && !isBroken);
    case "confirm-promotion":
      return isOwn && !failsNow && given.promotable && (given.reason === "none" || given.reason === "evidence");
  }
}

interface Situation {
  readonly state: RunState;
  readonly frozen: boolean;
  readonly naming: (typeof NAMINGS)[number];
  readonly older: "failed" | "passed" | "superseded";
  readonly weight: number | null;
  readonly granted: boolean;
  readonly promotable: boolean;
  readonly reason: keyof typeof REASON_CLASSES;
}

function* situations(): Generator<Situation> {
  for (const state of RUN_STATES)
    for (const frozen of state === "failed" ? [true, false] : [state === "warming" || state === "active"])
      for (const naming of NAMINGS)
        for (const older of naming === "an older revision"
          ? (["failed", "passed", "superseded"] as const)
          : (["passed"] as const))
          for (const weight of [null, 0, 10])
            for (const granted of [false, true])
              for (const promotable of [false, true])
                for (const reason of Object.keys(REASON_CLASSES) as (keyof typeof REASON_CLASSES)[])
                  yield { state, frozen, naming, older, weight, granted, promotable, reason };
}

const NAME_OF = { nothing: undefined, "the current revision": "v2", "an older revision": "v1", "a new revision": "v3" } as const;

/** The stored record of a situation, and the answer of the table to it. */
function answerOf(gate: Gate, given: Situation) {
  const code = REASON_CLASSES[given.reason];
  const isFail = given.state === "failed";
  const verdict = isFail ? "fail" : given.state === "active" && code === undefined ? "pass" : "hold";
  const now = code === undefined ? [] : [aReason(code)];
  const reasons = isFail ? [aReason("over_5xx"), aReason("latched")] : now;
  const at = "2026-11-21T09:00:00.000Z";
  const entry = (name: string, state: RunState): RevisionEntry => ({
    name,
    attempt: 1,
    state,
    at,
    end_reported: false,
    ended_by: null,
  });
  const { state, frozen: canary_active, weight, granted, promotable } = given;
  const record = aVerdict({
    verdict,
    reasons,
    ...(isFail ? { current: now } : {}),
    run: { state, canary_active, weight, granted, promotable: promotable && !isFail, controller_revision: "v2" },
    revisions: [entry("v1", given.older), entry("v2", state)],
  });
  const runs = { run: record.body.run, revisions: record.revisions };
  const subject = requestSubject({ revision: NAME_OF[given.naming] }, runs);
  return gateAnswer(gate, gateFacts(currentAnswer(record.body, undefined), subject, undefined));
}

describe("over every combination of run state, name, weight, grant and reason", () => {
  for (const gate of GATES) {
    it(`${gate} opens exactly as the rules require`, () => {
      let count = 0;
      for (const given of situations()) {
        // No run is idle, and a pass has no reasons.
        if (given.state === "idle") continue;
        const { allowed, text } = answerOf(gate, given);
        assert.equal(allowed, expectedOf(gate, given), `${JSON.stringify(given)}: ${text}`);
        count += 1;
      }
      assert.ok(count > 2_000);
    });
  }
});

describe("a failed revision whose canary slice is not restored", () => {
  it("is refused at confirm-rollout with the reason restoring", () => {
    const { text } = gateAnswer("confirm-rollout", closed({ state: "failed", isRestoring: true }));
    assert.match(text, /^restoring: this revision failed/);
  });
});

const anyRun: fc.Arbitrary<GateFacts["run"]> = fc.oneof(
  fc.record({
    weight: fc.constantFrom(null, 0, 10, 100),
    granted: fc.boolean(),
    promotable: fc.boolean(),
    mac_release_ok: fc.boolean(),
  }),
  fc.record({
    state: fc.constantFrom(null, ...RUN_STATES),
    isRestoring: fc.boolean(),
    abortedByOperator: fc.boolean(),
    needsMacRelease: fc.boolean(),
  }),
);
const anyFacts: fc.Arbitrary<GateFacts> = fc.record({
  known: fc.boolean(),
  verdict: fc.constantFrom(...OUTCOMES),
  reasons: fc.array(fc.record({ code: fc.constantFrom(...REASON_CODES), text: fc.string({ maxLength: 200 }) }), { maxLength: 5 }),
  run: anyRun,
  strategy: fc.constantFrom("weighted", "blue-green", "ab"),
});
const hasOpenRun = ({ run }: GateFacts): boolean => "weight" in run;

describe("in every state", () => {
  it("an open rollback gate implies that no gate that widens is open", () => {
    fc.assert(
      fc.property(anyFacts, (given) => {
        if (!gateAnswer("rollback", given).allowed) return;
        // A revision that failed and was restored may be tried again, which shifts no traffic.
        const widening = hasOpenRun(given) ? CONFIRM_GATES : new Set<Gate>(["confirm-traffic-increase", "confirm-promotion"]);
        for (const gate of widening) assert.equal(gateAnswer(gate, given).allowed, false, gate);
      }),
      { numRuns: 2_000 },
    );
  });

  it("a hard reason keeps confirm-rollout closed unless the open run passes", () => {
    fc.assert(
      fc.property(anyFacts, (given) => {
        const hard = given.reasons.some(({ code }) => REASONS[code].hard);
        const isPass = hasOpenRun(given) && given.verdict === "pass";
        if (hard && !isPass) assert.equal(gateAnswer("confirm-rollout", given).allowed, false);
      }),
    );
  });

  it("a gate that widens opens only during an open run", () => {
    fc.assert(
      fc.property(anyFacts, fc.constantFrom("confirm-traffic-increase" as const, "confirm-promotion" as const), (given, gate) => {
        if (!hasOpenRun(given)) assert.equal(gateAnswer(gate, given).allowed, false);
      }),
      { numRuns: 1_000 },
    );
  });

  it("confirm-promotion opens only if no reason except missing traffic is present", () => {
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
