/** Applies one signal to the state: its gateway's facts, open windows, and the depth of a lane. */
import type { Signal } from "@aviary/shared/contract/signal.ts";
import { trackReading } from "./clock-offset.ts";
import { nextDiskMark } from "./disk-marks.ts";
import { factStaleAtMs, isCurrent } from "./freshness.ts";
import {
  applyDeps,
  applyDisk,
  applyDoctor,
  applyHealth,
  applyIdentity,
  type GatewayState,
  recordObservation,
} from "./gateway.ts";
import type { SignalInput } from "./inputs.ts";
import { trackHealth, trackProcess } from "./restarts.ts";
import { isNewest } from "./sequence.ts";
import { type CanaryState, isOpen, recordShift, type State } from "./state.ts";
import { mergeReport, recordQueueDepth, type TrafficReport } from "./window.ts";

/** Applies a signal to its gateway and the open windows. Returns whether a fact changed. */
export function applySignal(state: State, gateway: GatewayState, input: SignalInput, observedAtMs: number): boolean {
  const { signal, storedAtMs } = input;
  const keys = state.config.canariesOfFleet.get(signal.fleet) ?? [];
  let changed = false;
  // An older signal that was delayed for a long time looks as if its clock were correct.
  if (signal.kind === "health" && isNewest(gateway.sequence, signal.collector_boot, signal.seq))
    changed = trackReading(gateway.clock, { observedAtMs, storedAtMs, boot: signal.collector_boot });
  const kind = signal.kind === "http" && signal.body.source === "synthetic" ? "synthetic" : signal.kind;
  if (applyIdentity(gateway, signal, observedAtMs)) changed = true;
  const policies = state.config.policiesOfFleet.get(signal.fleet) ?? [];
  const isContinuous = policies.every((policy) => isCurrent(gateway, kind, policy, observedAtMs));
  const periodMs = signal.period_ms;
  const boot = signal.collector_boot;
  const isSameBoot = gateway.seen.get(kind)?.boot === boot;
  const isPlanned = gateway.maintenanceUntilMs > storedAtMs;
  const seen = recordObservation(gateway, { kind, observedAtMs, periodMs, boot, nowMs: storedAtMs, policies });
  if (seen === "fresh") changed = true;
  const applied = { state, gateway, keys, storedAtMs, observedAtMs, periodMs, isContinuous, isSameBoot, isPlanned };
  if (applyCounts(applied, signal)) changed = true;
  if (seen !== "older" && applyFact(applied, signal)) changed = true;
  return changed;
}

/** One signal being applied, and the canaries of its fleet. */
interface Applied {
  readonly state: State;
  readonly gateway: GatewayState;
  readonly keys: readonly string[];
  readonly storedAtMs: number;
  readonly observedAtMs: number;
  readonly periodMs: number;
  /** Whether the previous observation of its kind was still current. */
  readonly isContinuous: boolean;
  /** Whether that observation came from the same collector boot. */
  readonly isSameBoot: boolean;
  /** Whether the gateway is in maintenance. */
  readonly isPlanned: boolean;
}

/**
 * Applies bodies that belong to the time of their observation, regardless of their order of arrival. Returns whether a fact
 * changed.
 */
function applyCounts(applied: Applied, signal: Signal): boolean {
  const { state, gateway, keys, observedAtMs, periodMs } = applied;
  if (signal.kind === "queue") return keys.map((key) => applyDepth(applied, key, signal.body)).includes(true);
  if (signal.kind !== "http") return false;
  for (const key of keys) {
    const canary = state.canaries.get(key)!;
    if (canary.grid === null) continue;
    const exclusion = exclusionOf(canary, applied);
    mergeReport(canary.grid, gateway, { body: signal.body, observedAtMs, periodMs, exclusion });
  }
  return false;
}

