/**
 * Builds a verdict record from the judge's outcome for the last window, the current conditions, and the state of the run.
 * `decide` is an ordered list of rules; everything below it arranges the result.
 */

import { formatTimeOfDay, isoTime } from "@aviary/shared/contract/iso-time.ts";
import { REASONS, type Reason, reasonText } from "@aviary/shared/contract/reasons.ts";
import type { Release } from "@aviary/shared/contract/run.ts";
import {
  isDegraded,
  MAX_REASONS,
  MAX_VERDICT_BYTES,
  OUTCOME_NUMBER,
  OUTCOME_STATUS,
  type Outcome,
  type SliceFigures,
  type VerdictBody,
  type VerdictRecord,
  verdictId,
} from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import type { Conditions } from "./conditions.ts";
import { inForce, type ModeOutcome } from "./judge/outcome.ts";
import { agreedRelease, releaseText } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { type CanaryState, gatewaysOfCanary, isCanaryActive, isOpen, type Latch, type Run, type State } from "./state.ts";

/** Everything a decision is based on, gathered once per step. */
export interface Facts {
  readonly canary: CanaryState;
  readonly config: CanaryConfig;
  readonly conditions: Conditions;
  /** Set if the canary slice changed its release during the run without an announcement. */
  readonly releaseChanged: Reason | undefined;
  /** The canary slice's release, if no run is open because it was already analysed. */
  readonly alreadyAnalysed: Release | undefined;
  readonly holdBudget: HoldBudget;
}

/** How long the run is on hold, if this step is a hold too. */
export interface HoldBudget {
  readonly heldSinceMs: number;
  readonly expired: boolean;
}

export interface Decision {
  readonly verdict: Outcome;
  readonly reasons: readonly Reason[];
  readonly warnings: readonly Reason[];
  /** The concern that fails the run, if this decision fails it. */
  readonly failing: Latch["concern"] | undefined;
}

/** Decides fail, hold or pass, with reasons. The first rule that applies decides. */
export function decide(facts: Facts): Decision {
  const { conditions, config } = facts;
  const { run } = facts.canary;
  if (run?.latch)
    return { verdict: "fail", reasons: latchedReasons(run, run.latch), warnings: conditions.warnings, failing: undefined };
  if (!isOpen(run) || run === null || run.state === "failed") return noRun(facts);
  if (run.state === "pending") return pending(facts, run);
  const hard = conditions.hard[0];
  if (hard !== undefined) return newFailure(facts, hardReasons(conditions), hard.concern);
  if (run.state === "warming") return warming(facts, run);
  return judged(facts, run.outcome === null ? undefined : inForce(run.outcome, config.policy.mode));
}

const hardReasons = (conditions: Conditions): Reason[] => conditions.hard.map(({ reason }) => reason);

/** Number of reasons that a latch keeps, and that the failing verdict contains. */
const MAX_LATCHED_REASONS = 5;

function newFailure({ conditions }: Facts, reasons: readonly Reason[], concern: Latch["concern"]): Decision {
  return {
    verdict: "fail",
    reasons: reasons.slice(0, MAX_LATCHED_REASONS),
    warnings: conditions.warnings,
    failing: concern,
  };
}

function hold({ conditions }: Facts, first: readonly Reason[]): Decision {
  return { verdict: "hold", reasons: [...first, ...conditions.holds], warnings: conditions.warnings, failing: undefined };
}

function noRun(facts: Facts): Decision {
  const text = noRunText(facts.canary.run, facts.alreadyAnalysed);
  return hold(facts, [{ code: "no_run", text }, ...hardReasons(facts.conditions)]);
}

function pending(facts: Facts, run: Run): Decision {
  const required = facts.config.policy.macRelease === "required" ? " and the policy requires it (macRelease)" : "";
  const text = `revision ${run.controllerRevision ?? run.revision}: its release is not on the canary slice yet${required}`;
  return hold(facts, [...hardReasons(facts.conditions), { code: "pending", text: reasonText(text) }]);
}

