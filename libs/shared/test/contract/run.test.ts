/** The one rule of promotion: each refusal by its code, and what is allowed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LANE_COOLDOWN_MS, type LaneFacts, mayPromote, type PromotionFacts, type RefusalCode } from "../../src/contract/run.ts";
import { BUILT_AT } from "../../src/testing/builders.ts";

const T0 = Date.parse(BUILT_AT);
const NEW = "a".repeat(64);
const STABLE = "b".repeat(64);
type Run = NonNullable<PromotionFacts["run"]>;

function run(state: Run["state"], fields: Partial<Run> = {}): Run {
  return { id: "r-1", state, canary_active: false, announced_hash: NEW, stable_hash: STABLE, ...fields };
}
function verdict(fields: Partial<PromotionFacts>): PromotionFacts {
  return {
    run: null,
    reasons: [],
    stable_may_promote: false,
    valid_until: new Date(T0 + 600_000).toISOString(),
    ...fields,
  };
}
const lane = (changedAtMs: number | null): LaneFacts => ({
  lane: "build-a",
  replicas: 3,
  changed_at: changedAtMs === null ? null : new Date(changedAtMs).toISOString(),
});

interface Row {
  readonly when: string;
  readonly verdict?: PromotionFacts;
  readonly slice: "canary" | "stable";
  readonly hash?: string;
  readonly lane?: LaneFacts;
  readonly atMs?: number;
}

const decide = (row: Row) => mayPromote(row.verdict, row.slice, row.hash ?? NEW, row.lane, row.atMs ?? T0);

const REFUSED: readonly (Row & { readonly code: RefusalCode })[] = [
  {
    when: "the verdict of an open run is no longer valid",
    verdict: verdict({ run: run("pending") }),
    slice: "canary",
    atMs: T0 + 600_001,
    code: "verdict_stale",
  },
  {
    when: "the canary is in maintenance",
    verdict: verdict({ reasons: [{ code: "maintenance" }] }),
    slice: "canary",
    code: "maintenance",
  },
  { when: "the canary's lane has just changed", slice: "canary", lane: lane(T0 - LANE_COOLDOWN_MS + 1), code: "lane_scaling" },
  {
    when: "a run is pending and the target is stable",
    verdict: verdict({ run: run("pending") }),
    slice: "stable",
    code: "not_canary_slice",
  },
  {
    when: "a run is pending and announced another artifact",
    verdict: verdict({ run: run("pending", { announced_hash: STABLE }) }),
    slice: "canary",
    code: "not_announced_hash",
  },
  { when: "a canary is warming", verdict: verdict({ run: run("warming") }), slice: "canary", code: "run_active" },
  { when: "a canary is measured", verdict: verdict({ run: run("active") }), slice: "stable", code: "run_active" },
  {
    when: "a failed run is not restored and the target is stable",
    verdict: verdict({ run: run("failed", { canary_active: true }) }),
    slice: "stable",
    hash: STABLE,
    code: "not_canary_slice",
  },
  {
    when: "a failed run is not restored and the artifact is not stable's",
    verdict: verdict({ run: run("failed", { canary_active: true }) }),
    slice: "canary",
    code: "not_stable_hash",
  },
  {
    when: "a failed run is not restored and stable's artifact is unknown",
    verdict: verdict({ run: run("failed", { canary_active: true, stable_hash: null }) }),
    slice: "canary",
    hash: STABLE,
    code: "not_stable_hash",
  },
  {
    when: "no run passed and the target is stable",
    verdict: verdict({ run: run("expired") }),
    slice: "stable",
    code: "needs_pass",
  },
];

const ALLOWED: readonly Row[] = [
  { when: "the pending run announced this artifact", verdict: verdict({ run: run("pending") }), slice: "canary" },
  {
    when: "stable's artifact restores a failed canary",
    verdict: verdict({ run: run("failed", { canary_active: true }) }),
    slice: "canary",
    hash: STABLE,
  },
  {
    when: "the policy permits stable after a passed run",
    verdict: verdict({ run: run("passed"), stable_may_promote: true }),
    slice: "stable",
  },
  { when: "the lane's cooldown has passed", slice: "canary", lane: lane(T0 - LANE_COOLDOWN_MS), verdict: verdict({}) },
  { when: "the lane has never changed", slice: "canary", lane: lane(null), verdict: verdict({}) },
];

describe("mayPromote", () => {
  for (const row of REFUSED) {
    it(`refuses with ${row.code} if ${row.when}`, () => {
      const decision = decide(row);
      assert.ok(!decision.allowed, "allowed");
      assert.equal(decision.code, row.code);
      assert.notEqual(decision.text, "");
    });
  }

  for (const row of ALLOWED) {
    it(`allows if ${row.when}`, () => {
      assert.deepEqual(decide(row), { allowed: true });
    });
  }

  it("has a row for every refusal", () => {
    // The record has every code as a key, or the type check fails.
    const codes: Record<RefusalCode, true> = {
      not_canary_slice: true,
      not_announced_hash: true,
      run_active: true,
      not_stable_hash: true,
      needs_pass: true,
      lane_scaling: true,
      verdict_stale: true,
      maintenance: true,
    };
    assert.deepEqual([...new Set(REFUSED.map(({ code }) => code))].sort(), Object.keys(codes).sort());
  });
});
