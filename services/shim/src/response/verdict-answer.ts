/**
 * Derives the body that one caller gets from a stored verdict. Pure: the time and the age of the evaluator's lease are arguments.
 *
 * Invariant: without a fresh verdict the answer is a hold, with `stale: true` and one of two codes:
 *
 *     evaluator_down   the lease is stale, or the last verdict has expired
 *     not_ready        the shim has not caught up yet, or a running evaluator has not published a first verdict
 *
 * A failure stays latched even while the evaluator is down.
 */

import { contentId } from "@aviary/shared/contract/ids.ts";
import { LEASE_STALE_MS } from "@aviary/shared/contract/lease.ts";
import { defaultPolicy, type Policy } from "@aviary/shared/contract/policy.ts";
import { REASONS, type Reason, type ReasonCode, reasonText } from "@aviary/shared/contract/reasons.ts";
import {
  isDegraded,
  MAX_REASONS,
  OUTCOME_NUMBER,
  OUTCOME_STATUS,
  type Outcome,
  type VerdictBody,
} from "@aviary/shared/contract/verdict.ts";
import type { Standing } from "./standing.ts";

/** A verdict body as served: the stored one, or its replacement. */
export interface VerdictAnswer {
  readonly body: VerdictBody;
  readonly stale: boolean;
  /** Why the stored verdict is not current, if the body does not state it: a latched failure is served unchanged. */
  readonly unavailable?: Reason;
  /** False for a canary that is not configured or not served on this host. */
  readonly known: boolean;
}

/** Why there is no fresh verdict. */
export interface Unavailable {
  readonly code: "evaluator_down" | "not_ready";
  readonly text: string;
}

/** The facts that decide whether a canary's verdict is fresh. */
export interface VerdictFreshness {
  /** The stored verdict's `valid_until`; `undefined` without a stored verdict. */
  readonly validUntilMs: number | undefined;
  readonly nowMs: number;
  /** Time since the evaluator last renewed its lease; infinite when no lease has been read. */
  readonly leaseAgeMs: number;
  /** Whether the shim has read everything that was stored when it subscribed. */
  readonly isCaughtUp: boolean;
}

/** Explains why a canary has no fresh verdict; `undefined` while it has one. */
export function unavailability({ validUntilMs, nowMs, leaseAgeMs, isCaughtUp }: VerdictFreshness): Unavailable | undefined {
  const cause =
    validUntilMs === undefined ? missingCause(leaseAgeMs) : (expiryCause(validUntilMs, nowMs) ?? leaseCause(leaseAgeMs));
  if (cause === undefined && validUntilMs !== undefined) return undefined;
  // The shim may not have read a newer verdict yet.
  if (!isCaughtUp) return { code: "not_ready", text: "the shim has not read the stored verdicts yet" };
  if (cause !== undefined) return { code: "evaluator_down", text: cause };
  return { code: "not_ready", text: "the evaluator has not published a verdict for this canary yet" };
}

function missingCause(leaseAgeMs: number): string | undefined {
  const cause = leaseCause(leaseAgeMs);
  return cause === undefined ? undefined : `no verdict is stored for this canary, and ${cause}`;
}

function expiryCause(validUntilMs: number, nowMs: number): string | undefined {
  if (!(nowMs <= validUntilMs)) {
    const until = Number.isFinite(validUntilMs) ? new Date(validUntilMs).toISOString() : "an unreadable time";
    return `the last verdict was valid until ${until}`;
  }
  return undefined;
}

function leaseCause(leaseAgeMs: number): string | undefined {
  if (leaseAgeMs === Number.POSITIVE_INFINITY) return "no evaluator holds the lease";
  if (!(leaseAgeMs < LEASE_STALE_MS)) return `no evaluator has renewed the lease for ${LEASE_STALE_MS / 1000} s`;
  return undefined;
}

/** The stored verdict as of now: unchanged while fresh or failed, otherwise a hold. */
export function currentAnswer(body: VerdictBody, cause: Unavailable | undefined): VerdictAnswer {
  if (cause === undefined) return { body, stale: false, known: true };
  const reason: Reason = { code: cause.code, text: reasonText(`${cause.text}: hold until a fresh one is published`) };
  if (body.verdict === "fail") return { body, stale: true, known: true, unavailable: reason };
  const held = heldBody(body, reason);
  return { body: held, stale: true, known: true };
}