function warming(facts: Facts, run: Run): Decision {
  const text = `warming up until ${formatTimeOfDay(run.judgeFromMs)}: traffic is measured and not judged`;
  return hold(facts, [{ code: "warming", text }]);
}

/** Combines the judge's outcome for an active run with the conditions. */
function judged(facts: Facts, outcome: ModeOutcome | undefined): Decision {
  const { conditions, releaseChanged, holdBudget } = facts;
  const changed = releaseChanged === undefined ? [] : [releaseChanged];
  if (outcome === undefined)
    return hold(facts, [...changed, { code: "low_traffic", text: "the first window of the run has not closed yet" }]);
  if (outcome.verdict === "fail") return newFailure(facts, outcome.reasons, failedConcern(outcome.concerns));
  const warnings = [...conditions.warnings, ...outcome.warnings];
  const reasons = [...changed, ...conditions.holds, ...(outcome.verdict === "hold" ? heldReasons(outcome.reasons) : [])];
  if (reasons.length === 0)
    return { verdict: "pass", reasons, warnings: [...warnings, ...lateWarnings(facts.canary.lastWindow)], failing: undefined };
  const expired: Reason[] = holdBudget.expired ? [holdExpiredReason(holdBudget)] : [];
  return { verdict: "hold", reasons: [...reasons, ...expired], warnings, failing: undefined };
}

function holdExpiredReason({ heldSinceMs }: HoldBudget): Reason {
  const text = `on hold since ${formatTimeOfDay(heldSinceMs)}, longer than the hold budget; an incident was raised`;
  return { code: "hold_expired", text };
}

/** A hold always has a reason. */
function heldReasons(reasons: readonly Reason[]): readonly Reason[] {
  if (reasons.length > 0) return reasons;
  return [{ code: "low_traffic", text: "not enough evidence yet; more requests are needed" }];
}

function noRunText(run: Run | null, alreadyAnalysed: Release | undefined): string {
  if (alreadyAnalysed !== undefined)
    return reasonText(
      `no run is open: ${releaseText(alreadyAnalysed)} was already analysed; start a new run with \`aviary run start\``,
    );
  if (run === null || run.state === "idle") return "no run is open";
  return reasonText(
    `no run is open: the last one (${run.controllerRevision ?? run.revision}) ${run.state === "passed" ? "passed" : `is ${run.state}`}`,
  );
}

/** Why the run failed, with the reasons as of that time. */
function latchedReasons(run: Run, latch: Latch): Reason[] {
  if (latch.verdictId === null) return latch.reasons;
  const stays = run.over ? "the run ended; the failure stays latched" : "latched";
  const text = `failed at ${formatTimeOfDay(latch.atMs)} (verdict ${latch.verdictId}; reasons as of that time); ${stays} until a new revision or \`aviary run clear\``;
  return [...latch.reasons, { code: "latched", text }];
}

function failedConcern(concerns: { errors: Outcome; latency: Outcome; queue: Outcome }): Latch["concern"] {
  if (concerns.errors === "fail") return "errors";
  return concerns.latency === "fail" ? "latency" : "queue";
}

function lateWarnings(window: ClosedWindow | null): Reason[] {
  if (window === null || window.late === 0) return [];
  return [
    {
      code: "late",
      value: window.late,
      unit: "1",
      text: `${window.late} signals arrived after their window had closed; they were counted and not judged`,
    },
  ];
}

