/** The promotion rule: each rejection with its code, and each case that is allowed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  mayPromote,
  type PromotionFacts,
  type PromotionRejectionCode,
  type PromotionRequest,
  type PromotionVerdict,
  type ScalingLane,
} from "../../src/contract/promotion.ts";
import type { RunState } from "../../src/contract/run.ts";
import { BUILT_AT } from "../../src/testing/builders.ts";

const T0 = Date.parse(BUILT_AT);
const NEW = "a".repeat(64);
const STABLE = "b".repeat(64);
const OTHER = "c".repeat(64);
const COOLDOWN_MS = 120_000;

const FACTS: PromotionFacts = {
  stable: STABLE,
  passed: null,
  failed: null,
  announced: null,
  pinned: null,
  stable_needs_pass: true,
  muted: [],
};

/** A verdict of a run in this state, or without a run for `over`. A failed run is frozen. */
function verdict(state: RunState | "over" | "restored", facts: Partial<PromotionFacts> = {}): PromotionVerdict {
  const active = ["warming", "active", "failed"].includes(state);
  const run =
    state === "over" ? null : ({ id: "r-1", state: state === "restored" ? "failed" : state, canary_active: active } as const);
  return { run, valid_until: new Date(T0 + 600_000).toISOString(), promotion: { ...FACTS, ...facts } };
}
const lane = (changedMsAgo: number | null): ScalingLane => ({
  lane: "build-a",
  replicas: 3,
  changed_at: changedMsAgo === null ? null : new Date(T0 - changedMsAgo).toISOString(),
  cooldownMs: COOLDOWN_MS,
});

interface Row extends Partial<Omit<PromotionRequest, "target">> {
  readonly when: string;
  readonly slice: "canary" | "stable";
  readonly installed?: string | null;
}

function decide({ slice, installed = STABLE, when: _, ...row }: Row) {
  const target = { az: "az-a", gateway: "mac-1", slice, installed };
  return mayPromote({ verdict: verdict("over"), hash: NEW, lanes: [], requestedAtMs: T0, atMs: T0, ...row, target });
}

const REJECTED: readonly (Row & { readonly code: PromotionRejectionCode })[] = [
  { when: "no verdict was published", verdict: undefined, slice: "canary", code: "no_verdict" },
  { when: "the verdict has no facts", verdict: { ...verdict("over"), promotion: null }, slice: "canary", code: "no_verdict" },
  {
    when: "the verdict of an open run has expired",
    verdict: verdict("pending"),
    slice: "canary",
    atMs: T0 + 600_001,
    code: "verdict_stale",
  },
  {
    when: "the canary is in muted maintenance",
    verdict: verdict("over", { muted: ["*"] }),
    slice: "canary",
    code: "maintenance",
  },
  {
    when: "this gateway is in muted maintenance",
    verdict: verdict("over", { muted: ["az-a/mac-1"] }),
    slice: "canary",
    code: "maintenance",
  },
  { when: "a lane has just changed", lanes: [lane(null), lane(COOLDOWN_MS - 1)], slice: "canary", code: "lane_scaling" },
  { when: "a lane has just changed, also for stable", lanes: [lane(0)], hash: STABLE, slice: "stable", code: "lane_scaling" },
  {
    when: "no run is open and this pack failed last",
    verdict: verdict("over", { failed: NEW }),
    slice: "canary",
    code: "failed_release",
  },
  {
    when: "a failed run was restored and this is its pack",
    verdict: verdict("restored", { failed: NEW }),
    slice: "canary",
    code: "failed_release",
  },
  { when: "nothing ever passed", slice: "stable", code: "needs_pass" },
  { when: "another pack passed last", verdict: verdict("passed", { passed: OTHER }), slice: "stable", code: "needs_pass" },
  {
    when: "a failed run was restored",
    verdict: verdict("restored", { failed: NEW, passed: OTHER }),
    slice: "stable",
    code: "needs_pass",
  },
  { when: "a run is pending", verdict: verdict("pending", { announced: NEW }), slice: "stable", code: "needs_pass" },
  { when: "a run is pending and nothing passed", verdict: verdict("pending"), hash: STABLE, slice: "stable", code: "needs_pass" },
  {
    when: "a run is pending and announced another pack",
    verdict: verdict("pending", { announced: OTHER }),
    slice: "canary",
    code: "not_announced",
  },
  {
    when: "a run is pending, announced nothing, and this pack failed",
    verdict: verdict("pending", { failed: NEW }),
    slice: "canary",
    code: "failed_release",
  },
  {
    when: "a canary is warming and runs its pinned pack",
    verdict: verdict("warming", { pinned: NEW }),
    installed: NEW,
    slice: "canary",
    code: "run_active",
  },
  {
    when: "a canary is measured and stable runs its own pack",
    verdict: verdict("active", { pinned: NEW }),
    hash: STABLE,
    slice: "stable",
    code: "run_active",
  },
  { when: "a canary is measured and nothing is pinned", verdict: verdict("active"), slice: "canary", code: "run_active" },
  {
    when: "a canary gateway runs another pack and this is not the pinned one",
    verdict: verdict("active", { pinned: OTHER }),
    slice: "canary",
    code: "not_pinned",
  },
  {
    when: "a stable gateway runs another pack and this is not stable's",
    verdict: verdict("active", { pinned: NEW }),
    installed: OTHER,
    slice: "stable",
    code: "not_stable",
  },
  {
    when: "a failed run is not restored and the target is stable",
    verdict: verdict("failed"),
    slice: "stable",
    code: "not_canary_slice",
  },
  {
    when: "a failed run is not restored and the pack is not stable's",
    verdict: verdict("failed"),
    slice: "canary",
    code: "not_stable",
  },
  {
    when: "a failed run is not restored and stable's pack is unknown",
    verdict: verdict("failed", { stable: null }),
    slice: "canary",
    code: "not_stable",
  },
];

