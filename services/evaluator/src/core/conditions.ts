/**
 * What must hold before any judgement of traffic counts: fresh and gap-free signals, one release a slice, gateways up, disks, Doctor.
 * A condition that fails is a hold with its reason; a disk mark crossed or a Doctor error that appeared during a run is a hard
 * signal, which fails the run at once.
 */

import { formatTimeOfDay } from "@aviary/shared/contract/iso-time.ts";
import { type Reason, type ReasonCode, reasonText } from "@aviary/shared/contract/reasons.ts";
import { staleAtMs } from "@aviary/shared/contract/signal.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { GatewayState, Seen } from "./gateway.ts";
import { agreedRelease, skewReasons } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import type { CanaryState, Latch, State } from "./state.ts";
import { gatewaysOfCanary, isOpen } from "./state.ts";

export interface Conditions {
  /** Why it must be a hold, whatever the traffic says. */
  readonly holds: readonly Reason[];
  /** Why an open run fails at once. */
  readonly hard: readonly { readonly concern: Latch["concern"]; readonly reason: Reason }[];
  readonly warnings: readonly Reason[];
  readonly gateway: VerdictBody["gateway"];
  readonly parityOk: boolean;
  /** The next instant at which something that is fresh now would be stale; Infinity when nothing is fresh. */
  readonly staleNextMs: number;
}

const num = (flag: boolean): 0 | 1 => (flag ? 1 : 0);
const percent = (ratio: number): string => `${Math.round(ratio * 1000) / 10} %`;
const whole = (ratio: number): number => Math.round(ratio * 10_000) / 10_000;

/** Kinds without which nothing can be said, for every gateway. What a gateway once sent and sends no more is stale too. */
function requiredKinds(
  gateway: GatewayState,
  setup: CanaryConfig,
): ("health" | "disk" | "http" | "synthetic" | "deps" | "doctor" | "process")[] {
  const kinds: ReturnType<typeof requiredKinds> = ["health", "disk"];
  if (setup.policy.traffic !== "synthetic") kinds.push("http");
  if (setup.policy.traffic !== "real") kinds.push("synthetic");
  for (const kind of ["deps", "doctor", "process"] as const) if (gateway.seen.has(kind)) kinds.push(kind);
  return kinds;
}

/** Evaluates all conditions of one canary at broker time `nowMs`. */
export function conditionsOf(state: State, canary: CanaryState, setup: CanaryConfig, nowMs: number): Conditions {
  const holds: Reason[] = [];
  const warnings: Reason[] = [];
  const hard: { concern: Latch["concern"]; reason: Reason }[] = [];
  const gateways = gatewaysOfCanary(state, setup);
  const run = canary.run;
  const runOpen = isOpen(run) && run !== null;
  let staleNextMs = Number.POSITIVE_INFINITY;
  let fresh = 0;
  let processOk = gateways.length > 0;
  let workerOk = gateways.length > 0;
  let depsOk = true;
  let diskOk = true;
  let doctorOk = true;

  const say = (gateway: GatewayState, code: ReasonCode, text: string, numbers: Partial<Reason> = {}): Reason => ({
    code,
    az: gateway.az,
    gateway: gateway.name,
    ...numbers,
    text: reasonText(`${gateway.name} (${gateway.az}) ${text}`),
  });

  for (const gateway of gateways) {
    if (gateway.maintenanceUntilMs > nowMs) {
      holds.push(
        say(
          gateway,
          "maintenance",
          `is in maintenance until ${formatTimeOfDay(gateway.maintenanceUntilMs)}: ${gateway.maintenanceReason}`,
        ),
      );
      continue;
    }
    // Before staleness, which it explains: what a wrong clock stamped cannot be used.
    if (gateway.clockAhead) holds.push(say(gateway, "clock_skew", "has a clock that is more than 5 s ahead of the broker's"));
    const usable = gateway.clockAhead ? "usable " : "";
    let gatewayFresh = true;
    for (const kind of requiredKinds(gateway, setup)) {
      const seen: Seen | undefined = gateway.seen.get(kind);
      if (seen === undefined) {
        gatewayFresh = false;
        holds.push(say(gateway, "stale", `has never sent a ${kind} signal`, { metric: kind }));
      } else {
        const staleAt = staleAtMs(seen, setup.policy.graceMs);
        if (nowMs >= staleAt) {
          gatewayFresh = false;
          holds.push(
            say(gateway, "stale", `has sent no ${usable}${kind} signal since ${formatTimeOfDay(seen.observedAtMs)}`, {
              metric: kind,
            }),
          );
        } else if (staleAt < staleNextMs) staleNextMs = staleAt;
      }
      if (!gatewayFresh) break;
    }
    if (gatewayFresh) fresh += 1;
    if (gateway.claimed !== null && gateway.claimed !== gateway.slice) {
      holds.push(say(gateway, "slice_mismatch", `says it is ${gateway.claimed}; the fleet file says ${gateway.slice}`));
    }
    if (gateway.health === null || gateway.health.state !== "up") {
      processOk = false;
      if (gateway.health !== null) {
        const failing = gateway.health.failing.length > 0 ? ` (${gateway.health.failing.join(", ")})` : "";
        holds.push(say(gateway, "gateway_down", `answers its probes with: ${gateway.health.state}${failing}`));
      }
    } else if (gateway.health.suppressed.length > 0) {
      warnings.push(say(gateway, "gateway_down", `is up with suppressed channels: ${gateway.health.suppressed.join(", ")}`));
    }
    if (gateway.health === null || !gateway.health.worker_reachable) {
      workerOk = false;
      if (gateway.health !== null && gateway.health.state === "up")
        holds.push(say(gateway, "worker_unreachable", "cannot reach its worker"));
    }
    for (const dep of gateway.deps ?? []) {
      if (dep.ok) continue;
      depsOk = false;
      holds.push(say(gateway, "dep_down", `cannot reach ${dep.name}`, { metric: dep.name }));
    }
    diskOk = diskConditions(gateway, state, setup, runOpen ? run.sinceMs : undefined, say, holds, hard) && diskOk;
    doctorOk = doctorConditions(gateway, setup, runOpen ? run.sinceMs : undefined, say, holds, hard, warnings) && doctorOk;
  }

  const laneName = setup.lane;
  const depth = laneName === undefined ? undefined : canary.depths.get(laneName);
  if (laneName !== undefined) {
    const staleAt = depth === undefined ? 0 : staleAtMs(depth, setup.policy.graceMs);
    if (depth === undefined || nowMs >= staleAt) {
      const since = depth === undefined ? "was ever reported" : `since ${formatTimeOfDay(depth.observedAtMs)}`;
      holds.push({ code: "stale", metric: "queue", text: `lane ${laneName}: no depth ${since}` });
    } else if (staleAt < staleNextMs) staleNextMs = staleAt;
  }

  const canarySlice = gateways.filter((gateway) => gateway.slice === "canary");
  const skews = [
    ...skewReasons(canarySlice, "canary"),
    ...skewReasons(
      gateways.filter((gateway) => gateway.slice === "stable"),
      "stable",
    ),
  ];
  holds.push(...skews);
  if (canary.logGap)
    holds.push({
      code: "gap",
      text: "the log no longer holds where the checkpoint wanted to continue: one whole window must close first",
    });
  if (canary.maintenance !== null)
    holds.push({
      code: "maintenance",
      text: reasonText(`in maintenance until ${formatTimeOfDay(canary.maintenance.untilMs)}: ${canary.maintenance.reason}`),
    });
  if (run !== null && runOpen && run.paused !== null)
    holds.push({ code: "maintenance", text: reasonText(`the run is paused: ${run.paused}`) });

  const release = agreedRelease(canarySlice);
  return {
    holds,
    hard,
    warnings,
    parityOk: skews.length === 0 && !holds.some((reason) => reason.code === "slice_mismatch"),
    staleNextMs,
    gateway: {
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
      queue_depth: depth?.depth ?? null,
      skill_hash: release?.skill_hash ?? null,
      gateway_version: release?.gateway_version ?? null,
      expected: gateways.length,
      fresh,
    },
  };
}