/** Figures of one slice over the traffic sources selected by the policy; `null` if the slice has no cell and does not exist. */
export function figuresOf(
  window: ClosedWindow | null,
  slice: "canary" | "stable",
  traffic: CanaryConfig["policy"]["traffic"],
): SliceFigures {
  let requests = 0;
  let errors = 0;
  const latency = histogram.create();
  for (const cell of window?.cells ?? []) {
    if (cell.slice !== slice || !rests(traffic, cell.source === "synthetic")) continue;
    for (const slot of cell.slots) {
      requests += slot.requests;
      errors += slot.errors_5xx;
      histogram.mergeSparse(latency, slot.latency);
    }
  }
  const rate = requests === 0 ? null : Math.round((errors / requests) * 1e6) / 1e6;
  const p99 = requests === 0 ? null : histogram.quantile(latency, 0.99);
  return {
    requests,
    errors_5xx: errors,
    "5xx_rate": rate,
    error_rate_5xx: rate,
    p99_ms: p99 === null ? null : Math.round(p99 * 10) / 10,
  };
}

/** Whether a verdict under this policy is based on synthetic (or real) traffic. */
export function rests(traffic: CanaryConfig["policy"]["traffic"], synthetic: boolean): boolean {
  return traffic === "both" || (traffic === "synthetic") === synthetic;
}

const PENDING_CONCERNS = { errors: "hold", latency: "hold", queue: "hold" } as const;

/** The whole record, with its id. */
export function verdictRecord(state: State, facts: Facts, decision: Decision, atMs: number): VerdictRecord {
  const { canary, config, conditions } = facts;
  const { policy } = config;
  const { run } = canary;
  // The judgement of a run that ended without a failure no longer applies.
  const judged = run !== null && run.outcome !== null && (isOpen(run) || run.latch !== null);
  const concerns = judged ? inForce(run.outcome!, policy.mode).concerns : PENDING_CONCERNS;
  const ranked = rank(decision.reasons, decision.verdict);
  const degraded = isDegraded(decision.verdict, ranked);
  const lastWindow = canary.lastWindow;
  const body: Omit<VerdictBody, "id"> = {
    schema: "aviary/verdict.v1",
    at: isoTime(atMs),
    subject: { namespace: config.ref.namespace, name: config.ref.name, fleet: config.fleet },
    status: OUTCOME_STATUS[decision.verdict],
    verdict: decision.verdict,
    verdict_num: OUTCOME_NUMBER[decision.verdict],
    degraded,
    degraded_num: degraded ? 1 : 0,
    canary: figuresOf(lastWindow, "canary", policy.traffic),
    stable: config.hasStable ? figuresOf(lastWindow, "stable", policy.traffic) : null,
    gateway: conditions.gateway,
    concerns: {
      ...concerns,
      disk: concern(run, "disk", conditions.gateway.disk_ok),
      doctor: concern(run, "doctor", conditions.gateway.doctor_ok),
      parity: conditions.parityOk ? "pass" : "hold",
    },
    judge: {
      mode: policy.mode,
      literal: judged ? run.outcome!.literal.verdict : "hold",
      two_key: judged ? run.outcome!.twoKey.verdict : "hold",
      consecutive_over: judged ? run.outcome!.consecutiveOver : 0,
      consecutive_pass: run?.consecutivePass ?? 0,
      evidence: policy.evidence,
      traffic: policy.traffic,
      luck: judged ? run.outcome!.luck : null,
      noise: judged ? run.outcome!.noise : null,
    },
    reasons: ranked.slice(0, MAX_REASONS),
    ...(ranked.length > MAX_REASONS ? { reasons_more: ranked.length - MAX_REASONS } : {}),
    warnings: rank(decision.warnings, decision.verdict).slice(0, MAX_REASONS),
    thresholds: {
      max_5xx_rate: policy.thresholds.max5xxRate,
      max_p99_ms: policy.thresholds.maxP99Ms,
      max_p99_regression_ratio: policy.thresholds.maxP99RegressionRatio,
      max_queue_depth: policy.thresholds.maxQueueDepth,
    },
    window: lastWindow?.window ?? null,
    run: runView(state, canary, config),
    stable_may_promote: !policy.stableNeedsPass || canary.everPassed,
    valid_until: isoTime(atMs + 2 * policy.windowMs + policy.graceMs),
  };
  const record: VerdictRecord = {
    body: { ...body, id: verdictId(body) },
    evidence: { closed: lastWindow, reference: run?.reference ?? null },
  };
  return fit(record);
}