/** Applies bodies of which only the newest counts. Returns whether a fact changed. */
function applyFact(applied: Applied, signal: Signal): boolean {
  const { gateway, keys } = applied;
  switch (signal.kind) {
    case "health":
      return [applyHealth(gateway, signal.body), trackHealth(gateway.restarts, signal.body, applied)].includes(true);
    case "disk":
      return [applyDisk(gateway, signal.body), ...keys.map((key) => applyDiskMark(applied, key, signal.body))].includes(true);
    case "doctor":
      return applyDoctor(gateway, signal.body, applied);
    case "deps":
      return applyDeps(gateway, signal.body);
    case "process":
      return trackProcess(gateway.restarts, signal.body, applied);
    case "rollout":
      return applyWeight(applied, signal.body);
    default:
      return false;
  }
}

/** Compares a disk with the marks of one canary's policy. Returns whether its level changed. */
function applyDiskMark(applied: Applied, key: string, { used_ratio }: { readonly used_ratio: number }): boolean {
  const { state, gateway } = applied;
  const { disks } = state.canaries.get(key)!;
  const { tier } = state.config.gateways.get(gateway.key)!;
  const before = disks.get(gateway.key);
  const next = nextDiskMark(before, { ...applied, usedRatio: used_ratio }, state.config.canaries.get(key)!.policy.disk[tier]);
  disks.set(gateway.key, next);
  return next.level !== before?.level;
}

const AT_WORK = { why: "maintenance", isPlanned: true } as const;
const RUN_WARMING = { why: "warming", isPlanned: true } as const;
const GATEWAY_WARMING = { why: "warming", isPlanned: false } as const;

/**
 * Why the traffic of a gateway is excluded. In maintenance, or while the run is paused, traffic reflects the work and not the
 * release. During a warm-up, of the gateway or of the run, traffic of a canary gateway is not judged.
 */
function exclusionOf(
  { run, maintenance }: CanaryState,
  { gateway, observedAtMs, storedAtMs, isPlanned }: Applied,
): TrafficReport["exclusion"] {
  const isAtWork = isPlanned || (maintenance !== null && maintenance.untilMs > storedAtMs);
  const isRunOpen = run !== null && isOpen(run);
  if (isAtWork || (isRunOpen && run.paused !== null)) return AT_WORK;
  if (gateway.slice !== "canary") return undefined;
  if (isRunOpen && (run.state === "warming" || run.state === "active") && observedAtMs < run.judgeFromMs) return RUN_WARMING;
  if (gateway.health !== null && !gateway.health.warm) return GATEWAY_WARMING;
  return undefined;
}

/**
 * The newest depth of a lane. The first depth, and the first after it was stale, is a fact: the verdict was on hold for lack of
 * it.
 */
function applyDepth(applied: Applied, key: string, body: { readonly lane: string; readonly depth: number }): boolean {
  const { state, storedAtMs, observedAtMs, periodMs } = applied;
  const canary = state.canaries.get(key)!;
  const config = state.config.canaries.get(key)!;
  if (!config.lanes.includes(body.lane)) return false;
  const known = canary.depths.get(body.lane);
  if (known !== undefined && known.observedAtMs > observedAtMs) return false;
  canary.depths.set(body.lane, { observedAtMs, periodMs, depth: body.depth });
  if (body.lane === config.lane && canary.grid !== null) recordQueueDepth(canary.grid, body.depth, observedAtMs);
  return known === undefined || known.periodMs !== periodMs || storedAtMs >= factStaleAtMs("queue", known, config.policy);
}

/** The weight as applied by the load balancer, beside what the controller reports. */
function applyWeight(applied: Applied, body: { readonly canary: string; readonly weight: number }): boolean {
  const { state, keys } = applied;
  let changed = false;
  for (const key of keys) {
    const canary = state.canaries.get(key)!;
    const { run } = canary;
    if (run === null || !isOpen(run) || run.balancerWeight === body.weight) continue;
    if (body.canary !== key && body.canary !== state.config.canaries.get(key)!.ref.name) continue;
    run.balancerWeight = body.weight;
    if (body.weight > 0) recordShift(run, applied.storedAtMs);
    changed = true;
  }
  return changed;
}
