/** The verdict: the one result that every controller receives in its own dialect, with its reasons and its evidence. */
import { z } from "zod";
import { JUDGING_CLASSES } from "./fleet.ts";
import { contentId } from "./ids.ts";
import { MAX_CLOCK_AHEAD_MS, type Policy } from "./policy.ts";
import { promotionFactsSchema } from "./promotion.ts";
import { degrades, type ReasonCode, reasonSchema } from "./reasons.ts";
import { RUN_STATES } from "./run.ts";
import { count, hash64, isoTimeSchema } from "./signal.ts";
import { closedWindowSchema, windowMetaSchema } from "./window.ts";

export const OUTCOMES = ["pass", "hold", "fail"] as const;
export type Outcome = (typeof OUTCOMES)[number];
export const outcomeSchema = z.enum(OUTCOMES);

/** 1 pass, 0.5 hold, 0 fail: the number that controllers compare. */
export const OUTCOME_NUMBER: Readonly<Record<Outcome, number>> = { pass: 1, hold: 0.5, fail: 0 };
export const OUTCOME_STATUS = { pass: "healthy", hold: "hold", fail: "failing" } as const;

/** Until when a verdict of `atMs` is valid: two windows and the grace. Milliseconds since the epoch, like `atMs`. */
export function validUntilMs(atMs: number, { windowMs, graceMs }: Pick<Policy, "windowMs" | "graceMs">): number {
  return atMs + 2 * windowMs + graceMs;
}

/**
 * Whether a verdict claims to have been decided after it was stored. Its time then determines neither age nor order, whichever
 * process wrote it.
 * @param storedAtMs the broker's store time of its message
 */
export function isFromTheFuture(body: { readonly at: string }, storedAtMs: number): boolean {
  return Date.parse(body.at) - storedAtMs > MAX_CLOCK_AHEAD_MS;
}

/** Whether a controller must not widen: on every failure, and on a hold that a fault caused. */
export function isDegraded(verdict: Outcome, reasons: readonly { readonly code: ReasonCode }[]): boolean {
  return verdict === "fail" || (verdict === "hold" && reasons.some(({ code }) => degrades(code)));
}

const sliceFigures = z.object({
  requests: count,
  errors_5xx: count,
  "5xx_rate": z.number().nullable(),
  /** The same number under a name that Argo's expression language can parse. */
  error_rate_5xx: z.number().nullable(),
  p99_ms: z.number().nullable(),
});
export type SliceFigures = z.infer<typeof sliceFigures>;

const flag = z.literal([0, 1]);

export const verdictBodySchema = z.object({
  schema: z.literal("aviary/verdict.v1"),
  id: z.string().regex(/^[0-9a-f]{16}$/),
  at: isoTimeSchema,
  subject: z.object({ namespace: z.string(), name: z.string(), fleet: z.string() }),
  status: z.enum(["healthy", "hold", "failing"]),
  verdict: outcomeSchema,
  verdict_num: z.number(),
  degraded: z.boolean(),
  degraded_num: flag,
  canary: sliceFigures,
  stable: sliceFigures.nullable(),
  gateway: z.object({
    process_ok: z.boolean(),
    process_ok_num: flag,
    worker_reachable: z.boolean(),
    worker_reachable_num: flag,
    deps_ok: z.boolean(),
    deps_ok_num: flag,
    disk_ok: z.boolean(),
    disk_ok_num: flag,
    doctor_ok: z.boolean(),
    doctor_ok_num: flag,
    queue_depth: count.nullable(),
    skill_hash: hash64.nullable(),
    gateway_version: z.string().nullable(),
    expected: count,
    fresh: count,
  }),
  concerns: z.object({
    errors: outcomeSchema,
    latency: outcomeSchema,
    queue: outcomeSchema,
    disk: outcomeSchema,
    doctor: outcomeSchema,
    parity: outcomeSchema,
  }),
  judge: z.object({
    mode: z.enum(["two-key", "literal"]),
    literal: outcomeSchema,
    two_key: outcomeSchema,
    consecutive_over: count,
    consecutive_pass: count,
    evidence: z.enum(["strict", "normal", "eager"]),
    traffic: z.enum(["real", "synthetic", "both"]),
    /** The version of the two-key rule; absent in records of version 2, and before a window was judged. */
    rule: z.literal([2, 3]).optional(),
    luck: z.number().nullable(),
    noise: z.object({ rho: z.number(), phi: z.number(), reference_windows: count }).nullable(),
  }),
  reasons: z.array(reasonSchema).max(5),
  reasons_more: count.optional(),
  /** While a fail is latched: what is wrong with the canary now. */
  current: z.array(reasonSchema).max(5).optional(),
  warnings: z.array(reasonSchema).max(5),
  thresholds: z.object({
    max_5xx_rate: z.number(),
    max_p99_ms: z.number(),
    max_p99_regression_ratio: z.number(),
    /** Absent in records of version 2 of the rule. */
    min_latency_delta_ms: z.number().optional(),
    max_queue_depth: z.number(),
  }),
  window: windowMetaSchema.nullable(),
  run: z
    .object({
      id: z.string(),
      state: z.enum(RUN_STATES),
      revision: z.string(),
      since: isoTimeSchema,
      /** Traffic share of the canary, percent; null if unknown, which is not 0. The larger of `weight_claims`. */
      weight: z.number().nullable(),
      /** The weights that controller and load balancer report; null for one that has reported none. */
      weight_claims: z.object({ controller: z.number().nullable(), balancer: z.number().nullable() }).optional(),
      canary_active: z.boolean(),
      promotable: z.boolean(),
      /** Id of the verdict that latched the failure. */
      latched_by: z.string().nullable(),
      /** The controller's name for the revision; null if the run was opened by observation. */
      controller_revision: z.string().nullable(),
      /** The caller class that judges this run; null until one has named it. */
      seat: z.enum(JUDGING_CLASSES).nullable().default(null),
      /** The number of this analysis of the revision, from 1. */
      attempt: z.int().min(1).default(1),
      /** The gate confirm-traffic-increase was called during this run, so a hold can be returned without counting as a success. */
      gated: z.boolean(),
      /** Whether an increase of the weight was granted and not withdrawn. */
      granted: z.boolean().default(false),
      /** The gate confirm-promotion was granted during this run. */
      promotion_granted: z.boolean().default(false),
      /** An operator declared the previous attempt's failure a false positive. */
      cleared: z.object({ by: z.string(), reason: z.string(), at: isoTimeSchema }).nullable().default(null),
      /** The canary slice runs the release under test, or the policy does not require it. */
      mac_release_ok: z.boolean(),
      /** The skill packs under test (announced or pinned) and of stable, from which the promoter decides what may be installed. */
      announced_hash: hash64.nullable(),
      stable_hash: hash64.nullable(),
    })
    .nullable(),
  /** False if the policy requires a pass before stable is promoted and there was none. */
  stable_may_promote: z.boolean(),
  valid_until: isoTimeSchema,
});

