/**
 * Composing a verdict: what the judge said of the last window, what the conditions say now, and the state of the run, in one body.
 * The ladder of `decide` is the product in one screen; everything below it is arrangement.
 */

import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { degrades, REASONS, type Reason, reasonText } from "@aviary/shared/contract/reasons.ts";
import type { Release } from "@aviary/shared/contract/run.ts";
import {
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
import { inForce } from "./judge/outcome.ts";
import { agreedRelease, releaseText } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { type CanaryState, gatewaysOfCanary, isCanaryActive, isOpen, type Latch, type Run, type State } from "./state.ts";

export interface Decision {
  readonly verdict: Outcome;
  readonly reasons: readonly Reason[];
  readonly warnings: readonly Reason[];
  /** Set when this decision fails the run. */
  readonly failing: { readonly concern: Latch["concern"]; readonly reasons: readonly Reason[] } | undefined;
}

/**
 * Fail, hold or pass, and why. A ladder: the first rung that holds decides.
 * @param tried what the canary slice runs, where no run is open because it had its run already
 */
export function decide(
  canary: CanaryState,
  setup: CanaryConfig,
  conditions: Conditions,
  releaseChanged: Reason | undefined,
  tried: Release | undefined,
): Decision {
  const { run } = canary;
  const warnings = [...conditions.warnings];
  const hold = (first: readonly Reason[]): Decision => ({
    verdict: "hold",
    reasons: [...first, ...conditions.holds],
    warnings,
    failing: undefined,
  });

  // A fail latches: nothing that is measured later changes it.
  if (run?.latch) return { verdict: "fail", reasons: latchedReasons(run, run.latch), warnings, failing: undefined };

  if (
    run === null ||
    run.state === "idle" ||
    run.state === "passed" ||
    run.state === "aborted" ||
    run.state === "superseded" ||
    run.state === "expired" ||
    run.state === "failed"
  ) {
    return hold([{ code: "no_run", text: noRunText(run, tried) }, ...conditions.hard.map((entry) => entry.reason)]);
  }
  if (run.state === "pending") {
    const asked = setup.policy.macRelease === "required" ? " and the policy asks for it (macRelease)" : "";
    return hold([
      ...conditions.hard.map((entry) => entry.reason),
      {
        code: "pending",
        text: reasonText(
          `revision ${run.controllerRevision ?? run.revision}: its release is not on the canary slice yet${asked}`,
        ),
      },
    ]);
  }

  // Warming or active: a hard signal fails at once.
  const firstHard = conditions.hard[0];
  if (firstHard !== undefined) {
    const reasons = conditions.hard.map((entry) => entry.reason);
    return { verdict: "fail", reasons, warnings, failing: { concern: firstHard.concern, reasons } };
  }
  if (run.state === "warming")
    return hold([
      {
        code: "warming",
        text: `warming up until ${isoTime(run.judgeFromMs).slice(11, 19)}Z: what is measured now is not judged`,
      },
    ]);

  const outcome = run.outcome === null ? undefined : inForce(run.outcome, setup.policy.mode);
  if (outcome === undefined)
    return hold([...changed(releaseChanged), { code: "low_traffic", text: "the first window of the run has not closed yet" }]);
  warnings.push(...outcome.warnings);
  if (outcome.verdict === "fail") {
    return {
      verdict: "fail",
      reasons: outcome.reasons,
      warnings,
      failing: { concern: failedConcern(outcome.concerns), reasons: outcome.reasons },
    };
  }
  const held = [
    ...changed(releaseChanged),
    ...conditions.holds,
    ...(outcome.verdict === "hold" ? judgedReasons(outcome.reasons) : []),
  ];
  if (held.length > 0 || outcome.verdict === "hold") {
    const expired: Reason[] = run.holdExpired
      ? [
          {
            code: "hold_expired",
            text: `held since ${isoTime(run.heldSinceMs).slice(11, 19)}Z, longer than the hold budget: people were told`,
          },
        ]
      : [];
    return { verdict: "hold", reasons: [...held, ...expired], warnings, failing: undefined };
  }
  return { verdict: "pass", reasons: [], warnings: [...warnings, ...lateWarnings(canary.lastWindow)], failing: undefined };
}

/** A hold is never without a reason. */
function judgedReasons(reasons: readonly Reason[]): readonly Reason[] {
  if (reasons.length > 0) return reasons;
  return [{ code: "low_traffic", text: "what was measured so far rules out too little; more requests are needed" }];
}

const changed = (reason: Reason | undefined): Reason[] => (reason === undefined ? [] : [reason]);

function noRunText(run: Run | null, tried: Release | undefined): string {
  if (tried !== undefined)
    return reasonText(`no run is open: ${releaseText(tried)} was already analysed; start a new run with \`aviary run start\``);
  if (run === null || run.state === "idle") return "no run is open";
  return reasonText(
    `no run is open: the last one (${run.controllerRevision ?? run.revision}) ${run.state === "passed" ? "passed" : `is ${run.state}`}`,
  );
}

/** Why the run failed, as it was said then, and that this was then. */
function latchedReasons(run: Run, latch: Latch): Reason[] {
  if (latch.verdictId === null) return latch.reasons;
  const stays = run.over ? "the run is over, the fail stays" : "stays failed";
  const text = `failed at ${isoTime(latch.atMs).slice(11, 19)}Z (verdict ${latch.verdictId}), reasons are of then; ${stays} until a new revision or an operator's clear`;
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
      text: `${window.late} signals came after their window had closed; they were counted and not judged`,
    },
  ];
}

