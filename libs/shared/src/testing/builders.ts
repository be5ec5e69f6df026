/** Builds valid records: a test states the relevant fields, and the builder fills in the rest. */
import { type FleetFile, fleetFileSchema } from "../contract/fleet.ts";
import type { LaneRecord } from "../contract/lane.ts";
import type { Reason, ReasonCode } from "../contract/reasons.ts";
import type { Signal } from "../contract/signal.ts";
import type { SignalKind } from "../contract/subjects.ts";
import {
  isDegraded,
  OUTCOME_NUMBER,
  OUTCOME_STATUS,
  type Outcome,
  type RevisionEntry,
  type RunView,
  type SliceFigures,
  type VerdictBody,
  type VerdictRecord,
  verdictId,
} from "../contract/verdict.ts";

/** The time of built records by default. */
export const BUILT_AT = "2026-11-21T10:00:00.000Z";

/** A fleet of four gateways in two zones with one canary and one lane; `change` adds to it or replaces parts. */
export function aFleet(change: Record<string, unknown> = {}): FleetFile {
  return fleetFileSchema.parse({
    fleets: {
      payments: {
        gateways: [
          { name: "mac-a1", az: "az-a", slice: "canary", tier: "2TB" },
          { name: "mac-a2", az: "az-a", slice: "stable", tier: "2TB" },
          { name: "mac-b1", az: "az-b", slice: "canary" },
          { name: "mac-b2", az: "az-b", slice: "stable" },
        ],
      },
    },
    canaries: {
      "prod/payments-gateway": {
        fleet: "payments",
        policy: "policies/default.yaml",
        lanes: ["build-az-a"],
        callers: { flagger: { interval: "60s" }, rollouts: { interval: "60s" }, keda: { interval: "30s" } },
      },
    },
    lanes: { "build-az-a": { az: "az-a", slice: "canary", stableMax: 2 } },
    ...change,
  });
}

/** A reason with a text. */
export function aReason(code: ReasonCode, change: Partial<Reason> = {}): Reason {
  return { code, text: `because of ${code}`, ...change };
}

/** The run of a built verdict: active, at 10%, opened five minutes before `BUILT_AT`. */
export function aRun(change: Partial<RunView> = {}): RunView {
  return {
    id: "0123456789ab-42",
    state: "active",
    revision: "0123456789ab",
    since: "2026-11-21T09:55:00.000Z",
    weight: 10,
    canary_active: true,
    promotable: false,
    latched_by: null,
    controller_revision: null,
    seat: null,
    attempt: 1,
    gated: false,
    granted: false,
    promotion_granted: false,
    cleared: null,
    mac_release_ok: true,
    announced_hash: null,
    stable_hash: "b".repeat(64),
    ...change,
  };
}

export interface VerdictChange extends Partial<Omit<VerdictBody, "run" | "verdict" | "gateway">> {
  readonly verdict?: Outcome;
  readonly run?: Partial<RunView> | null;
  readonly revisions?: readonly RevisionEntry[];
  readonly gateway?: Partial<VerdictBody["gateway"]>;
}

const figures = (requests: number, errors: number, p99Ms: number): SliceFigures => ({
  requests,
  errors_5xx: errors,
  "5xx_rate": errors / requests,
  error_rate_5xx: errors / requests,
  p99_ms: p99Ms,
});

/**
 * A verdict record; by default a hold has the reason `low_traffic` and a fail `over_5xx`. Fields that follow from outcome and
 * reasons are computed.
 */