const ALLOWED: readonly Row[] = [
  {
    when: "no run is open and the canary slice gets any pack that did not fail",
    slice: "canary",
    verdict: verdict("over", { failed: OTHER }),
  },
  { when: "stable is repaired with its own pack", hash: STABLE, installed: OTHER, slice: "stable" },
  { when: "a stable gateway has no pack yet", installed: null, slice: "stable" },
  { when: "the pack passed last", verdict: verdict("passed", { passed: NEW }), slice: "stable" },
  { when: "the policy does not require a pass", verdict: verdict("over", { stable_needs_pass: false }), slice: "stable" },
  { when: "an operator overrides a missing pass by name and reason", override: { by: "ada", reason: "hotfix" }, slice: "stable" },
  { when: "the pending run announced this pack", verdict: verdict("pending", { announced: NEW, failed: NEW }), slice: "canary" },
  { when: "the pending run announced no pack", verdict: verdict("pending"), slice: "canary" },
  {
    when: "the pending run's canary goes back to stable's pack",
    verdict: verdict("pending", { announced: NEW }),
    hash: STABLE,
    slice: "canary",
  },
  { when: "a run is pending and the pack passed last", verdict: verdict("pending", { passed: NEW }), slice: "stable" },
  {
    when: "a canary gateway lost the pinned pack during a run",
    verdict: verdict("active", { pinned: NEW }),
    installed: OTHER,
    slice: "canary",
  },
  {
    when: "a stable gateway lost stable's pack during a run",
    verdict: verdict("active", { pinned: NEW }),
    hash: STABLE,
    installed: OTHER,
    slice: "stable",
  },
  {
    when: "stable's pack restores a failed canary, regardless of lanes and of the verdict's age",
    verdict: verdict("failed"),
    hash: STABLE,
    lanes: [lane(0)],
    atMs: T0 + 9_999_999,
    slice: "canary",
  },
  { when: "the lane's cooldown has passed", lanes: [lane(COOLDOWN_MS)], slice: "canary" },
  {
    when: "the promotion has waited for lanes for three cooldowns",
    lanes: [lane(0)],
    requestedAtMs: T0 - 3 * COOLDOWN_MS,
    slice: "canary",
  },
  {
    when: "a stable gateway that lost stable's pack keeps a failed run from being restored",
    verdict: verdict("failed"),
    hash: STABLE,
    installed: OTHER,
    slice: "stable",
  },
  { when: "another gateway is in muted maintenance", verdict: verdict("over", { muted: ["az-a/mac-2"] }), slice: "canary" },
];

describe("mayPromote", () => {
  for (const row of REJECTED) {
    it(`rejects ${row.slice} with ${row.code} if ${row.when}`, () => {
      const decision = decide(row);
      assert.ok(!decision.allowed, "allowed");
      assert.equal(decision.code, row.code);
      assert.notEqual(decision.text, "");
    });
  }

  for (const row of ALLOWED) {
    it(`allows ${row.slice} if ${row.when}`, () => {
      assert.deepEqual(decide(row), { allowed: true });
    });
  }

  it("has a row for every rejection", () => {
    // The record has every code as a key, or the type check fails.
    const codes: Record<PromotionRejectionCode, true> = {
      no_verdict: true,
      verdict_stale: true,
      maintenance: true,
      lane_scaling: true,
      failed_release: true,
      not_announced: true,
      not_stable: true,
      not_pinned: true,
      run_active: true,
      needs_pass: true,
      not_canary_slice: true,
    };
    assert.deepEqual([...new Set(REJECTED.map(({ code }) => code))].sort(), Object.keys(codes).sort());
  });
});