/** Figures of one slice over the sources that the policy rests on; `null` where the slice has no cell and does not exist. */
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

/** Does a verdict under this policy rest on synthetic (or real) traffic? */
export function rests(traffic: CanaryConfig["policy"]["traffic"], synthetic: boolean): boolean {
  return traffic === "both" || (traffic === "synthetic") === synthetic;
}

const PENDING_CONCERNS = { errors: "hold", latency: "hold", queue: "hold" } as const;

/** The whole record, with its id. */
export function verdictRecord(
  state: State,
  canary: CanaryState,
  setup: CanaryConfig,
  conditions: Conditions,
  decision: Decision,
  atMs: number,
): VerdictRecord {
  const { policy } = setup;
  const { run } = canary;
  // What was judged of a run that has ended without a fail is nobody's verdict any more.
  const judged = run !== null && run.outcome !== null && (isOpen(run) || run.latch !== null);
  const concerns = judged ? inForce(run.outcome!, policy.mode).concerns : PENDING_CONCERNS;
  const ranked = rank(decision.reasons, decision.verdict);
  const degraded = decision.verdict === "fail" || (decision.verdict === "hold" && ranked.some((reason) => degrades(reason.code)));
  const lastWindow = canary.lastWindow;
  const body: Omit<VerdictBody, "id"> = {
    schema: "aviary/verdict.v1",
    at: isoTime(atMs),
    subject: { namespace: setup.ref.namespace, name: setup.ref.name, fleet: setup.fleet },
    status: OUTCOME_STATUS[decision.verdict],
    verdict: decision.verdict,
    verdict_num: OUTCOME_NUMBER[decision.verdict],
    degraded,
    degraded_num: degraded ? 1 : 0,
    canary: figuresOf(lastWindow, "canary", policy.traffic),
    stable: setup.hasStable ? figuresOf(lastWindow, "stable", policy.traffic) : null,
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
    run: runView(state, canary, setup),
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

function runView(state: State, canary: CanaryState, setup: CanaryConfig): VerdictBody["run"] {
  const { run } = canary;
  if (run === null) return null;
  const gateways = gatewaysOfCanary(state, setup);
  const stable =
    agreedRelease(gateways.filter((gateway) => gateway.slice === "stable")) ?? (setup.hasStable ? null : canary.baseline);
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
    mac_release_ok: setup.policy.macRelease === "optional" || run.state !== "pending",
    announced_hash: run.announcedHash ?? run.pinned?.skill_hash ?? null,
    stable_hash: stable?.skill_hash ?? null,
  };
}

/**
 * What makes people act comes first: of a fail what failed it; of a hold what is broken, before traffic that is only suspicious and may
 * suffer from just that. The same code of the same gateway is said once.
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

/** A record over its size limit gets coarser histograms (scale 5, 4, … 0): each step halves their buckets and doubles the error. */
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

/** One line for the logs and for `release_changed`. */
export function releaseChangedReason(run: Run, release: NonNullable<Run["pinned"]>): Reason {
  return {
    code: "release_changed",
    text: reasonText(
      `the canary slice runs ${releaseText(release)}; the run pinned ${run.pinned === null ? "nothing" : releaseText(run.pinned)}`,
    ),
  };
}