/** Formats a weight for people. */
export const formatWeight = (weight: number | null): string => (weight === null ? "unknown" : `${weight}%`);

export type VerdictBody = z.infer<typeof verdictBodySchema>;
export type RunView = NonNullable<VerdictBody["run"]>;

/** The judge's reference, estimated before the run and frozen at its start. */
export const referenceSchema = z.object({
  windows: count,
  from: z.enum(["stable", "same-gateways", "none"]),
  figures: z.record(z.string(), z.number()),
});

/** One analysis of a revision, newest attempt per revision. */
export const revisionSchema = z.object({
  /** The controller's name for the revision. */
  name: z.string().max(128),
  attempt: z.int().min(1),
  state: z.enum(RUN_STATES),
  /** The time at which it entered the state. */
  at: isoTimeSchema,
  /** Whether the controller has reported the end of this attempt. */
  end_reported: z.boolean(),
  /** The caller that ended it; null if its own rules did. */
  ended_by: z.enum(["controller", "operator"]).nullable().default(null),
});
export type RevisionEntry = z.infer<typeof revisionSchema>;
/** Maximum number of revisions in a record. */
export const MAX_REVISIONS = 32;

export const verdictRecordSchema = z.object({
  body: verdictBodySchema,
  /** The last revisions that controllers named, oldest first. */
  revisions: z.array(revisionSchema).max(MAX_REVISIONS).default([]),
  /** The facts that decide which artifacts may be installed now; null in records of earlier versions. */
  promotion: promotionFactsSchema.nullable().default(null),
  /** The judge's input: the window that this verdict closed or was last based on; null before the first window has closed. */
  evidence: z.object({
    closed: closedWindowSchema.nullable(),
    reference: referenceSchema.nullable(),
    /**
     * Indexes of the last windows that are left out of the run's sums, because stable accounts for them; absent if there are none.
     */
    left_out: z.array(count).max(12).optional(),
  }),
});
export type VerdictRecord = z.infer<typeof verdictRecordSchema>;
export type Reference = z.infer<typeof referenceSchema>;

const compiled = z.compile(verdictRecordSchema);
export const parseVerdictRecord = (value: unknown): z.ZodSafeParseResult<VerdictRecord> => compiled.safeParse(value);

/** The maximum size of a verdict record, bytes; above it, histograms are coarsened until it fits. */
export const MAX_VERDICT_BYTES = 32 * 1024;
/** The maximum size of an HTTP body, bytes: Argo Rollouts stores each measurement in the cluster's database. */
export const MAX_ANSWER_BYTES = 2 * 1024;
export const MAX_REASONS = 5;

/** Verdict id: the first 16 hex digits of the SHA-256 of the canonical body without `id`. */
export function verdictId(body: Omit<VerdictBody, "id">): string {
  return contentId(body, 16);
}
