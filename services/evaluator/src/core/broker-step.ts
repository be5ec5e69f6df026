/**
 * The broker's clock is set back. Store times then precede the time of the state, which would wait for its deadlines until the
 * clock has caught up: silence, for as long as the step. Instead, everything that lies in the future is brought back to the store
 * time, open windows are dropped, and the canaries are on hold until one complete window has closed.
 */
import { incident } from "@aviary/shared/contract/incident.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { MAX_CLOCK_AHEAD_MS } from "@aviary/shared/contract/policy.ts";
import { createClockTrack } from "./clock-offset.ts";
import type { Effect } from "./effects.ts";
import type { GatewayState } from "./gateway.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { subjectOf } from "./run.ts";
import type { CanaryState, Run, State } from "./state.ts";
import { realignGrid } from "./window.ts";

/** A step of the broker's clock, and when it was noticed. */
export interface BrokerStep {
  readonly atMs: number;
  readonly byMs: number;
}

/** Whether a message stored at `storedAtMs` shows that the clock was set back. Brokers of one cluster differ by less. */
export function isSetBack({ nowMs }: State, storedAtMs: number): boolean {
  return nowMs - storedAtMs > MAX_CLOCK_AHEAD_MS;
}

/** Brings the state back to `toMs`; the caller reconciles every canary. */
export function stepBack(state: State, toMs: number, effects: Effect[]): void {
  const step = { atMs: toMs, byMs: state.nowMs - toMs };
  state.nowMs = toMs;
  state.lastCheckpointMs = Math.min(state.lastCheckpointMs, toMs);
  for (const gateway of state.gateways.values()) stepGatewayBack(gateway, toMs);
  for (const lane of state.lanes.values())
    lane.nextTickMs = Math.min(lane.nextTickMs, toMs + state.config.lanes.get(lane.name)!.pollingInterval);
  for (const canary of state.canaries.values()) {
    const config = state.config.canaries.get(canary.key)!;
    stepCanaryBack(canary, config, step);
    // The messages of a new log may precede decisions based on the previous log; that gap is already reported.
    if (canary.logGap) continue;
    canary.brokerStep = step;
    const facts = { sender: "broker", set_back_ms: step.byMs };
    effects.push({
      kind: "incident",
      incident: incident("clock_skew", isoTime(toMs), `broker|${state.sequence}`, { subject: subjectOf(config) }, facts),
    });
  }
}

/** An observation in the future would keep its fact fresh, and reject every newer one, until the clock has caught up. */
function stepGatewayBack(gateway: GatewayState, toMs: number): void {
  for (const [kind, { observedAtMs }] of gateway.seen) if (observedAtMs > toMs + MAX_CLOCK_AHEAD_MS) gateway.seen.delete(kind);
  gateway.doctorAtMs = Math.min(gateway.doctorAtMs, toMs);
  gateway.releaseSinceMs = Math.min(gateway.releaseSinceMs, toMs);
  const { restarts } = gateway;
  if (restarts.downSinceMs !== null) restarts.downSinceMs = Math.min(restarts.downSinceMs, toMs);
  Object.assign(gateway.clock, createClockTrack());
}

function stepCanaryBack(canary: CanaryState, config: CanaryConfig, step: BrokerStep): void {
  if (canary.grid !== null) canary.grid = realignGrid(canary.grid, step.atMs);
  canary.reconciledAtMs = Math.min(canary.reconciledAtMs, step.atMs);
  canary.observed = null;
  for (const [lane, { observedAtMs }] of canary.depths)
    if (observedAtMs > step.atMs + MAX_CLOCK_AHEAD_MS) canary.depths.delete(lane);
  if (canary.run !== null) stepRunBack(canary.run, config, step.atMs);
}

/** A run that began in the future begins now, and a warm-up ends within its own length. */
function stepRunBack(run: Run, { policy }: CanaryConfig, toMs: number): void {
  const isWarming = run.state === "warming";
  Object.assign(run, {
    sinceMs: Math.min(run.sinceMs, toMs),
    stateSinceMs: Math.min(run.stateSinceMs, toMs),
    judgeFromMs: isWarming ? Math.min(run.judgeFromMs, toMs + policy.warmupMs) : run.judgeFromMs,
    heldSinceMs: Math.min(run.heldSinceMs, toMs),
  });
  if (run.state === "active") run.judgeFromMs = Math.min(run.judgeFromMs, toMs);
}