/** The body as a hold with a new first reason; it is never promotable. */
function heldBody(body: VerdictBody, reason: Reason): VerdictBody {
  const reasons = [reason, ...body.reasons].slice(0, MAX_REASONS);
  const more = (body.reasons_more ?? 0) + body.reasons.length + 1 - reasons.length;
  const hold = (outcome: Outcome): Outcome => (outcome === "pass" ? "hold" : outcome);
  const { errors, latency, queue, disk, doctor, parity } = body.concerns;
  return {
    ...outcomeOf("hold", reasons),
    ...withoutOutcome(body),
    concerns: {
      errors: hold(errors),
      latency: hold(latency),
      queue: hold(queue),
      disk: hold(disk),
      doctor: hold(doctor),
      parity: hold(parity),
    },
    reasons,
    ...(more > 0 ? { reasons_more: more } : {}),
    run: body.run === null ? null : { ...body.run, promotable: false },
  };
}

type OutcomeFields = Pick<VerdictBody, "status" | "verdict" | "verdict_num" | "degraded" | "degraded_num">;

function outcomeOf(verdict: Outcome, reasons: readonly { readonly code: ReasonCode }[]): OutcomeFields {
  const degraded = isDegraded(verdict, reasons);
  return {
    status: OUTCOME_STATUS[verdict],
    verdict,
    verdict_num: OUTCOME_NUMBER[verdict],
    degraded,
    degraded_num: degraded ? 1 : 0,
  };
}

function withoutOutcome(body: VerdictBody): Omit<VerdictBody, keyof OutcomeFields | "reasons_more"> {
  const { status, verdict, verdict_num, degraded, degraded_num, reasons_more, ...rest } = body;
  return rest;
}

/** The canary's current reasons. */
export function currentReasons({ body: { current, reasons }, unavailable }: VerdictAnswer): readonly Reason[] {
  const now = current ?? reasons;
  return unavailable === undefined ? now : [unavailable, ...now];
}

/** Current reasons that apply to any revision: a full disk, a gateway that is down. */
export function applicableReasons(answer: VerdictAnswer): Reason[] {
  return currentReasons(answer).filter(({ code }) => REASONS[code].hard && !OF_ONE_RUN.has(code));
}

/** Reasons about a run, which apply to no other revision. */
const OF_ONE_RUN: ReadonlySet<ReasonCode> = new Set(["latched", "caller_gone", "release_changed", "restarting"]);

/** The stored facts of the canary with another outcome: no run of the named revision is open. */
function withoutRun(answer: VerdictAnswer, outcome: "hold" | "fail", first: Reason): VerdictAnswer {
  const { body } = answer;
  const applicable = applicableReasons(answer);
  const reasons = (outcome === "fail" ? [first, ...applicable] : [...applicable, first]).slice(0, MAX_REASONS);
  const { current, ...held } = withoutOutcome(heldBody(body, first));
  return { ...answer, body: { ...outcomeOf(outcome, reasons), ...held, reasons, run: null } };
}

/**
 * The answer for a revision that was never analyzed. The stored verdict is about another revision, so neither its pass nor its fail
 * applies.
 */
export function newRevisionAnswer(answer: VerdictAnswer, revision: string | undefined): VerdictAnswer {
  const named = revision === undefined ? "another revision" : `revision ${revision.slice(0, 60)}`;
  return withoutRun(answer, "hold", { code: "pending", text: `${named} is announced but has no verdict yet` });
}

/** The answer for a revision that was analyzed before the current run: a fail if it failed, otherwise a hold. */
export function earlierRevisionAnswer(
  answer: VerdictAnswer,
  { entry, open }: Omit<Extract<Standing, { kind: "earlier" }>, "kind">,
): VerdictAnswer {
  const name = `revision ${entry.name.slice(0, 60)}`;
  if (entry.state === "failed") {
    const text = `${name} failed at ${entry.at}; it stays failed until a new attempt is opened`;
    return withoutRun(answer, "fail", { code: "latched", text: reasonText(text) });
  }
  if (open === null)
    return withoutRun(answer, "hold", { code: "no_run", text: reasonText(`the run of ${name} ended: ${entry.state}`) });
  const text = `${name} is older than the revision of the open run, ${open.controller_revision ?? open.revision}`;
  return withoutRun(answer, "hold", { code: "superseded", text: reasonText(text) });
}

/** The parts of an answer without a stored verdict. */
export interface AbsentVerdict {
  readonly namespace: string;
  readonly name: string;
  readonly fleet: string;
  readonly code: Unavailable["code"] | "unknown_canary" | "no_run";
  readonly text: string;
  readonly nowMs: number;
  readonly policy?: Policy | undefined;
}

