import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LEASE_STALE_MS } from "@aviary/shared/contract/lease.ts";
import { MAX_REASON_TEXT, REASON_CODES } from "@aviary/shared/contract/reasons.ts";
import { MAX_ANSWER_BYTES, OUTCOMES, parseVerdictRecord, verdictBodySchema } from "@aviary/shared/contract/verdict.ts";
import { aReason, aVerdict, BUILT_AT } from "@aviary/shared/testing/builders.ts";
import fc from "fast-check";
import {
  closeJson,
  measurementIndex,
  openJson,
  REQUEST_BYTES,
  REQUEST_BYTES_WITH_LANE,
  type Scale,
} from "../src/response/answer-json.ts";
import {
  ANALYSIS_CONCERNS,
  absentAnswer,
  concernAnswer,
  currentAnswer,
  earlierRevisionAnswer,
  newRevisionAnswer,
  type Unavailable,
  unavailability,
  type VerdictFreshness,
} from "../src/response/verdict-answer.ts";

const now = Date.parse(BUILT_AT);

const GONE: Unavailable = { code: "evaluator_down", text: "gone" };

describe("freshness", () => {
  const fresh: VerdictFreshness = { validUntilMs: now + 1, nowMs: now, leaseAgeMs: 0, isCaughtUp: true };
  const why = (change: Partial<VerdictFreshness>) => unavailability({ ...fresh, ...change });

  it("lasts until valid_until, as long as the lease is renewed", () => {
    assert.equal(why({}), undefined);
    assert.equal(why({ validUntilMs: now, leaseAgeMs: LEASE_STALE_MS - 1 }), undefined);
  });

  it("ends with evaluator_down when the verdict expires, the lease is stale or absent, or a time is not a number", () => {
    const cases: readonly [Partial<VerdictFreshness>, RegExp][] = [
      [{ validUntilMs: now - 1 }, /valid until 2/],
      [{ validUntilMs: Number.NaN }, /valid until an unreadable time/],
      [{ leaseAgeMs: LEASE_STALE_MS }, /renewed the lease for 15 s/],
      [{ leaseAgeMs: Number.NaN }, /renewed the lease/],
      [{ leaseAgeMs: Number.POSITIVE_INFINITY }, /no evaluator holds the lease/],
      [{ validUntilMs: undefined, leaseAgeMs: LEASE_STALE_MS }, /no verdict is stored.*renewed the lease/],
    ];
    for (const [change, text] of cases) {
      assert.equal(why(change)?.code, "evaluator_down");
      assert.match(why(change)?.text ?? "", text);
    }
  });

  it("is not_ready, not evaluator_down, while the shim has not caught up: a newer verdict may be unread", () => {
    assert.equal(why({ isCaughtUp: false }), undefined, "a verdict that is fresh is served");
    const unfinished: Partial<VerdictFreshness>[] = [
      { validUntilMs: undefined },
      { validUntilMs: undefined, leaseAgeMs: Number.POSITIVE_INFINITY },
      { validUntilMs: now - 1 },
      { leaseAgeMs: Number.POSITIVE_INFINITY },
    ];
    for (const change of unfinished) {
      const cause = why({ ...change, isCaughtUp: false });
      assert.deepEqual(cause, { code: "not_ready", text: "the shim has not read the stored verdicts yet" });
    }
  });

  it("is not_ready while a running evaluator has not published its first verdict", () => {
    const cause = why({ validUntilMs: undefined });
    assert.equal(cause?.code, "not_ready");
    assert.match(cause?.text ?? "", /has not published a verdict for this canary yet/);
  });

  it("turns a pass into a hold with the code of its cause", () => {
    for (const code of ["evaluator_down", "not_ready"] as const) {
      const { body, stale } = currentAnswer(aVerdict().body, { code, text: "gone" });
      assert.deepEqual([body.verdict, stale, body.reasons[0]?.code], ["hold", true, code]);
    }
  });

  it("turns a pass into the hold evaluator_down, which is not promotable, and keeps the stored id", () => {
    const { body } = aVerdict({ run: { promotable: true } });
    const answer = currentAnswer(body, GONE);
    assert.equal(answer.stale, true);
    assert.deepEqual(
      [answer.body.verdict, answer.body.status, answer.body.verdict_num, answer.body.degraded, answer.body.degraded_num],
      ["hold", "hold", 0.5, true, 1],
    );
    assert.equal(answer.body.reasons[0]?.code, "evaluator_down");
    assert.equal(answer.body.run?.promotable, false);
    assert.equal(answer.body.id, body.id);
    assert.ok(Object.values(answer.body.concerns).every((concern) => concern !== "pass"));
  });

  it("keeps a latched failure, regardless of what is down", () => {
    const { body } = aVerdict({ verdict: "fail" });
    const answer = currentAnswer(body, GONE);
    assert.equal(answer.body, body);
    assert.deepEqual([answer.stale, answer.known], [true, true]);
    // It must not answer for another revision, because its staleness applies to that one too.
    const other = newRevisionAnswer(answer, "v3").body;
    assert.deepEqual([other.verdict, other.reasons[0]?.code], ["hold", "evaluator_down"]);
  });

  it("keeps at most five reasons and counts the rest", () => {
    const reasons = REASON_CODES.slice(0, 5).map((code) => aReason(code));
    const { body } = currentAnswer(aVerdict({ verdict: "hold", reasons, reasons_more: 2 }).body, GONE);
    assert.equal(body.reasons.length, 5);
    assert.equal(body.reasons_more, 3);
  });
});