function concern(run: Run | null, name: "disk" | "doctor", ok: boolean): Outcome {
  if (run?.latch?.concern === name) return "fail";
  return ok ? "pass" : "hold";
}

function runView(state: State, canary: CanaryState, config: CanaryConfig): VerdictBody["run"] {
  const { run } = canary;
  if (run === null) return null;
  const gateways = gatewaysOfCanary(state, config);
  const stable =
    agreedRelease(gateways.filter((gateway) => gateway.slice === "stable")) ?? (config.hasStable ? null : canary.baseline);
  return {
    id: run.id,
    state: run.state,
    revision: run.revision,
    since: isoTime(run.sinceMs),
    weight: run.weight,
    canary_active: isCanaryActive(run),
    promotable: run.promotable,
    latched_by: run.latch?.verdictId ?? null,
    controller_revision: run.controllerRevision,
    gated: run.gated,
    mac_release_ok: config.policy.macRelease === "optional" || run.state !== "pending",
    announced_hash: run.announcedHash ?? run.pinned?.skill_hash ?? null,
    stable_hash: stable?.skill_hash ?? null,
  };
}

/**
 * Reasons that require action come first: for a fail, those that failed it; for a hold, faults before traffic that is only
 * suspicious and may be caused by them. One reason per code and gateway.
 */
function rank(reasons: readonly Reason[], verdict: Outcome): Reason[] {
  const weight = ({ code }: Reason): number => {
    const { effect, hard } = REASONS[code];
    if (code === "latched") return 2;
    if (code === "hold_expired") return 6;
    if (effect === "evidence") return code === "no_run" ? 5 : 4;
    if (verdict === "fail") return effect !== "fail" ? 3 : hard ? 1 : 0;
    return hard ? 0 : effect === "fail" ? 1 : 3;
  };
  const seen = new Set<string>();
  return reasons
    .filter((reason) => {
      const key = `${reason.code}|${reason.gateway ?? ""}|${reason.metric ?? ""}|${reason.text}`;
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    })
    .map((reason, index) => ({ reason, index }))
    .sort((a, b) => weight(a.reason) - weight(b.reason) || a.index - b.index)
    .map((entry) => entry.reason);
}

/**
 * A record over its size limit gets coarser histograms (scale 5, 4, … 0): each step halves their buckets and doubles the error.
 */
function fit(record: VerdictRecord): VerdictRecord {
  const { closed } = record.evidence;
  if (closed === null) return record;
  let fitted = record;
  for (let scale = histogram.DEFAULT_SCALE - 1; scale >= 0 && JSON.stringify(fitted).length > MAX_VERDICT_BYTES; scale--) {
    fitted = { ...record, evidence: { ...record.evidence, closed: coarser(closed, scale) } };
  }
  return fitted;
}

function coarser(window: ClosedWindow, scale: number): ClosedWindow {
  return {
    ...window,
    cells: window.cells.map((cell) => ({
      ...cell,
      slots: cell.slots.map((slot) => {
        const latency = histogram.fromSparse(slot.latency);
        if (latency.scale > scale) histogram.downscale(latency, scale);
        return { ...slot, latency: histogram.toSparse(latency) };
      }),
    })),
  };
}

/** One line for logs and for `release_changed`. */
export function releaseChangedReason(run: Run, release: NonNullable<Run["pinned"]>): Reason {
  return {
    code: "release_changed",
    text: reasonText(
      `the canary slice runs ${releaseText(release)}; the run pinned ${run.pinned === null ? "nothing" : releaseText(run.pinned)}`,
    ),
  };
}
