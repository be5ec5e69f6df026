/** Applies one signal to the state: its gateway's facts, open windows, and the depth of a lane. */
import { type Signal, staleAtMs } from "@aviary/shared/contract/signal.ts";
import {
  applyDeps,
  applyDisk,
  applyDoctor,
  applyHealth,
  applyIdentity,
  type GatewayState,
  type NewObservation,
  recordObservation,
} from "./gateway.ts";
import type { SignalInput } from "./inputs.ts";
import { isNewest } from "./sequence.ts";
import { type CanaryState, isOpen, type State } from "./state.ts";
import { mergeHttp, recordQueueDepth } from "./window.ts";

/** Applies a signal to its gateway and the open windows. Returns whether a fact changed. */
export function applySignal(state: State, gateway: GatewayState, input: SignalInput, observedAtMs: number): boolean {
  const { signal, storedAtMs } = input;
  const keys = state.config.canariesOfFleet.get(signal.fleet) ?? [];
  let changed = false;
  // An older signal that was delayed for long looks as if its clock were correct.
  if (gateway.clockAhead && isNewest(gateway.sequence, signal.collector_boot, signal.seq)) {
    gateway.clockAhead = false;
    changed = true;
  }
  const kind = signal.kind === "http" && signal.body.source === "synthetic" ? "synthetic" : signal.kind;
  if (applyIdentity(gateway, signal, observedAtMs)) changed = true;
  const observation: NewObservation = {
    kind,
    observedAtMs,
    periodMs: signal.period_ms,
    nowMs: storedAtMs,
    graceMs: graceOf(state, keys),
  };
  const seen = recordObservation(gateway, observation);
  if (seen === "fresh") changed = true;
  const applied = { state, gateway, keys, storedAtMs, observedAtMs, periodMs: signal.period_ms };
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
}

/** Bodies that belong to the time of their observation, whatever arrived before them. Returns whether a fact changed. */
function applyCounts(applied: Applied, signal: Signal): boolean {
  const { state, gateway, keys, observedAtMs, periodMs } = applied;
  if (signal.kind === "queue") return keys.map((key) => applyDepth(applied, key, signal.body)).includes(true);
  if (signal.kind !== "http") return false;
  for (const key of keys) {
    const canary = state.canaries.get(key)!;
    if (canary.grid !== null && isJudged(canary, gateway, observedAtMs))
      mergeHttp(canary.grid, gateway, signal.body, observedAtMs, periodMs);
  }
  return false;
}

/** Bodies of which only the newest counts. Returns whether a fact changed. */
function applyFact(applied: Applied, signal: Signal): boolean {
  const { state, gateway, keys, storedAtMs, observedAtMs } = applied;
  switch (signal.kind) {
    case "health":
      return applyHealth(gateway, signal.body);
    case "disk": {
      const policy = state.config.canaries.get(keys[0] ?? "")?.policy;
      const { tier } = state.config.gateways.get(gateway.key)!;
      return policy !== undefined && applyDisk(gateway, signal.body, tier, policy, storedAtMs);
    }
    case "doctor":
      return applyDoctor(gateway, signal.body, observedAtMs);
    case "deps":
      return applyDeps(gateway, signal.body);
    case "process":
      gateway.process = signal.body;
      return false;
    case "rollout":
      return applyWeight(applied, signal.body);
    default:
      return false;
  }
}

function graceOf(state: State, canaryKeys: readonly string[]): number {
  return state.config.canaries.get(canaryKeys[0] ?? "")?.policy.graceMs ?? 10_000;
}

/** Traffic during the warm-up of a run, and of a gateway in warm-up after its boot, is marked and not judged. */
function isJudged(canary: CanaryState, gateway: GatewayState, observedAtMs: number): boolean {
  if (gateway.slice !== "canary") return true;
  if (gateway.health !== null && !gateway.health.warm) return false;
  const { run } = canary;
  return run === null || !isOpen(run) || run.state === "pending" || run.state === "failed" || observedAtMs >= run.judgeFromMs;
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
  return known === undefined || known.periodMs !== periodMs || storedAtMs >= staleAtMs(known, config.policy.graceMs);
}

/** The weight as applied by the load balancer, beside what the controller reports. */
function applyWeight(applied: Applied, body: { readonly canary: string; readonly weight: number }): boolean {
  const { state, keys, gateway } = applied;
  gateway.rolloutWeight = body.weight;
  let changed = false;
  for (const key of keys) {
    const canary = state.canaries.get(key)!;
    const { run } = canary;
    if (run === null || !isOpen(run) || run.balancerWeight === body.weight) continue;
    if (body.canary !== key && body.canary !== state.config.canaries.get(key)!.ref.name) continue;
    run.balancerWeight = body.weight;
    if (body.weight > 0 && run.shiftedSinceMs === 0) run.shiftedSinceMs = applied.storedAtMs;
    changed = true;
  }
  return changed;
}