describe("a revision without a verdict", () => {
  it("gets neither the pass nor the fail of another revision, only the reasons that apply to any revision", () => {
    for (const verdict of OUTCOMES) {
      const reasons = verdict === "pass" ? [] : [aReason("latched"), aReason("over_5xx"), aReason("disk_red")];
      const { body } = newRevisionAnswer(currentAnswer(aVerdict({ verdict, reasons }).body, undefined), "v3");
      assert.equal(body.verdict, "hold");
      assert.equal(body.run, null);
      const codes = body.reasons.map(({ code }) => code);
      assert.deepEqual(codes, verdict === "pass" ? ["pending"] : ["disk_red", "pending"]);
      assert.equal(body.degraded, verdict !== "pass");
    }
  });
});

describe("a revision that was analyzed before the current run", () => {
  const entry = { name: "v1", attempt: 1, at: "2026-11-21T09:00:00.000Z", end_reported: true, ended_by: null } as const;
  const pass = currentAnswer(aVerdict({ verdict: "pass" }).body, undefined);

  it("fails if it failed; otherwise it is a hold with superseded while another run is open, and with no_run afterwards", () => {
    const open = pass.body.run;
    const failed = earlierRevisionAnswer(pass, { entry: { ...entry, state: "failed" }, open }).body;
    assert.deepEqual(
      [failed.verdict, failed.verdict_num, failed.degraded, failed.run, failed.reasons[0]?.code],
      ["fail", 0, true, null, "latched"],
    );
    const older = earlierRevisionAnswer(pass, { entry: { ...entry, state: "superseded" }, open }).body;
    assert.deepEqual([older.verdict, older.run, older.reasons[0]?.code], ["hold", null, "superseded"]);
    const over = earlierRevisionAnswer(pass, { entry: { ...entry, state: "passed" }, open: null }).body;
    assert.deepEqual([over.verdict, over.degraded, over.reasons[0]?.code], ["hold", false, "no_run"]);
  });
});

describe("an answer for one concern", () => {
  it("is judged by that concern only, with the reasons that belong to it or to no concern", () => {
    const concerns = { errors: "fail", latency: "pass", queue: "hold", disk: "pass", doctor: "pass", parity: "pass" } as const;
    const reasons = [aReason("over_5xx"), aReason("queue_high"), aReason("gap")];
    const answer = currentAnswer(aVerdict({ verdict: "fail", reasons, concerns }).body, undefined);
    const seen = ANALYSIS_CONCERNS.map((concern) => {
      const { body } = concernAnswer(answer, concern);
      return [concern, body.verdict, body.verdict_num, body.degraded, body.reasons.map(({ code }) => code)];
    });
    assert.deepEqual(seen, [
      ["errors", "fail", 0, true, ["over_5xx", "gap"]],
      ["latency", "pass", 1, false, []],
      ["queue", "hold", 0.5, true, ["queue_high", "gap"]],
      ["disk", "pass", 1, false, []],
    ]);
  });

  it("is a hold while a reason holds the canary as a whole", () => {
    const concerns = { errors: "fail", latency: "pass", queue: "pass", disk: "pass", doctor: "pass", parity: "hold" } as const;
    for (const code of [
      "no_run",
      "gateway_down",
      "stale",
      "gap",
      "maintenance",
      "evaluator_down",
      "not_ready",
      "not_reporting",
      "pending",
    ] as const) {
      const answer = currentAnswer(aVerdict({ verdict: "hold", reasons: [aReason(code)], concerns }).body, undefined);
      for (const concern of ANALYSIS_CONCERNS)
        assert.equal(concernAnswer(answer, concern).body.verdict, "hold", `${code}: ${concern}`);
    }
    const skewed = currentAnswer(aVerdict({ verdict: "hold", reasons: [aReason("skill_skew")], concerns }).body, undefined);
    assert.equal(concernAnswer(skewed, "latency").body.verdict, "pass", "parity is another concern");
  });

  it("stays failed for every concern when the one that latched has recovered", () => {
    const concerns = { errors: "pass", latency: "pass", queue: "pass", disk: "pass", doctor: "pass", parity: "pass" } as const;
    const answer = currentAnswer(aVerdict({ verdict: "fail", reasons: [aReason("latched")], concerns }).body, undefined);
    for (const concern of ANALYSIS_CONCERNS) assert.equal(concernAnswer(answer, concern).body.verdict, "fail", concern);
  });
});

