/**
 * The preconditions on one gateway, one check each. `GATEWAY_CHECKS` is their order, which is the order of the reasons.
 * Doctor and disk faults that appeared during a run are hard signals: they fail it immediately.
 */
import { formatTimeOfDay } from "@aviary/shared/contract/iso-time.ts";
import { type Reason, type ReasonCode, reasonText } from "@aviary/shared/contract/reasons.ts";
import type { DiskMark } from "./disk-marks.ts";
import { type FactKind, factStaleAtMs } from "./freshness.ts";
import type { GatewayState } from "./gateway.ts";
import { percent } from "./judge/format.ts";
import type { KnownFacts } from "./known-facts.ts";
import { selectedKinds } from "./request-account.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import type { Latch } from "./state.ts";

/** A reason that fails an open run immediately. */
export interface HardReason {
  readonly concern: Latch["concern"];
  readonly reason: Reason;
}

/** The facts a check may use. */
export interface GatewayFacts {
  readonly gateway: GatewayState;
  /** The known facts at `nowMs`. */
  readonly known: KnownFacts;
  /** Its disk level under the canary's policy; undefined before its first reading. */
  readonly diskMark: DiskMark | undefined;
  readonly config: CanaryConfig;
  readonly tier: "1TB" | "2TB";
  /** Broker time. */
  readonly nowMs: number;
  /** When the open run was opened; undefined if none is open. */
  readonly runSinceMs: number | undefined;
}

/** The result of one check. */
export interface CheckResult {
  readonly holds?: readonly Reason[];
  readonly hard?: readonly HardReason[];
  readonly warnings?: readonly Reason[];
}

export const NO_FINDINGS: CheckResult = {};

const rounded = (ratio: number): number => Math.round(ratio * 10_000) / 10_000;

/** A reason about a gateway, with its name and AZ. */
export function reasonOf(gateway: GatewayState, code: ReasonCode, text: string, numbers: Partial<Reason> = {}): Reason {
  return {
    code,
    az: gateway.az,
    gateway: gateway.name,
    ...numbers,
    text: reasonText(`${gateway.name} (${gateway.az}) ${text}`),
  };
}

/** A reason whose text is a complete clause, such as "disk 95% full", and not a predicate of the gateway. */
function reportOf(gateway: GatewayState, code: ReasonCode, clause: string, numbers: Partial<Reason> = {}): Reason {
  return { ...reasonOf(gateway, code, "", numbers), text: reasonText(`${gateway.name} (${gateway.az}): ${clause}`) };
}

type RequiredKind = "health" | "disk" | "skills" | "http" | "synthetic" | "doctor";

/** Kinds required of a gateway. */
function requiredKinds(facts: GatewayFacts): RequiredKind[] {
  const { traffic } = facts.config.policy;
  const kinds: RequiredKind[] = ["health", "disk", "skills"];
  kinds.push(...selectedKinds(traffic));
  // Before its first report, a required Doctor has a separate reason.
  if (requiresDoctor(facts) && facts.gateway.doctor !== null) kinds.push("doctor");
  return kinds;
}

/** Kinds that not every collector sends. */
const OPTIONAL_KINDS = ["deps", "process", "doctor"] as const;

/**
 * Kinds that are expected and not required: the collector sent them since it was started. One that it never sent is not part of
 * its configuration.
 */
function optionalKinds(facts: GatewayFacts): FactKind[] {
  const { gateway } = facts;
  const required: readonly FactKind[] = requiredKinds(facts);
  return OPTIONAL_KINDS.filter((kind) => !required.includes(kind) && isExpected(gateway, kind));
}

function isExpected({ seen, sequence }: GatewayState, kind: FactKind): boolean {
  const boot = seen.get(kind)?.boot;
  return boot != null && boot === sequence.boots[sequence.boots.length - 1]?.boot;
}

export interface Freshness {
  /** The first required kind without a current signal. */
  readonly staleKind: RequiredKind | undefined;
  /** Expected kinds without a current signal that are not required. */
  readonly staleOptional: readonly FactKind[];
  /** The next instant at which a currently fresh kind becomes stale; Infinity if there is none. */
  readonly nextStaleAtMs: number;
}

