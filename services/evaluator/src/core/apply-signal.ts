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
import { mergeReport, recordQueueDepth, type TrafficReport } from "./window.ts";

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
  const { state, gateway, keys, storedAtMs, observedAtMs, periodMs } = applied;
  if (signal.kind === "queue") return keys.map((key) => applyDepth(applied, key, signal.body)).includes(true);
  if (signal.kind !== "http") return false;
  for (const key of keys) {
    const canary = state.canaries.get(key)!;
    if (canary.grid === null) continue;
    const exclusion = exclusionOf(canary, gateway, { observedAtMs, storedAtMs });
    mergeReport(canary.grid, gateway, { body: signal.body, observedAtMs, periodMs, exclusion });
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
      return applyWeight(state, keys, gateway, signal.body);
    default:
      return false;
  }
}

function graceOf(state: State, canaryKeys: readonly string[]): number {
  return state.config.canaries.get(canaryKeys[0] ?? "")?.policy.graceMs ?? 10_000;
}

/**
 * Why the traffic of a gateway is left out. That of a gateway or canary in maintenance, or of a paused run, shows the work and not
 * the release; that of a canary gateway during a warm-up, its own or the run's, is not judged.
 */
function exclusionOf(
  { run, maintenance }: CanaryState,
  gateway: GatewayState,
  { observedAtMs, storedAtMs }: { readonly observedAtMs: number; readonly storedAtMs: number },
): TrafficReport["exclusion"] {
  const isAtWork = gateway.maintenanceUntilMs > storedAtMs || (maintenance !== null && maintenance.untilMs > storedAtMs);
  const isRunOpen = run !== null && isOpen(run);
  if (isAtWork || (isRunOpen && run.paused !== null)) return { why: "maintenance", isPlanned: true };
  if (gateway.slice !== "canary") return undefined;
  if (isRunOpen && (run.state === "warming" || run.state === "active") && observedAtMs < run.judgeFromMs)
    return { why: "warming", isPlanned: true };
  if (gateway.health !== null && !gateway.health.warm) return { why: "warming", isPlanned: false };
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
  return known === undefined || known.periodMs !== periodMs || storedAtMs >= staleAtMs(known, config.policy.graceMs);
}

/** The weight as applied by the load balancer; a controller's own statement takes precedence. */
function applyWeight(
  state: State,
  keys: readonly string[],
  gateway: GatewayState,
  body: { readonly canary: string; readonly weight: number },
): boolean {
  gateway.rolloutWeight = body.weight;
  let changed = false;
  for (const key of keys) {
    const canary = state.canaries.get(key)!;
    const { run } = canary;
    if (run === null || run.openedBy === "controller" || !isOpen(run) || run.weight === body.weight) continue;
    if (body.canary !== key && body.canary !== state.config.canaries.get(key)!.ref.name) continue;
    run.weight = body.weight;
    changed = true;
  }
  return changed;
}