type Say = (gateway: GatewayState, code: ReasonCode, text: string, numbers?: Partial<Reason>) => Reason;

/** Yellow on any gateway Mac counts, stable ones too. A mark that was crossed before the run opened holds; one crossed inside it fails. */
function diskConditions(
  gateway: GatewayState,
  state: State,
  setup: CanaryConfig,
  runSinceMs: number | undefined,
  say: Say,
  holds: Reason[],
  hard: { concern: Latch["concern"]; reason: Reason }[],
): boolean {
  if (gateway.disk === null) return false;
  let ok = true;
  if (gateway.diskLevel !== "green") {
    ok = false;
    const tier = state.setup.gateways.get(gateway.key)!.tier;
    const limit = setup.policy.disk[tier][gateway.diskLevel];
    const used = gateway.disk.used_ratio;
    const reason = say(
      gateway,
      gateway.diskLevel === "red" ? "disk_red" : "disk_yellow",
      `disk ${percent(used)} used, ${gateway.diskLevel} from ${percent(limit)} (${tier})`,
      {
        metric: "disk_used_ratio",
        value: whole(used),
        limit,
        unit: "1",
      },
    );
    if (runSinceMs !== undefined && gateway.diskRoseAtMs >= runSinceMs) hard.push({ concern: "disk", reason });
    else holds.push(reason);
  }
  if (!gateway.disk.writable) {
    ok = false;
    holds.push(say(gateway, "disk_unwritable", "cannot write to its state volume"));
  }
  return ok;
}

/** Doctor errors fail only on canary gateways, only when new against the baseline, only when they came during the run. */
function doctorConditions(
  gateway: GatewayState,
  setup: CanaryConfig,
  runSinceMs: number | undefined,
  say: Say,
  holds: Reason[],
  hard: { concern: Latch["concern"]; reason: Reason }[],
  warnings: Reason[],
): boolean {
  const doctor = gateway.doctor;
  if (doctor === null) {
    if (gateway.slice === "canary" && runSinceMs !== undefined && setup.policy.doctorBeforeTraffic) {
      holds.push(say(gateway, "doctor_unknown", "has sent no Doctor report yet (policy doctorBeforeTraffic)"));
      return false;
    }
    return true;
  }
  for (const warning of doctor.warnings.slice(0, 1)) {
    warnings.push(say(gateway, "doctor_error", `Doctor warns: ${warning.check_id}: ${warning.message}`));
  }
  if (doctor.unknown) {
    holds.push(say(gateway, "doctor_unknown", "Doctor's answer could not be read"));
    return false;
  }
  const asked = gateway.slice === "canary" && runSinceMs !== undefined && setup.policy.doctorBeforeTraffic;
  if (asked && gateway.doctorAtMs < gateway.releaseSinceMs) {
    holds.push(say(gateway, "doctor_unknown", "has sent no Doctor report for its release yet (policy doctorBeforeTraffic)"));
  }
  const first = doctor.new_vs_baseline[0];
  if (first === undefined) return true;
  const reason = say(gateway, "doctor_error", `Doctor: ${first.check_id}: ${first.message}`);
  if (gateway.slice === "canary" && runSinceMs !== undefined && gateway.doctorAtMs >= runSinceMs)
    hard.push({ concern: "doctor", reason });
  else holds.push(reason);
  return false;
}
