/**
 * The preconditions on one gateway, one check each. `GATEWAY_CHECKS` is their order, which is the order of the reasons.
 * Doctor and disk faults that appeared during a run are hard signals: they fail it immediately.
 */
import { formatTimeOfDay } from "@aviary/shared/contract/iso-time.ts";
import { type Reason, type ReasonCode, reasonText } from "@aviary/shared/contract/reasons.ts";
import { staleAtMs } from "@aviary/shared/contract/signal.ts";
import type { GatewayState } from "./gateway.ts";
import { percent } from "./judge/format.ts";
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
  readonly config: CanaryConfig;
  readonly tier: "1TB" | "2TB";
  /** Broker time. */
  readonly nowMs: number;
  /** When the open run was opened; undefined if none is open. */
  readonly runSinceMs: number | undefined;
}

/** What one check found. */
export interface CheckResult {
  readonly holds?: readonly Reason[];
  readonly hard?: readonly HardReason[];
  readonly warnings?: readonly Reason[];
}

const NO_FINDINGS: CheckResult = {};

const rounded = (ratio: number): number => Math.round(ratio * 10_000) / 10_000;

/** A reason about a gateway, with its name and AZ. */
function reasonOf(gateway: GatewayState, code: ReasonCode, text: string, numbers: Partial<Reason> = {}): Reason {
  return {
    code,
    az: gateway.az,
    gateway: gateway.name,
    ...numbers,
    text: reasonText(`${gateway.name} (${gateway.az}) ${text}`),
  };
}

/** A reason whose text is a clause of its own, such as "disk 95% full", and not a predicate of the gateway. */
function reportOf(gateway: GatewayState, code: ReasonCode, clause: string, numbers: Partial<Reason> = {}): Reason {
  return { ...reasonOf(gateway, code, "", numbers), text: reasonText(`${gateway.name} (${gateway.az}): ${clause}`) };
}

type RequiredKind = "health" | "disk" | "http" | "synthetic" | "deps" | "doctor" | "process";

/** Kinds required of a gateway. A kind that a gateway has sent before and no longer sends is stale too. */
function requiredKinds(gateway: GatewayState, config: CanaryConfig): RequiredKind[] {
  const kinds: RequiredKind[] = ["health", "disk"];
  if (config.policy.traffic !== "synthetic") kinds.push("http");
  if (config.policy.traffic !== "real") kinds.push("synthetic");
  for (const kind of ["deps", "doctor", "process"] as const) if (gateway.seen.has(kind)) kinds.push(kind);
  return kinds;
}

export interface Freshness {
  /** The first required kind without a current signal. */
  readonly staleKind: RequiredKind | undefined;
  /** The next instant at which a currently fresh kind becomes stale; Infinity if there is none. */
  readonly nextStaleAtMs: number;
}

/** Checks the required kinds in order, up to the first stale one. */
export function freshnessOf({ gateway, config, nowMs }: GatewayFacts): Freshness {
  let nextStaleAtMs = Number.POSITIVE_INFINITY;
  for (const kind of requiredKinds(gateway, config)) {
    const seen = gateway.seen.get(kind);
    const staleAt = seen === undefined ? Number.NEGATIVE_INFINITY : staleAtMs(seen, config.policy.graceMs);
    if (nowMs >= staleAt) return { staleKind: kind, nextStaleAtMs };
    nextStaleAtMs = Math.min(nextStaleAtMs, staleAt);
  }
  return { staleKind: undefined, nextStaleAtMs };
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
  if (!gateway.clockAhead) return NO_FINDINGS;
  return { holds: [reasonOf(gateway, "clock_skew", "has a clock more than 5 s ahead of the broker's")] };
}

function checkFreshness(facts: GatewayFacts): CheckResult {
  const { gateway } = facts;
  const { staleKind } = freshnessOf(facts);
  if (staleKind === undefined) return NO_FINDINGS;
  if (gateway.seen.size === 0) return { holds: [reasonOf(gateway, "not_reporting", "has never reported")] };
  const seen = gateway.seen.get(staleKind);
  // A wrong clock explains staleness: the signals it stamped are unusable.
  const usable = gateway.clockAhead ? "usable " : "";
  const text =
    seen === undefined
      ? `has never sent ${staleKind} signals`
      : `has sent no ${usable}${staleKind} signal since ${formatTimeOfDay(seen.observedAtMs)}`;
  return { holds: [reasonOf(gateway, "stale", text, { metric: staleKind })] };
}