describe("an absent verdict", () => {
  it("has a complete, valid body that is a hold", () => {
    for (const code of ["evaluator_down", "not_ready", "unknown_canary", "no_run"] as const) {
      const { body, known, stale } = absentAnswer({
        namespace: "prod",
        name: "gw",
        fleet: "payments",
        code,
        text: "x".repeat(500),
        nowMs: now,
      });
      assert.ok(verdictBodySchema.safeParse(body).success);
      assert.equal(body.verdict, "hold");
      assert.equal(known, code !== "unknown_canary");
      assert.equal(stale, code === "evaluator_down" || code === "not_ready");
    }
  });
});

describe("the bytes of an answer", () => {
  const scale: Scale = {
    lane: "l".repeat(63),
    canary: `${"n".repeat(63)}/${"c".repeat(63)}`,
    at: BUILT_AT,
    depth_true: 1_000_000,
    depth: 1_000_000,
    replicas: 125_000,
    max_replicas: 125_000,
    allow: 1,
    degraded_ticks: 100_000,
    changed_at: BUILT_AT,
    reasons: ["evaluator_down", "worker_unreachable", "worker_unreachable", "worker_unreachable"],
  };
  const anyReason = fc.record({
    code: fc.constantFrom(...REASON_CODES),
    az: fc.constant("az-a"),
    value: fc.double({ noNaN: true, noDefaultInfinity: true }),
    text: fc.string({ maxLength: MAX_REASON_TEXT }),
  });

  it("are at most 2 KiB of valid JSON for any verdict, and contain the first reason that is a cause", () => {
    const records = fc.record({
      verdict: fc.constantFrom(...OUTCOMES),
      reasons: fc.array(anyReason, { maxLength: 5 }),
      warnings: fc.array(anyReason, { maxLength: 5 }),
      stale: fc.boolean(),
      rate: fc.double({ min: 0, max: 1, noNaN: true }),
      withLane: fc.boolean(),
    });
    fc.assert(
      fc.property(records, ({ stale, withLane, rate, ...change }) => {
        const figures = { requests: 123_456, errors_5xx: 12_345, "5xx_rate": rate, error_rate_5xx: rate, p99_ms: 200 * rate };
        const long = withLane ? 30 : 63;
        const { body } = aVerdict({
          ...change,
          subject: { namespace: "n".repeat(long), name: "c".repeat(long), fleet: "f".repeat(long) },
          canary: figures,
          gateway: { gateway_version: "v".repeat(64) },
          run: { announced_hash: "a".repeat(64), controller_revision: "r".repeat(128) },
        });
        const open = openJson(body, stale, withLane ? REQUEST_BYTES_WITH_LANE : REQUEST_BYTES);
        const parts = { key: "keda", label: "l".repeat(long), index: 123_456, caller: "operator", conflict: true } as const;
        const bytes = closeJson(open, withLane ? { ...parts, scale } : parts);
        assert.ok(bytes.length <= MAX_ANSWER_BYTES, `${bytes.length} bytes`);
        const answer = JSON.parse(bytes.toString());
        assert.equal(answer.verdict, change.verdict);
        const whole = answer.reasons.length === change.reasons.length;
        const cause = change.reasons.find(({ code }) => code !== "latched");
        assert.equal(answer.reasons[0]?.code, (whole ? change.reasons[0] : (cause ?? change.reasons[0]))?.code);
        assert.equal(answer.reasons.length + (answer.reasons_more ?? 0), change.reasons.length);
        assert.ok(parseVerdictRecord({ body: answer, evidence: { closed: null, reference: null } }).success);
      }),
    );
  });

  it("are identical for the same measurement, and differ for the next one and for another caller", () => {
    const open = openJson(aVerdict({ verdict: "hold" }).body, false, REQUEST_BYTES);
    const parts = { key: "rollout", label: "checkout", index: 7, caller: "rollouts", conflict: false } as const;
    const first = closeJson(open, parts);
    assert.equal(closeJson(open, { ...parts }), first);
    const measurement = (bytes: Buffer) => JSON.parse(bytes.toString()).measurement;
    assert.deepEqual(measurement(closeJson(open, { ...parts, index: 8 })), { index: 8, caller: "rollouts" });
    assert.deepEqual(measurement(closeJson(open, { ...parts, caller: "operator" })), { index: 7, caller: "operator" });
    assert.deepEqual(measurement(first), { index: 7, caller: "rollouts" });
  });

  it("a short verdict is not cut", () => {
    const { body } = aVerdict({ verdict: "hold" });
    assert.deepEqual(JSON.parse(`${openJson({ ...body, stable: null }, false, REQUEST_BYTES).text}}`), { ...body, stable: null });
  });
});

describe("the index of a measurement", () => {
  it("counts intervals since the run opened, from 1; 0 without a run", () => {
    assert.equal(measurementIndex(undefined, now, 60_000), 0);
    assert.deepEqual(
      [0, 59_999, 60_000, 300_000].map((ms) => measurementIndex(now, now + ms, 60_000)),
      [1, 1, 2, 6],
    );
    assert.equal(measurementIndex(now + 5_000, now, 60_000), 1, "a run that begins in the future, by a clock that is behind");
  });
});
