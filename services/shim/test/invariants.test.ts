/** Invariants in every state of the shim, over real HTTP. A response of the wrong shape would end Flagger's or KEDA's process. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { REASON_CODES, REASONS } from "@aviary/shared/contract/reasons.ts";
import { RUN_STATES } from "@aviary/shared/contract/run.ts";
import { MAX_ANSWER_BYTES, OUTCOMES, type VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { aReason, aVerdict, BUILT_AT } from "@aviary/shared/testing/builders.ts";
import fc from "fast-check";
import { flaggerBody, type ShimHarness, startHarness } from "./harness.ts";

let harness: ShimHarness;
before(async () => {
  harness = await startHarness();
});
after(() => harness[Symbol.asyncDispose]());

/** The shim's own codes are never stored. */
const STORED_CODES = REASON_CODES.filter((code) => REASONS[code].effect !== "answer");
const anyRecord: fc.Arbitrary<VerdictRecord> = fc
  .record({
    verdict: fc.constantFrom(...OUTCOMES),
    codes: fc.array(fc.constantFrom(...STORED_CODES), { maxLength: 5 }),
    state: fc.constantFrom(...RUN_STATES),
    active: fc.boolean(),
    gated: fc.boolean(),
    promotable: fc.boolean(),
    weight: fc.constantFrom(0, 10, 100),
    revision: fc.constantFrom(null, "v2", "checksum:555b75665"),
    noRun: fc.boolean(),
    noTraffic: fc.boolean(),
    age: fc.constantFrom(-3_600_000, -1, 600_000),
  })
  .map((state) =>
    aVerdict({
      verdict: state.verdict,
      reasons: state.codes.map((code) => aReason(code)),
      ...(state.noTraffic
        ? { canary: { requests: 0, errors_5xx: 0, "5xx_rate": null, error_rate_5xx: null, p99_ms: null } }
        : {}),
      run: state.noRun
        ? null
        : {
            state: state.state,
            canary_active: state.active,
            gated: state.gated,
            promotable: state.promotable,
            weight: state.weight,
            controller_revision: state.revision,
          },
      valid_until: new Date(Date.parse(BUILT_AT) + state.age).toISOString(),
    }),
  );

const QUERY = encodeURIComponent('aviary_verdict{namespace="prod",canary="payments-gateway"}');

describe("in every state", () => {
  it("the Prometheus dialect has one series and one finite string sample, and agrees with the JSON", async () => {
    await fc.assert(
      fc.asyncProperty(anyRecord, async (record) => {
        await harness.publish(record);
        const { body } = await harness.get("/rollouts/analysis");
        const verdict = body.verdict as unknown as "pass" | "hold" | "fail";
        for (const dialect of ["flagger", "rollouts", "keda"] as const) {
          const { status, text } = await harness.get(`/${dialect}/api/v1/query?query=${QUERY}`);
          assert.equal(status, 200);
          const { result, resultType } = JSON.parse(text).data;
          assert.equal(resultType, "vector");
          assert.equal(result.length, 1);
          assert.equal("values" in result[0], false);
          const [time, sample] = result[0].value;
          assert.equal(result[0].value.length, 2);
          assert.ok(Number.isInteger(time));
          assert.ok(["0", "0.5", "1"].includes(sample), JSON.stringify(sample));
          assert.equal(sample === "1", verdict === "pass");
          if (verdict === "hold" && dialect !== "flagger") assert.equal(sample, "0.5");
        }
      }),
      { numRuns: 60 },
    );
  });

  it("the JSON has a lower-case verdict, numeric twins, and at most 2 KiB", async () => {
    await fc.assert(
      fc.asyncProperty(anyRecord, async (record) => {
        await harness.publish(record);
        for (const path of ["/rollouts/analysis", "/rollouts/analysis/disk", "/flagger/metrics", "/keda/metrics"]) {
          const { body, text } = await harness.get(path);
          assert.ok(["pass", "hold", "fail"].includes(String(body.verdict)));
          assert.equal(body.verdict_num, { pass: 1, hold: 0.5, fail: 0 }[String(body.verdict)]);
          assert.equal(body.degraded_num, (body.degraded as unknown) === true ? 1 : 0);
          assert.ok(Buffer.byteLength(text) <= MAX_ANSWER_BYTES, `${path}: ${Buffer.byteLength(text)} bytes`);
        }
      }),
      { numRuns: 40 },
    );
  });

  it("an open rollback gate implies that no gate widens, whatever the call contains", async () => {
    const calls = fc.constantFrom(
      {},
      { checksum: "786bdf775f" },
      { metadata: { version: "v2" } },
      { metadata: { version: "v3" } },
      { phase: "Failed" },
      { phase: "Waiting" },
    );
    await fc.assert(
      fc.asyncProperty(anyRecord, calls, async (record, change) => {
        await harness.publish(record);
        const callGate = async (gate: string) =>
          (await harness.post(`/flagger/gate/${gate}`, flaggerBody(change), "operator")).status;
        const rollback = await callGate("rollback");
        assert.ok(rollback === 200 || rollback === 403);
        if (rollback !== 200) return;
        for (const gate of ["confirm-traffic-increase", "confirm-promotion"]) {
          const closed = await callGate(gate);
          assert.equal(closed, 403, gate);
        }
      }),
      { numRuns: 60 },
    );
  });
});