/** A complete body without a verdict: a hold with every key that a template may read, and no measurements. */
export function absentAnswer(absent: AbsentVerdict): VerdictAnswer {
  const at = new Date(absent.nowMs).toISOString();
  const { mode, evidence, traffic, thresholds } = absent.policy ?? defaultPolicy();
  const subject = { namespace: absent.namespace, name: absent.name, fleet: absent.fleet };
  const reasons: Reason[] = [{ code: absent.code, text: reasonText(absent.text) }];
  const body: VerdictBody = {
    schema: "aviary/verdict.v1",
    id: contentId([absent.code, subject], 16),
    at,
    subject,
    ...outcomeOf("hold", reasons),
    canary: { requests: 0, errors_5xx: 0, "5xx_rate": null, error_rate_5xx: null, p99_ms: null },
    stable: null,
    gateway: {
      process_ok: false,
      process_ok_num: 0,
      worker_reachable: false,
      worker_reachable_num: 0,
      deps_ok: false,
      deps_ok_num: 0,
      disk_ok: false,
      disk_ok_num: 0,
      doctor_ok: false,
      doctor_ok_num: 0,
      queue_depth: null,
      skill_hash: null,
      gateway_version: null,
      expected: 0,
      fresh: 0,
    },
    concerns: { errors: "hold", latency: "hold", queue: "hold", disk: "hold", doctor: "hold", parity: "hold" },
    judge: {
      mode,
      literal: "hold",
      two_key: "hold",
      consecutive_over: 0,
      consecutive_pass: 0,
      evidence,
      traffic,
      luck: null,
      noise: null,
    },
    reasons,
    warnings: [],
    thresholds: {
      max_5xx_rate: thresholds.max5xxRate,
      max_p99_ms: thresholds.maxP99Ms,
      max_p99_regression_ratio: thresholds.maxP99RegressionRatio,
      max_queue_depth: thresholds.maxQueueDepth,
    },
    window: null,
    run: null,
    stable_may_promote: false,
    valid_until: at,
  };
  const stale = absent.code === "evaluator_down" || absent.code === "not_ready";
  return { body, stale, known: absent.code !== "unknown_canary" };
}

export const ANALYSIS_CONCERNS = ["errors", "latency", "queue", "disk"] as const;
export type AnalysisConcern = (typeof ANALYSIS_CONCERNS)[number];

/** Codes that belong to one concern; every other code applies to all concerns. */
const CONCERN_CODES: Readonly<Partial<Record<ReasonCode, keyof VerdictBody["concerns"]>>> = {
  over_5xx: "errors",
  over_p99: "latency",
  p99_regression: "latency",
  queue_high: "queue",
  queue_growth: "queue",
  disk_yellow: "disk",
  disk_red: "disk",
  disk_unwritable: "disk",
  doctor_error: "doctor",
  doctor_unknown: "doctor",
  version_skew: "parity",
  skill_skew: "parity",
  fragment_skew: "parity",
  slice_mismatch: "parity",
  release_changed: "parity",
};

/** Codes already reflected in the outcomes of the concerns; every other code without a concern holds all of them. */
const REFLECTED_IN_CONCERNS: ReadonlySet<ReasonCode> = new Set(["low_traffic", "environment", "late", "hold_expired", "latched"]);

/**
 * The outcome of one concern. If the concern that latched a failure has recovered, every concern fails: the record no longer
 * identifies it. A concern fails only if the verdict does. A reason against the canary as a whole (stale signals, no open run,
 * a gateway that is down) prevents a pass in every concern.
 */
function concernOutcome({ verdict, concerns, reasons }: VerdictBody, concern: AnalysisConcern): Outcome {
  if (verdict === "fail") return Object.values(concerns).includes("fail") ? concerns[concern] : "fail";
  const isHeldAsWhole = reasons.some(({ code }) => CONCERN_CODES[code] === undefined && !REFLECTED_IN_CONCERNS.has(code));
  return concerns[concern] === "pass" && !isHeldAsWhole ? "pass" : "hold";
}

/** The verdict as judged by one concern only: its outcome, and the reasons that belong to it or to no concern. */
export function concernAnswer(answer: VerdictAnswer, concern: AnalysisConcern): VerdictAnswer {
  const { body } = answer;
  const verdict = concernOutcome(body, concern);
  const belongs = (reason: Reason): boolean => (CONCERN_CODES[reason.code] ?? concern) === concern;
  const reasons = verdict === "pass" ? [] : body.reasons.filter(belongs);
  return {
    ...answer,
    body: {
      ...outcomeOf(verdict, reasons),
      ...withoutOutcome(body),
      reasons,
      warnings: body.warnings.filter(belongs),
    },
  };
}
