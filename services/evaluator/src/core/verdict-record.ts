/** Builds the verdict record from a decision and the facts behind it. */
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { PromotionFacts } from "@aviary/shared/contract/promotion.ts";
import { blocksPromotion } from "@aviary/shared/contract/reasons.ts";
import {
  isDegraded,
  MAX_REASONS,
  MAX_VERDICT_BYTES,
  OUTCOME_NUMBER,
  OUTCOME_STATUS,
  type Outcome,
  type VerdictBody,
  type VerdictRecord,
  validUntilMs,
  verdictId,
} from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { coarserCell } from "./history-window.ts";
import { inForce, type JudgeOutcome } from "./judge/outcome.ts";
import { rankReasons } from "./reason-ranking.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { restoreTarget, stableRelease } from "./slice-releases.ts";
import { type CanaryState, gatewaysOfCanary, isCanaryActive, isOpen, type Run, type State, weightOf } from "./state.ts";
import type { CanaryFacts, Decision } from "./verdict.ts";
import { noiseFigures, sliceFigures } from "./verdict-figures.ts";

/** The whole record, with its id. */
export function verdictRecord(state: State, facts: CanaryFacts, decision: Decision, atMs: number): VerdictRecord {
  const { canary } = facts;
  const body = verdictBody(state, facts, decision, atMs);
  const indexes = applicableOutcome(canary.run)?.leftOut ?? [];
  const leftOut = indexes.length > 0 ? { left_out: [...indexes] } : {};
  return withinSizeLimit({
    body: { ...body, id: verdictId(body) },
    promotion: promotionFacts(state, facts),
    revisions: canary.revisions.map(({ name, attempt, state, atMs, endReported, endedBy }) => ({
      name,
      attempt,
      state,
      at: isoTime(atMs),
      end_reported: endReported,
      ended_by: endedBy,
    })),
    evidence: { closed: canary.lastWindow, reference: canary.run?.reference ?? null, ...leftOut },
  });
}

function verdictBody(state: State, facts: CanaryFacts, decision: Decision, atMs: number): Omit<VerdictBody, "id"> {
  const { canary, config, conditions } = facts;
  const { policy } = config;
  const { lastWindow, run } = canary;
  const outcome = applicableOutcome(run);
  const reasons = rankReasons(decision.reasons, decision.verdict);
  const degraded = isDegraded(decision.verdict, reasons);
  return {
    schema: "aviary/verdict.v1",
    at: isoTime(atMs),
    subject: { namespace: config.ref.namespace, name: config.ref.name, fleet: config.fleet },
    status: OUTCOME_STATUS[decision.verdict],
    verdict: decision.verdict,
    verdict_num: OUTCOME_NUMBER[decision.verdict],
    degraded,
    degraded_num: degraded ? 1 : 0,
    canary: sliceFigures(lastWindow, "canary", policy.traffic),
    stable: config.hasStable ? sliceFigures(lastWindow, "stable", policy.traffic) : null,
    gateway: conditions.gateway,
    concerns: concernsOf(facts, outcome),
    judge: judgeFigures(run, outcome, policy),
    reasons: reasons.slice(0, MAX_REASONS),
    ...(reasons.length > MAX_REASONS ? { reasons_more: reasons.length - MAX_REASONS } : {}),
    ...(decision.current === undefined ? {} : { current: rankReasons(decision.current, "hold").slice(0, MAX_REASONS) }),
    warnings: rankReasons(decision.warnings, decision.verdict).slice(0, MAX_REASONS),
    thresholds: {
      max_5xx_rate: policy.thresholds.max5xxRate,
      max_p99_ms: policy.thresholds.maxP99Ms,
      max_p99_regression_ratio: policy.thresholds.maxP99RegressionRatio,
      min_latency_delta_ms: policy.thresholds.minLatencyDeltaMs,
      max_queue_depth: policy.thresholds.maxQueueDepth,
    },
    window: lastWindow?.window ?? null,
    run: runFigures(state, canary, config, decision),
    stable_may_promote: !policy.stableNeedsPass || canary.passedRelease !== null,
    valid_until: isoTime(validUntilMs(atMs, policy)),
  };
}

/** The judge's outcome while the run is open or its failure is latched; otherwise null. */
function applicableOutcome(run: Run | null): JudgeOutcome | null {
  return run !== null && (isOpen(run) || run.latch !== null) ? run.outcome : null;
}

const PENDING_CONCERNS = { errors: "hold", latency: "hold", queue: "hold" } as const;