/** Checks the required kinds in order, and the optional ones. */
export function freshnessOf(facts: GatewayFacts): Freshness {
  const { gateway, config, nowMs } = facts;
  let nextStaleAtMs = Number.POSITIVE_INFINITY;
  const isStale = (kind: FactKind): boolean => {
    const seen = gateway.seen.get(kind);
    const staleAt = seen === undefined ? Number.NEGATIVE_INFINITY : factStaleAtMs(kind, seen, config.policy);
    if (nowMs >= staleAt) return true;
    nextStaleAtMs = Math.min(nextStaleAtMs, staleAt);
    return false;
  };
  const [staleKind] = requiredKinds(facts).filter(isStale);
  const staleOptional = optionalKinds(facts).filter(isStale);
  return { staleKind, staleOptional, nextStaleAtMs };
}

/** Whether a gateway is in maintenance, which suspends all other checks. */
export function isInMaintenance({ gateway, nowMs }: GatewayFacts): boolean {
  return gateway.maintenanceUntilMs > nowMs;
}

export function maintenanceReason({ gateway }: GatewayFacts): Reason {
  const until = formatTimeOfDay(gateway.maintenanceUntilMs);
  return reasonOf(gateway, "maintenance", `is in maintenance until ${until}: ${gateway.maintenanceReason}`);
}

function checkClock({ gateway }: GatewayFacts): CheckResult {
  const { offsetMs } = gateway.clock;
  if (offsetMs === null) return NO_FINDINGS;
  const offset = `${Math.round(Math.abs(offsetMs) / 100) / 10} s`;
  const text =
    offsetMs > 0
      ? `has a clock ${offset} ahead of the broker's`
      : `has a clock ${offset} behind the broker's, or an uplink that delays every signal by as much`;
  return { holds: [reasonOf(gateway, "clock_skew", text, { value: offsetMs, unit: "ms" })] };
}

function checkFreshness(facts: GatewayFacts): CheckResult {
  const { gateway } = facts;
  const { staleKind, staleOptional } = freshnessOf(facts);
  if (staleKind === undefined && staleOptional.length === 0) return NO_FINDINGS;
  if (gateway.seen.size === 0) return { holds: [reasonOf(gateway, "not_reporting", "has never reported")] };
  return {
    holds: staleKind === undefined ? [] : [staleReason(gateway, staleKind)],
    warnings: staleOptional.map((kind) => staleReason(gateway, kind)),
  };
}

function staleReason(gateway: GatewayState, kind: FactKind): Reason {
  const seen = gateway.seen.get(kind);
  // A wrong clock explains staleness: the signals it stamped are unusable.
  const usable = gateway.clock.offsetMs !== null ? "usable " : "";
  const text =
    seen === undefined
      ? `has never sent ${kind} signals`
      : `has sent no ${usable}${kind} signal since ${formatTimeOfDay(seen.observedAtMs)}`;
  return reasonOf(gateway, "stale", text, { metric: kind });
}

function checkSlice({ gateway }: GatewayFacts): CheckResult {
  if (gateway.claimed === null || gateway.claimed === gateway.slice) return NO_FINDINGS;
  const text = `claims to be ${gateway.claimed}; the fleet file lists it as ${gateway.slice}`;
  return { holds: [reasonOf(gateway, "slice_mismatch", text)] };
}

/** Whether the gateway is known to be up. */
export function isUp({ known: { health } }: GatewayFacts): boolean {
  return health?.state === "up";
}

function checkHealth({ gateway, known: { health } }: GatewayFacts): CheckResult {
  if (health === null) return NO_FINDINGS;
  if (health.state !== "up") {
    const failing = health.failing.length > 0 ? ` (${health.failing.join(", ")})` : "";
    return { holds: [reportOf(gateway, "gateway_down", `health is ${health.state}${failing}`)] };
  }
  if (health.suppressed.length === 0) return NO_FINDINGS;
  return {
    warnings: [reasonOf(gateway, "gateway_down", `is up with suppressed channels: ${health.suppressed.join(", ")}`)],
  };
}

/** Whether the gateway's worker is known to be reachable. */
export function isWorkerReachable({ known: { health } }: GatewayFacts): boolean {
  return health?.worker_reachable === true;
}

function checkWorker(facts: GatewayFacts): CheckResult {
  if (!isUp(facts) || isWorkerReachable(facts)) return NO_FINDINGS;
  return { holds: [reasonOf(facts.gateway, "worker_unreachable", "cannot reach its worker")] };
}

/** Whether every dependency is known to be reachable, or the collector watches none. */
export function areDepsReachable({ gateway, known: { deps } }: GatewayFacts): boolean {
  return deps === null ? !isExpected(gateway, "deps") : deps.every((dep) => dep.ok);
}

function checkDependencies({ gateway, known: { deps } }: GatewayFacts): CheckResult {
  const down = (deps ?? []).filter((dep) => !dep.ok);
  return { holds: down.map(({ name }) => reasonOf(gateway, "dep_down", `cannot reach ${name}`, { metric: name })) };
}

