/**
 * Whether an artifact may be installed on a gateway now; promoter, shim and CLI share this rule. Pure.
 *
 *                    canary slice                              stable slice
 *   no open run      any artifact, unless it failed last       stable's own; any on a gateway that has none;
 *                                                              with stableNeedsPass the one that passed last, otherwise any
 *   pending          the announced one, or stable's            the one that passed last
 *   warming, active  the pinned one, where something else runs  stable's own, where something else runs
 *   failed           stable's only                             stable's own, where something else runs
 *
 * It reads structured facts, never the list of reasons, which may be truncated. Every promotion is rejected while a lane of the
 * canary scales, while the verdict of an open run is not current, and on a gateway in muted maintenance. Restoring a failed canary
 * is allowed in spite of lanes and of an old verdict.
 */
import { z } from "zod";
import { isOpenRun, type RunState, type Slice } from "./run.ts";
import { hash64 } from "./signal.ts";

/** The part of a verdict record made for this rule: hashes of skill packs; null if unknown or absent. */
export const promotionFactsSchema = z.object({
  /** The pack that all stable gateways run or last agreed on; otherwise the one that passed last. */
  stable: hash64.nullable(),
  /** The pack of the last run that passed. */
  passed: hash64.nullable(),
  /** The pack of the newest failed run. */
  failed: hash64.nullable(),
  /** The pack that the pending run announced. */
  announced: hash64.nullable(),
  /** The pack that the open run pinned. */
  pinned: hash64.nullable(),
  /** Whether the policy allows only packs that passed on stable. */
  stable_needs_pass: z.boolean(),
  /** Gateways in muted maintenance, `<az>/<name>`; `*` if the whole canary is. */
  muted: z.array(z.string().max(128)).max(1_000),
});
export type PromotionFacts = z.infer<typeof promotionFactsSchema>;

/** The part of a verdict that the rule reads. */
export interface PromotionVerdict {
  readonly run: { readonly id: string; readonly state: RunState; readonly canary_active: boolean } | null;
  readonly valid_until: string;
  readonly promotion: PromotionFacts | null;
}

/** The gateway that an artifact is for. */
export interface PromotionTarget {
  readonly az: string;
  readonly gateway: string;
  readonly slice: Slice;
  /** The pack it has now; null if none. */
  readonly installed: string | null;
}

/** The part of a lane record that the rule reads, and the lane's cooldown. */
export interface ScalingLane {
  readonly lane: string;
  readonly replicas: number;
  readonly changed_at: string | null;
  readonly cooldownMs: number;
}

export interface PromotionRequest {
  /** The canary's latest verdict; undefined if none was ever published. */
  readonly verdict: PromotionVerdict | undefined;
  readonly target: PromotionTarget;
  /** Skill hash of the artifact, 64 hex digits. */
  readonly hash: string;
  /** All lanes of the canary. */
  readonly lanes: readonly ScalingLane[];
  /** When the promotion was first requested, milliseconds since the epoch. It waits for lanes for at most three cooldowns. */
  readonly requestedAtMs: number;
  readonly atMs: number;
  /** An operator's exception from `needs_pass`, with name and reason for the audit. */
  readonly override?: { readonly by: string; readonly reason: string };
}

export interface PromotionAllowed {
  readonly allowed: true;
}
export type PromotionRejectionCode =
  | "no_verdict"
  | "verdict_stale"
  | "maintenance"
  | "lane_scaling"
  | "failed_release"
  | "not_announced"
  | "not_stable"
  | "not_pinned"
  | "run_active"
  | "needs_pass"
  | "not_canary_slice";
export interface PromotionRejection {
  readonly allowed: false;
  readonly code: PromotionRejectionCode;
  readonly text: string;
}

const ALLOWED: PromotionAllowed = { allowed: true };
const reject = (code: PromotionRejectionCode, text: string): PromotionRejection => ({ allowed: false, code, text });
const short = (hash: string | null): string => hash?.slice(0, 12) ?? "unknown";

/** A promotion waits for lanes for at most this many of their cooldowns. */
const MAX_COOLDOWNS = 3;