function checkSlice({ gateway }: GatewayFacts): CheckResult {
  if (gateway.claimed === null || gateway.claimed === gateway.slice) return NO_FINDINGS;
  const text = `claims to be ${gateway.claimed}; the fleet file lists it as ${gateway.slice}`;
  return { holds: [reasonOf(gateway, "slice_mismatch", text)] };
}

/** Whether the gateway's newest health signal reports up. */
export function isUp({ health }: GatewayState): boolean {
  return health?.state === "up";
}

function checkHealth({ gateway }: GatewayFacts): CheckResult {
  const { health } = gateway;
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

/** Whether the gateway's worker is reachable. */
export function isWorkerReachable({ health }: GatewayState): boolean {
  return health?.worker_reachable === true;
}

function checkWorker({ gateway }: GatewayFacts): CheckResult {
  if (!isUp(gateway) || isWorkerReachable(gateway)) return NO_FINDINGS;
  return { holds: [reasonOf(gateway, "worker_unreachable", "cannot reach its worker")] };
}

/** Whether every reported dependency is reachable. */
export function areDepsReachable({ deps }: GatewayState): boolean {
  return (deps ?? []).every((dep) => dep.ok);
}

function checkDependencies({ gateway }: GatewayFacts): CheckResult {
  const down = (gateway.deps ?? []).filter((dep) => !dep.ok);
  return { holds: down.map(({ name }) => reasonOf(gateway, "dep_down", `cannot reach ${name}`, { metric: name })) };
}

/** Whether the disk is known, below its marks, and writable. */
export function isDiskOk({ disk, diskLevel }: GatewayState): boolean {
  return disk !== null && diskLevel === "green" && disk.writable;
}

/** Yellow on any gateway counts, including stable ones. A mark crossed before the run opened is a hold; one crossed during it is hard. */
function checkDisk({ gateway, config, tier, runSinceMs }: GatewayFacts): CheckResult {
  const { disk, diskLevel } = gateway;
  if (disk === null) return NO_FINDINGS;
  const unwritable = disk.writable ? [] : [reasonOf(gateway, "disk_unwritable", "cannot write to its state volume")];
  if (diskLevel === "green") return { holds: unwritable };
  const limit = config.policy.disk[tier][diskLevel];
  const reason = reportOf(
    gateway,
    diskLevel === "red" ? "disk_red" : "disk_yellow",
    `disk ${percent(disk.used_ratio)} full, ${diskLevel} mark ${percent(limit)} (${tier})`,
    { metric: "disk_used_ratio", value: rounded(disk.used_ratio), limit, unit: "1" },
  );
  const roseInRun = runSinceMs !== undefined && gateway.diskRoseAtMs >= runSinceMs;
  return roseInRun ? { hard: [{ concern: "disk", reason }], holds: unwritable } : { holds: [reason, ...unwritable] };
}

/** Whether the policy requires a Doctor report from this gateway now. */
function requiresDoctor({ gateway, config, runSinceMs }: GatewayFacts): boolean {
  return gateway.slice === "canary" && runSinceMs !== undefined && config.policy.doctorBeforeTraffic;
}

/** Whether Doctor's report is readable and without new errors, or not required. */
export function isDoctorOk(facts: GatewayFacts): boolean {
  const { doctor } = facts.gateway;
  if (doctor === null) return !requiresDoctor(facts);
  return !doctor.unknown && doctor.new_vs_baseline.length === 0;
}

/** A Doctor error is hard only on a canary gateway, only if it was not accepted before, and only if it appeared during the run. */
function checkDoctor(facts: GatewayFacts): CheckResult {
  const { gateway, runSinceMs } = facts;
  const { doctor } = gateway;
  if (doctor === null) {
    if (!requiresDoctor(facts)) return NO_FINDINGS;
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
  const first = doctor.new_vs_baseline[0];
  if (first === undefined) return { warnings, holds: outdated };
  const reason = reportOf(gateway, "doctor_error", `Doctor: ${first.check_id}: ${first.message}`);
  const inRun = gateway.slice === "canary" && runSinceMs !== undefined && gateway.doctorAtMs >= runSinceMs;
  return inRun
    ? { warnings, holds: outdated, hard: [{ concern: "doctor", reason }] }
    : { warnings, holds: [...outdated, reason] };
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