/** Whether the disk is known, below its marks, and writable. */
export function isDiskOk({ known: { disk }, diskMark }: GatewayFacts): boolean {
  return disk !== null && diskMark?.level === "green" && disk.writable;
}

/**
 * Yellow on any gateway counts, including stable ones. A mark that is known to have been crossed during the run is hard; one that
 * was crossed before, or whose crossing was not observed, is a hold.
 */
function checkDisk({ gateway, known: { disk }, diskMark, config, tier, runSinceMs }: GatewayFacts): CheckResult {
  if (disk === null) return NO_FINDINGS;
  const unwritable = disk.writable ? [] : [reasonOf(gateway, "disk_unwritable", "cannot write to its state volume")];
  if (diskMark === undefined || diskMark.level === "green") return { holds: unwritable };
  const { level, roseAtMs } = diskMark;
  const limit = config.policy.disk[tier][level];
  const reason = reportOf(
    gateway,
    level === "red" ? "disk_red" : "disk_yellow",
    `disk ${percent(disk.used_ratio)} full, ${level} mark ${percent(limit)} (${tier})`,
    { metric: "disk_used_ratio", value: rounded(disk.used_ratio), limit, unit: "1" },
  );
  const roseInRun = runSinceMs !== undefined && roseAtMs !== null && roseAtMs >= runSinceMs;
  return roseInRun ? { hard: [{ concern: "disk", reason }], holds: unwritable } : { holds: [reason, ...unwritable] };
}

/** Whether the policy requires a Doctor report from this gateway now. */
function requiresDoctor({ gateway, config, runSinceMs }: GatewayFacts): boolean {
  if (gateway.slice !== "canary" || runSinceMs === undefined) return false;
  const { doctorBeforeTraffic } = config.policy;
  return doctorBeforeTraffic === "auto" ? isExpected(gateway, "doctor") : doctorBeforeTraffic;
}

/** Whether Doctor's report is readable and without new errors, or neither required nor expected. */
export function isDoctorOk(facts: GatewayFacts): boolean {
  const { doctor } = facts.known;
  if (doctor === null) return !requiresDoctor(facts) && !isExpected(facts.gateway, "doctor");
  return !doctor.unknown && doctor.new_vs_baseline.length === 0;
}

/** A Doctor error is hard only on a canary gateway, only if it was not accepted before, and only if it began during the run. */
function checkDoctor(facts: GatewayFacts): CheckResult {
  const { gateway, known } = facts;
  const { doctor } = known;
  if (doctor === null) {
    if (!requiresDoctor(facts) || gateway.doctor !== null) return NO_FINDINGS;
    return { holds: [reasonOf(gateway, "doctor_unknown", "has sent no Doctor report yet (policy doctorBeforeTraffic)")] };
  }
  const warnings = doctor.warnings
    .slice(0, 1)
    .map((warning) => reportOf(gateway, "doctor_error", `Doctor warns: ${warning.check_id}: ${warning.message}`));
  if (doctor.unknown) return { warnings, holds: [reportOf(gateway, "doctor_unknown", "Doctor's report is unreadable")] };
  const outdated =
    requiresDoctor(facts) && gateway.doctorAtMs < gateway.releaseSinceMs
      ? [reasonOf(gateway, "doctor_unknown", "has sent no Doctor report for its release yet (policy doctorBeforeTraffic)")]
      : [];
  const began = doctor.new_vs_baseline.find(({ check_id }) => beganInRun(facts, check_id));
  const first = began ?? doctor.new_vs_baseline[0];
  if (first === undefined) return { warnings, holds: outdated };
  const reason = reportOf(gateway, "doctor_error", `Doctor: ${first.check_id}: ${first.message}`);
  return began !== undefined
    ? { warnings, holds: outdated, hard: [{ concern: "doctor", reason }] }
    : { warnings, holds: [...outdated, reason] };
}

function beganInRun({ gateway, runSinceMs }: GatewayFacts, checkId: string): boolean {
  const beganAtMs = gateway.findingsBegan.get(checkId) ?? null;
  return gateway.slice === "canary" && runSinceMs !== undefined && beganAtMs !== null && beganAtMs >= runSinceMs;
}

/** All checks of a gateway that is not in maintenance. */
export const GATEWAY_CHECKS: readonly ((facts: GatewayFacts) => CheckResult)[] = [
  checkClock,
  checkFreshness,
  checkSlice,
  checkHealth,
  checkWorker,
  checkDependencies,
  checkDisk,
  checkDoctor,
];