export function aVerdict(change: VerdictChange = {}): VerdictRecord {
  const { verdict = "pass", run, gateway, revisions, ...rest } = change;
  const reasons = rest.reasons ?? defaultReasons(verdict);
  const degraded = isDegraded(verdict, reasons);
  const body: Omit<VerdictBody, "id"> = {
    schema: "aviary/verdict.v1",
    at: BUILT_AT,
    subject: { namespace: "prod", name: "payments-gateway", fleet: "payments" },
    status: OUTCOME_STATUS[verdict],
    verdict,
    verdict_num: OUTCOME_NUMBER[verdict],
    degraded,
    degraded_num: degraded ? 1 : 0,
    canary: figures(612, 2, 164),
    stable: figures(5_800, 12, 151),
    gateway: {
      process_ok: true,
      process_ok_num: 1,
      worker_reachable: true,
      worker_reachable_num: 1,
      deps_ok: true,
      deps_ok_num: 1,
      disk_ok: true,
      disk_ok_num: 1,
      doctor_ok: true,
      doctor_ok_num: 1,
      queue_depth: 4,
      skill_hash: "a".repeat(64),
      gateway_version: "2026.9.6",
      expected: 4,
      fresh: 4,
      ...gateway,
    },
    concerns: {
      errors: verdict === "fail" ? "fail" : "pass",
      latency: "pass",
      queue: "pass",
      disk: "pass",
      doctor: "pass",
      parity: "pass",
    },
    judge: {
      mode: "two-key",
      literal: verdict,
      two_key: verdict,
      consecutive_over: 0,
      consecutive_pass: 3,
      evidence: "normal",
      traffic: "real",
      luck: 0.21,
      noise: { rho: 0.00002, phi: 1, reference_windows: 48 },
    },
    warnings: [],
    thresholds: { max_5xx_rate: 0.005, max_p99_ms: 220, max_p99_regression_ratio: 1.15, max_queue_depth: 12 },
    window: { start: "2026-11-21T09:55:00.000Z", end: BUILT_AT, index: 0, weight: 10 },
    stable_may_promote: true,
    valid_until: "2026-11-21T10:10:10.000Z",
    ...rest,
    reasons,
    run: run === null ? null : aRun(verdict === "fail" ? { state: "failed", ...run } : run),
  };
  return {
    body: { ...body, id: rest.id ?? verdictId(body) },
    revisions: [...(revisions ?? [])],
    promotion: null,
    evidence: { closed: null, reference: null },
  };
}

function defaultReasons(verdict: Outcome): Reason[] {
  if (verdict === "pass") return [];
  return verdict === "hold" ? [aReason("low_traffic")] : [aReason("over_5xx", { value: 0.021, limit: 0.005, unit: "1" })];
}

/** A lane record: 20 jobs, all allowed. */
export function aLaneRecord(change: Partial<LaneRecord> = {}): LaneRecord {
  return {
    lane: "build-az-a",
    canary: "prod/payments-gateway",
    at: BUILT_AT,
    depth_true: 20,
    depth: 20,
    replicas: 3,
    max_replicas: 3,
    allow: 1,
    degraded_ticks: 0,
    changed_at: null,
    reasons: [],
    ...change,
  };
}

const BODIES: { readonly [K in SignalKind]: Extract<Signal, { kind: K }>["body"] } = {
  http: { source: "access-log", requests: 50, errors_5xx: 0, latency: { scale: 6, zero: 0, offset: 0, counts: [] } },
  health: { state: "up", failing: [], suppressed: [], uptime_ms: 3_600_000, warm: true, worker_reachable: true },
  queue: { lane: "build-az-a", role: "build", depth: 4 },
  disk: { used_ratio: 0.5, total_bytes: 2_000_000_000_000, tier: "2TB", writable: true },
  skills: { pack_hash: "a".repeat(64), count: 12, changed: [] },
  doctor: { deep: false, checks_run: 20, errors: [], warnings: [], new_vs_baseline: [], unknown: false },
  deps: [{ name: "registry", ok: true, latency_ms: 12 }],
  process: { gateway_boot: "boot-1", restarts: 0, rss_bytes: 300_000_000 },
  log: { errors: 0, warnings: 0, by_subsystem: {}, samples: [] },
  rollout: { canary: "payments-gateway", weight: 10, phase: "Progressing" },
};

/** A healthy signal of one kind from `mac-a1`; `change` replaces any part of its envelope or body. */
export function aSignal<K extends SignalKind>(
  kind: K,
  change: Partial<Extract<Signal, { kind: K }>> = {},
): Extract<Signal, { kind: K }> {
  return {
    v: 1,
    id: "az-a.payments.mac-a1.boot-1.1",
    az: "az-a",
    fleet: "payments",
    gateway: "mac-a1",
    collector_boot: "boot-1",
    seq: 1,
    slice: "canary",
    gateway_version: "2026.9.6",
    skill_hash: "a".repeat(64),
    fragment_hash: "c".repeat(64),
    observed_at: BUILT_AT,
    period_ms: 5_000,
    kind,
    body: BODIES[kind],
    ...change,
  } as Extract<Signal, { kind: K }>;
}
