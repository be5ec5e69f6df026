/**
 * The preconditions of a judgment of traffic: fresh signals without gaps, one release per slice, gateways up, disks, Doctor.
 * A condition that is not met is a hold with its reason; a hard signal fails the run immediately.
 */
import { formatTimeOfDay } from "@aviary/shared/contract/iso-time.ts";
import { type Reason, reasonText } from "@aviary/shared/contract/reasons.ts";
import type { Release, Slice } from "@aviary/shared/contract/run.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { callerGoneAtMs } from "./callers.ts";
import { factStaleAtMs } from "./freshness.ts";
import {
  areDepsReachable,
  type CheckResult,
  freshnessOf,
  GATEWAY_CHECKS,
  type GatewayFacts,
  type HardReason,
  isDiskOk,
  isDoctorOk,
  isInMaintenance,
  isUp,
  isWorkerReachable,
  maintenanceReason,
} from "./gateway-conditions.ts";
import { knownFacts } from "./known-facts.ts";
import { agreedRelease, type GatewayRelease, skewReasons } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { checkOutage, checkRestarts, restartSettlesAtMs } from "./slice-conditions.ts";
import { type CanaryState, gatewaysOfCanary, isOpen, type Run, type State } from "./state.ts";

export interface Conditions {
  /** Reasons for a hold, regardless of traffic. */
  readonly holds: readonly Reason[];
  /** Reasons to fail an open run immediately. */
  readonly hard: readonly HardReason[];
  /** The canary or all gateways of its slice are in maintenance, or the run is paused: nothing fails it meanwhile. */
  readonly isSuspended: boolean;
  readonly warnings: readonly Reason[];
  readonly gateway: VerdictBody["gateway"];
  readonly parityOk: boolean;
  /** The next instant at which a currently fresh fact becomes stale or a condition ends with time; Infinity if there is none. */
  readonly staleNextMs: number;
}

/** Evaluates all conditions of one canary at broker time `nowMs`. */
export function conditionsOf(state: State, canary: CanaryState, config: CanaryConfig, nowMs: number): Conditions {
  const run = isOpen(canary.run) ? canary.run : null;
  const gateways = gatewaysOfCanary(state, config).map(
    (gateway): GatewayFacts => ({
      gateway,
      known: knownFacts(gateway, config.policy, nowMs),
      diskMark: canary.disks.get(gateway.key),
      config,
      tier: state.config.gateways.get(gateway.key)!.tier,
      nowMs,
      runSinceMs: run?.sinceMs,
    }),
  );
  const active = gateways.filter((facts) => !isInMaintenance(facts));
  const freshness = active.map(freshnessOf);
  const lane = laneDepth(canary, config, nowMs);
  const skews = skewsOf(gateways);
  const hasUnknownPack = active.some(
    ({ gateway, known }) => gateway.release.skill_hash !== null && known.release.skill_hash === null,
  );
  const slice = { gateways, run, lastWindow: canary.lastWindow };
  const findings: readonly CheckResult[] = [
    ...gateways.flatMap((facts) =>
      isInMaintenance(facts) ? [{ holds: [maintenanceReason(facts)] }] : GATEWAY_CHECKS.map((check) => check(facts)),
    ),
    checkRestarts(slice),
    checkOutage(slice),
    { holds: [...lane.holds, ...skews, ...canaryReasons(canary, run, config, nowMs)] },
  ];
  const holds = findings.flatMap((finding) => finding.holds ?? []);
  return {
    holds,
    hard: findings.flatMap((finding) => finding.hard ?? []),
    isSuspended: isSuspended(canary, gateways),
    warnings: findings.flatMap((finding) => finding.warnings ?? []),
    parityOk: skews.length === 0 && !hasUnknownPack && !holds.some((reason) => reason.code === "slice_mismatch"),
    staleNextMs: Math.min(lane.nextStaleAtMs, restartSettlesAtMs(slice), ...freshness.map(({ nextStaleAtMs }) => nextStaleAtMs)),
    gateway: gatewayFigures(gateways, active, {
      release: agreedRelease(releasesOf(gateways, "canary")),
      fresh: freshness.filter(({ staleKind }) => staleKind === undefined).length,
      queueDepth: lane.depth,
    }),
  };
}

function isSuspended({ run, maintenance }: CanaryState, gateways: readonly GatewayFacts[]): boolean {
  if (maintenance !== null || (run !== null && run.paused !== null)) return true;
  const canary = gateways.filter(({ gateway }) => gateway.slice === "canary");
  return canary.length > 0 && canary.every(isInMaintenance);
}