/** Applies the rules in order; the first rejection is the answer. */
export function mayPromote(request: PromotionRequest): PromotionAllowed | PromotionRejection {
  const { verdict, target, hash } = request;
  if (verdict === undefined || verdict.promotion === null)
    return reject("no_verdict", "no verdict with promotion facts has been published for this canary yet");
  const { run, promotion: facts } = verdict;
  if (facts.muted.includes("*") || facts.muted.includes(`${target.az}/${target.gateway}`))
    return reject("maintenance", `${target.gateway} is in muted maintenance: end it with \`aviary run maintenance --off\` first`);
  if (run?.state === "failed" && run.canary_active) return restoring(run.id, facts, target, hash);
  if (isOpenRun(run) && request.atMs > Date.parse(verdict.valid_until))
    return reject(
      "verdict_stale",
      `the last verdict expired at ${verdict.valid_until} and run ${run?.id} has not ended: wait for a current verdict`,
    );
  const scaling = scalingLane(request);
  if (scaling !== undefined) return scaling;
  if (run === null || !isOpenRun(run)) return withoutRun(facts, request);
  return run.state === "pending" ? pending(run.id, facts, target, hash) : measured(run.id, run.state, facts, target, hash);
}

function restoring(
  id: string,
  { stable }: PromotionFacts,
  target: PromotionTarget,
  hash: string,
): PromotionAllowed | PromotionRejection {
  // A stable gateway without its pack prevents the slice from agreeing and the canary from being restored.
  if (target.slice === "stable" && stable !== null && hash === stable && target.installed !== stable) return ALLOWED;
  if (target.slice !== "canary") return reject("not_canary_slice", `run ${id} failed: only the canary slice may be restored`);
  if (stable === null || hash !== stable)
    return reject("not_stable", `run ${id} failed: only stable's pack ${short(stable)} may be installed, not ${short(hash)}`);
  return ALLOWED;
}

function scalingLane({ lanes, requestedAtMs, atMs }: PromotionRequest): PromotionRejection | undefined {
  for (const { lane, replicas, changed_at, cooldownMs } of lanes) {
    const isScaling = changed_at !== null && atMs - Date.parse(changed_at) < cooldownMs;
    if (isScaling && atMs - requestedAtMs < MAX_COOLDOWNS * cooldownMs)
      return reject(
        "lane_scaling",
        `lane ${lane} changed to ${replicas} replicas at ${changed_at}: wait one cooldown (${cooldownMs / 1_000} s)`,
      );
  }
  return undefined;
}

function withoutRun(facts: PromotionFacts, { target, hash, override }: PromotionRequest): PromotionAllowed | PromotionRejection {
  if (target.slice === "canary") {
    if (hash === facts.failed && hash !== facts.stable)
      return reject("failed_release", `pack ${short(hash)} failed: announce it again to have it analyzed again`);
    return ALLOWED;
  }
  if (hash === facts.stable || target.installed === null || !facts.stable_needs_pass || hash === facts.passed) return ALLOWED;
  if (override !== undefined) return ALLOWED;
  return reject(
    "needs_pass",
    `stable may get only the pack that passed last, ${short(facts.passed)} (stableNeedsPass), not ${short(hash)}`,
  );
}

function pending(
  id: string,
  facts: PromotionFacts,
  { slice }: PromotionTarget,
  hash: string,
): PromotionAllowed | PromotionRejection {
  if (slice === "stable") {
    if (facts.passed !== null && hash === facts.passed) return ALLOWED;
    return reject("needs_pass", `run ${id} is pending: stable may get only the pack that passed last, ${short(facts.passed)}`);
  }
  if (hash === facts.stable) return ALLOWED;
  if (facts.announced === null) {
    if (hash === facts.failed) return reject("failed_release", `pack ${short(hash)} failed, and run ${id} did not announce it`);
    return ALLOWED;
  }
  if (hash === facts.announced) return ALLOWED;
  return reject("not_announced", `run ${id} announced ${short(facts.announced)}, not ${short(hash)}`);
}

function measured(
  id: string,
  state: RunState,
  facts: PromotionFacts,
  { slice, installed }: PromotionTarget,
  hash: string,
): PromotionAllowed | PromotionRejection {
  const wanted = slice === "canary" ? facts.pinned : facts.stable;
  if (installed === wanted || wanted === null)
    return reject("run_active", `run ${id} is ${state}: nothing is promoted while a canary is analyzed`);
  if (hash === wanted) return ALLOWED;
  const code = slice === "canary" ? "not_pinned" : "not_stable";
  return reject(code, `run ${id} is ${state}: only ${short(wanted)} may be installed on this gateway, not ${short(hash)}`);
}