function concernsOf({ canary: { run }, config, conditions }: CanaryFacts, outcome: JudgeOutcome | null): VerdictBody["concerns"] {
  return {
    ...(outcome === null ? PENDING_CONCERNS : inForce(outcome, config.policy.mode).concerns),
    disk: concern(run, "disk", conditions.gateway.disk_ok),
    doctor: concern(run, "doctor", conditions.gateway.doctor_ok),
    parity: conditions.parityOk ? "pass" : "hold",
  };
}

function judgeFigures(run: Run | null, outcome: JudgeOutcome | null, policy: Policy): VerdictBody["judge"] {
  return {
    mode: policy.mode,
    literal: outcome?.literal.verdict ?? "hold",
    two_key: outcome?.twoKey.verdict ?? "hold",
    consecutive_over: outcome?.consecutiveOver ?? 0,
    consecutive_pass: run?.consecutivePass ?? 0,
    evidence: policy.evidence,
    traffic: policy.traffic,
    ...(outcome === null ? {} : { rule: outcome.rule }),
    luck: outcome?.pValue ?? null,
    noise: outcome === null || outcome.noise === null ? null : noiseFigures(outcome.noise),
  };
}

function concern(run: Run | null, name: "disk" | "doctor", ok: boolean): Outcome {
  if (run?.latch?.concern === name) return "fail";
  return ok ? "pass" : "hold";
}

function runFigures(state: State, canary: CanaryState, config: CanaryConfig, decision: Decision): VerdictBody["run"] {
  const { run } = canary;
  if (run === null) return null;
  const stable = stableRelease(state, canary, config);
  return {
    id: run.id,
    state: run.state,
    revision: run.revision,
    since: isoTime(run.sinceMs),
    weight: weightOf(run),
    weight_claims: { controller: run.weight, balancer: run.balancerWeight },
    canary_active: isCanaryActive(run),
    // The evidence is not revoked; promotion also requires that no current reason blocks it.
    promotable: run.promotable && !decision.reasons.some(({ code }) => blocksPromotion(code)),
    latched_by: run.latch?.verdictId ?? null,
    controller_revision: run.controllerRevision,
    seat: run.seat,
    attempt: run.attempt,
    gated: run.gated,
    granted: run.granted,
    promotion_granted: run.promotionGranted,
    cleared: run.cleared === null ? null : { by: run.cleared.by, reason: run.cleared.reason, at: isoTime(run.cleared.atMs) },
    mac_release_ok: config.policy.macRelease === "optional" || run.state !== "pending",
    announced_hash: run.announcedHash ?? run.pinned?.skill_hash ?? null,
    stable_hash: stable?.skill_hash ?? null,
  };
}

/** The facts for `mayPromote`, stored separately because `reasons` is truncated. */
function promotionFacts(state: State, { canary, config }: CanaryFacts): PromotionFacts {
  const { run, passedRelease, maintenance } = canary;
  const stable = restoreTarget(state, canary, config);
  const isMuted = maintenance?.mute === true;
  return {
    stable: stable?.skill_hash ?? null,
    passed: passedRelease?.skill_hash ?? null,
    failed: isOpen(run) && run?.retriesFailed ? null : (canary.failedRelease?.skill_hash ?? null),
    announced: run?.announcedHash ?? null,
    pinned: run?.pinned?.skill_hash ?? null,
    stable_needs_pass: config.policy.stableNeedsPass,
    muted: [
      ...(isMuted ? ["*"] : []),
      ...gatewaysOfCanary(state, config)
        .filter(({ maintenanceUntilMs, maintenanceMuted }) => maintenanceMuted && maintenanceUntilMs > state.nowMs)
        .map(({ az, name }) => `${az}/${name}`),
    ],
  };
}

/**
 * A record over its size limit gets coarser histograms (scale 5, 4, … 0): each step halves their buckets and doubles the error.
 */
function withinSizeLimit(record: VerdictRecord): VerdictRecord {
  const { closed } = record.evidence;
  if (closed === null) return record;
  let fitted = record;
  for (let scale = histogram.DEFAULT_SCALE - 1; scale >= 0 && JSON.stringify(fitted).length > MAX_VERDICT_BYTES; scale--) {
    fitted = { ...record, evidence: { ...record.evidence, closed: coarserWindow(closed, scale) } };
  }
  return fitted;
}

function coarserWindow(window: ClosedWindow, scale: number): ClosedWindow {
  return { ...window, cells: window.cells.map((cell) => coarserCell(cell, scale)) };
}