interface LaneDepth {
  readonly depth: number | null;
  readonly holds: readonly Reason[];
  readonly nextStaleAtMs: number;
}

/** The depth of the canary's lane, and a hold if it has one whose depth is unknown. */
function laneDepth(canary: CanaryState, { lane, policy }: CanaryConfig, nowMs: number): LaneDepth {
  const nothing = { holds: [], nextStaleAtMs: Number.POSITIVE_INFINITY };
  if (lane === undefined) return { depth: null, ...nothing };
  const reported = canary.depths.get(lane);
  const depth = reported?.depth ?? null;
  const staleAt = reported === undefined ? Number.NEGATIVE_INFINITY : factStaleAtMs("queue", reported, policy);
  if (nowMs < staleAt) return { depth, holds: [], nextStaleAtMs: staleAt };
  const since = reported === undefined ? "was reported" : `since ${formatTimeOfDay(reported.observedAtMs)}`;
  return { depth, ...nothing, holds: [{ code: "stale", metric: "queue", text: `lane ${lane}: no depth ${since}` }] };
}

function skewsOf(gateways: readonly GatewayFacts[]): Reason[] {
  return (["canary", "stable"] as const).flatMap((slice) => skewReasons(releasesOf(gateways, slice), slice));
}

const releasesOf = (gateways: readonly GatewayFacts[], slice: Slice): GatewayRelease[] =>
  gateways.filter(({ gateway }) => gateway.slice === slice).map(({ gateway, known: { release } }) => ({ gateway, release }));

/** Conditions of the canary itself: a gap in the log, a step of the broker's clock, maintenance, a paused run, a silent caller. */
function canaryReasons(canary: CanaryState, run: Run | null, config: CanaryConfig, nowMs: number): Reason[] {
  const { logGap, brokerStep, maintenance } = canary;
  const reasons: Reason[] = [];
  if (logGap)
    reasons.push({
      code: "gap",
      text: "the log no longer contains the checkpoint's position; one complete window must close first",
    });
  if (brokerStep !== null) {
    const seconds = Math.round(brokerStep.byMs / 1000);
    const text = `the broker's clock was set back by ${seconds} s at ${formatTimeOfDay(brokerStep.atMs)}; one complete window must close first`;
    reasons.push({ code: "clock_skew", metric: "broker", value: brokerStep.byMs, unit: "ms", text: reasonText(text) });
  }
  if (maintenance !== null) {
    const text = `in maintenance until ${formatTimeOfDay(maintenance.untilMs)}: ${maintenance.reason}`;
    reasons.push({ code: "maintenance", text: reasonText(text) });
  }
  if (run !== null && run.paused !== null)
    reasons.push({ code: "maintenance", text: reasonText(`the run is paused: ${run.paused}`) });
  if (run !== null && run.state !== "failed" && nowMs >= callerGoneAtMs(run, config)) {
    const text = `${run.seat} has been silent since ${formatTimeOfDay(run.lastCallMs)}; its next call clears this, or end the run with \`aviary run end\``;
    reasons.push({ code: "caller_gone", text: reasonText(text) });
  }
  return reasons;
}

interface FleetFigures {
  /** The release of the canary slice. */
  readonly release: Release | null;
  /** Gateways whose required facts are current. */
  readonly fresh: number;
  readonly queueDepth: number | null;
}

/** The merged gateway figures of a verdict: booleans are true only if they are true for every active gateway. */
function gatewayFigures(
  gateways: readonly GatewayFacts[],
  active: readonly GatewayFacts[],
  { release, fresh, queueDepth }: FleetFigures,
): VerdictBody["gateway"] {
  const some = gateways.length > 0;
  const processOk = some && active.every(isUp);
  const workerOk = some && active.every(isWorkerReachable);
  const depsOk = active.every(areDepsReachable);
  const diskOk = active.every(isDiskOk);
  const doctorOk = active.every(isDoctorOk);
  const num = (flag: boolean): 0 | 1 => (flag ? 1 : 0);
  return {
    process_ok: processOk,
    process_ok_num: num(processOk),
    worker_reachable: workerOk,
    worker_reachable_num: num(workerOk),
    deps_ok: depsOk,
    deps_ok_num: num(depsOk),
    disk_ok: diskOk,
    disk_ok_num: num(diskOk),
    doctor_ok: doctorOk,
    doctor_ok_num: num(doctorOk),
    queue_depth: queueDepth,
    skill_hash: release?.skill_hash ?? null,
    gateway_version: release?.gateway_version ?? null,
    expected: gateways.length,
    fresh,
  };
}
