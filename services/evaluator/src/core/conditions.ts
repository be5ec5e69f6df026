/**
 * The preconditions of a judgement of traffic: fresh signals without gaps, one release per slice, gateways up, disks, Doctor.
 * A condition that is not met is a hold with its reason; a hard signal fails the run immediately.
 */
import { formatTimeOfDay } from "@aviary/shared/contract/iso-time.ts";
import { type Reason, reasonText } from "@aviary/shared/contract/reasons.ts";
import { staleAtMs } from "@aviary/shared/contract/signal.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { callerGoneAtMs } from "./callers.ts";
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
import { agreedRelease, skewReasons } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { type CanaryState, gatewaysOfCanary, isOpen, type Run, type State } from "./state.ts";

export interface Conditions {
  /** Reasons for a hold, regardless of traffic. */
  readonly holds: readonly Reason[];
  /** Reasons to fail an open run immediately. */
  readonly hard: readonly HardReason[];
  readonly warnings: readonly Reason[];
  readonly gateway: VerdictBody["gateway"];
  readonly parityOk: boolean;
  /** The next instant at which a currently fresh fact becomes stale; Infinity if nothing is fresh. */
  readonly staleNextMs: number;
}

/** Evaluates all conditions of one canary at broker time `nowMs`. */
export function conditionsOf(state: State, canary: CanaryState, config: CanaryConfig, nowMs: number): Conditions {
  const run = isOpen(canary.run) ? canary.run : null;
  const gateways = gatewaysOfCanary(state, config).map(
    (gateway): GatewayFacts => ({
      gateway,
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
  const findings: readonly CheckResult[] = [
    ...gateways.flatMap((facts) =>
      isInMaintenance(facts) ? [{ holds: [maintenanceReason(facts)] }] : GATEWAY_CHECKS.map((check) => check(facts)),
    ),
    { holds: [...lane.holds, ...skews, ...canaryReasons(canary, run, config, nowMs)] },
  ];
  const holds = findings.flatMap((finding) => finding.holds ?? []);
  return {
    holds,
    hard: findings.flatMap((finding) => finding.hard ?? []),
    warnings: findings.flatMap((finding) => finding.warnings ?? []),
    parityOk: skews.length === 0 && !holds.some((reason) => reason.code === "slice_mismatch"),
    staleNextMs: Math.min(lane.nextStaleAtMs, ...freshness.map(({ nextStaleAtMs }) => nextStaleAtMs)),
    gateway: gatewayFigures(gateways, active, {
      fresh: freshness.filter(({ staleKind }) => staleKind === undefined).length,
      queueDepth: lane.depth,
    }),
  };
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
  const staleAt = reported === undefined ? Number.NEGATIVE_INFINITY : staleAtMs(reported, policy.graceMs);
  if (nowMs < staleAt) return { depth, holds: [], nextStaleAtMs: staleAt };
  const since = reported === undefined ? "was reported" : `since ${formatTimeOfDay(reported.observedAtMs)}`;
  return { depth, ...nothing, holds: [{ code: "stale", metric: "queue", text: `lane ${lane}: no depth ${since}` }] };
}

function skewsOf(gateways: readonly GatewayFacts[]): Reason[] {
  const slice = (name: "canary" | "stable") => gateways.map(({ gateway }) => gateway).filter((gateway) => gateway.slice === name);
  return [...skewReasons(slice("canary"), "canary"), ...skewReasons(slice("stable"), "stable")];
}

/** Conditions of the canary itself: a gap in the log, maintenance, a paused run, a silent caller. */
function canaryReasons({ logGap, maintenance }: CanaryState, run: Run | null, config: CanaryConfig, nowMs: number): Reason[] {
  const reasons: Reason[] = [];
  if (logGap)
    reasons.push({
      code: "gap",
      text: "the log no longer contains the checkpoint's position; one complete window must close first",
    });
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

/** The merged gateway figures of a verdict: booleans are true only if they are true for every active gateway. */
function gatewayFigures(
  gateways: readonly GatewayFacts[],
  active: readonly GatewayFacts[],
  { fresh, queueDepth }: { readonly fresh: number; readonly queueDepth: number | null },
): VerdictBody["gateway"] {
  const some = gateways.length > 0;
  const processOk = some && active.every(({ gateway }) => isUp(gateway));
  const workerOk = some && active.every(({ gateway }) => isWorkerReachable(gateway));
  const depsOk = active.every(({ gateway }) => areDepsReachable(gateway));
  const diskOk = active.every(({ gateway }) => isDiskOk(gateway));
  const doctorOk = active.every(isDoctorOk);
  const release = agreedRelease(gateways.map(({ gateway }) => gateway).filter(({ slice }) => slice === "canary"));
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
