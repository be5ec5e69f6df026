/**
 * The reducer: applies one input after another in log order; each yields the next state and effects.
 *
 *   input with store time S ──▶ every deadline D < S fires first, oldest first ──▶ the input itself
 *   clock input T           ──▶ every deadline D < T fires
 *
 * A deadline (window end + grace, staleness, warm-up, hold budget, a run's limits, a lane tick) therefore fires after every input
 * stored up to D and before any later one, regardless of what triggers it: a live evaluator by the broker's clock, a replay by
 * the next message. The results of a deadline are stamped with the deadline. Live, replica, restart and replay therefore agree to
 * the byte.
 *
 * `reduce` owns its state and modifies it in place: copying would cost more than the rest of the hot path.
 */

import { incident } from "@aviary/shared/contract/incident.ts";
import { isoTime, parseIsoTime } from "@aviary/shared/contract/iso-time.ts";
import { MAX_CLOCK_AHEAD_MS } from "@aviary/shared/contract/policy.ts";
import type { Signal } from "@aviary/shared/contract/signal.ts";
import { canaryKey, controlSubject, signalSubject } from "@aviary/shared/contract/subjects.ts";
import { applyClosedWindow } from "./apply-closed-window.ts";
import { applyControl } from "./apply-control.ts";
import { applySignal } from "./apply-signal.ts";
import { isSetBack, stepBack } from "./broker-step.ts";
import { trackAhead } from "./clock-offset.ts";
import { deadLetterEffects } from "./dead-letters.ts";
import { canaryDeadlineMs } from "./deadlines.ts";
import { type Effect, inOrder, NO_EFFECTS } from "./effects.ts";
import type { GatewayState } from "./gateway.ts";
import type { ControlInput, Input, SignalInput } from "./inputs.ts";
import { tickLane } from "./lane-tick.ts";
import { reconcile, requestCheckpoint } from "./reconcile.ts";
import { type CanaryConfig, gatewayKey } from "./resolved-config.ts";
import { subjectOf } from "./run.ts";
import { dropBefore, recordArrival, recordLostTime } from "./sequence.ts";
import { isCanaryHealthy } from "./slice-releases.ts";
import { type CanaryState, gatewaysOfCanary, type State, startGrid, weightOf } from "./state.ts";
import { closeAtMs, closeWindow, excludeReport } from "./window.ts";

export interface Reduced {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** A checkpoint is due this long (broker time) after the previous one, in any case. */
export const CHECKPOINT_EVERY_MS = 60_000;

/** Applies one input. Total over every input that the schemas accept. */
export function reduce(state: State, input: Input): Reduced {
  const effects: Effect[] = [];
  if (input.kind === "clock") {
    fireDeadlines(state, input.atMs, effects);
    if (input.atMs > state.nowMs) state.nowMs = input.atMs;
    return { state, effects: inOrder(effects) };
  }
  if (input.sequence <= state.sequence) return { state, effects: NO_EFFECTS };
  if (isSetBack(state, input.storedAtMs)) reduceStepBack(state, input.storedAtMs, effects);
  if (input.storedAtMs > state.nextDeadlineMs) fireDeadlines(state, input.storedAtMs, effects);
  if (input.storedAtMs > state.nowMs) state.nowMs = input.storedAtMs;
  if (state.lastCheckpointMs === 0) startSchedules(state);
  state.sequence = input.sequence;
  switch (input.kind) {
    case "signal":
      reduceSignal(state, input, effects);
      break;
    case "control":
      reduceControl(state, input, effects);
      break;
    case "unreadable":
      effects.push(...deadLetterEffects(state, input));
      break;
    case "log-gap":
      reduceLogGap(state, input.sequence, effects);
      break;
  }
  if (effects.length === 0) return { state, effects: NO_EFFECTS };
  return { state, effects: inOrder(effects) };
}

/** The first message of a log: windows, lane ticks and checkpoints count from its store time. */
function startSchedules(state: State): void {
  state.lastCheckpointMs = state.nowMs;
  for (const canary of state.canaries.values()) {
    if (canary.grid === null) startGrid(canary, state.config.canaries.get(canary.key)!, state.nowMs);
  }
  for (const lane of state.lanes.values()) lane.nextTickMs = state.nowMs + state.config.lanes.get(lane.name)!.pollingInterval;
  updateNextDeadline(state);
}

function updateNextDeadline(state: State): void {
  let next = state.lastCheckpointMs === 0 ? Number.POSITIVE_INFINITY : state.lastCheckpointMs + CHECKPOINT_EVERY_MS;
  for (const canary of state.canaries.values())
    next = Math.min(next, canaryDeadlineMs(state, canary, state.config.canaries.get(canary.key)!));
  for (const lane of state.lanes.values()) next = Math.min(next, lane.nextTickMs);
  state.nextDeadlineMs = next;
}

/**
 * Fires every deadline before `untilMs`, oldest first; at equal times canaries precede lanes, and lanes precede the checkpoint.
 */
function fireDeadlines(state: State, untilMs: number, effects: Effect[]): void {
  while (state.nextDeadlineMs < untilMs) {
    const atMs = state.nextDeadlineMs;
    if (atMs > state.nowMs) state.nowMs = atMs;
    for (const canary of state.canaries.values()) {
      const config = state.config.canaries.get(canary.key)!;
      if (canaryDeadlineMs(state, canary, config) > atMs) continue;
      const closes = canary.grid !== null && closeAtMs(canary.grid, config.policy.graceMs) <= atMs;
      if (closes) closeOldest(state, canary, config);
      reconcile({ state, canary, config, atMs, effects, windowClosed: closes });
    }
    for (const lane of state.lanes.values()) {
      if (lane.nextTickMs > atMs) continue;
      lane.nextTickMs = atMs + state.config.lanes.get(lane.name)!.pollingInterval;
      tickLane(state, lane, atMs, true, effects);
    }
    if (state.lastCheckpointMs + CHECKPOINT_EVERY_MS <= atMs) requestCheckpoint(state, atMs, effects);
    updateNextDeadline(state);
  }
}

function closeOldest(state: State, canary: CanaryState, config: CanaryConfig): void {
  const gateways = gatewaysOfCanary(state, config).filter((gateway) => gateway.maintenanceUntilMs <= state.nowMs);
  const { run } = canary;
  const closed = closeWindow(canary.grid!, {
    gateways,
    weight: run === null ? null : weightOf(run),
    traffic: config.policy.traffic,
    judgedFromMs: run !== null && (run.state === "warming" || run.state === "active") ? run.judgeFromMs : 0,
  });
  canary.lastWindow = closed;
  if (closed.complete) {
    canary.logGap = false;
    canary.brokerStep = null;
  }
  applyClosedWindow(canary, config, closed, isCanaryHealthy(state, canary, config));
  const keepFrom = Date.parse(closed.window.end) - config.policy.windowMs;
  for (const gateway of gatewaysOfCanary(state, config))
    dropBefore(gateway.sequence, oldestOpenMs(state, config.fleet, keepFrom));
}

/** Other canaries of the fleet may still have older open windows over the same gateways. */
function oldestOpenMs(state: State, fleet: string, ms: number): number {
  let oldest = ms;
  for (const key of state.config.canariesOfFleet.get(fleet) ?? []) {
    const frame = state.canaries.get(key)?.grid;
    if (frame) oldest = Math.min(oldest, frame.originMs + frame.next * frame.lengthMs);
  }
  return oldest;
}

function reduceControl(state: State, input: ControlInput, effects: Effect[]): void {
  const key = canaryKey(input.canary);
  const canary = state.canaries.get(key);
  const config = state.config.canaries.get(key);
  if (canary === undefined || config === undefined || config.fleet !== input.fleet) {
    effects.push(
      ...deadLetterEffects(state, {
        ...input,
        kind: "unreadable",
        subject: controlSubject(input.fleet, input.canary, input.control.verb),
        reason: "wrong_identity",
        text: `no canary ${key} in fleet ${input.fleet}`,
        excerpt: "",
      }),
    );
    return;
  }
  for (const found of applyControl({ state, canary, config, control: input.control, atMs: input.storedAtMs }))
    effects.push({ kind: "incident", incident: found });
  reconcile({ state, canary, config, atMs: input.storedAtMs, effects, windowClosed: false });
  updateNextDeadline(state);
}

function reduceLogGap(state: State, sequence: number, effects: Effect[]): void {
  for (const canary of state.canaries.values()) {
    const config = state.config.canaries.get(canary.key)!;
    canary.logGap = true;
    effects.push({
      kind: "incident",
      incident: incident(
        "log_gap",
        isoTime(state.nowMs),
        String(sequence),
        { subject: subjectOf(config) },
        { continues_at: sequence },
      ),
    });
    reconcile({ state, canary, config, atMs: state.nowMs, effects, windowClosed: false });
  }
  updateNextDeadline(state);
}

function reduceStepBack(state: State, toMs: number, effects: Effect[]): void {
  stepBack(state, toMs, effects);
  for (const canary of state.canaries.values()) {
    const config = state.config.canaries.get(canary.key)!;
    reconcile({ state, canary, config, atMs: toMs, effects, windowClosed: false });
  }
  updateNextDeadline(state);
}

function reduceSignal(state: State, input: SignalInput, effects: Effect[]): void {
  const { signal, storedAtMs } = input;
  const key = input.gateway ?? gatewayKey(signal.az, signal.fleet, signal.gateway);
  const gateway = state.gateways.get(key);
  if (gateway === undefined) {
    effects.push(
      ...deadLetterEffects(state, {
        ...input,
        kind: "unreadable",
        subject: signalSubject(signal, signal.kind),
        reason: "wrong_identity",
        text: `gateway ${key} is not in the fleet file`,
        excerpt: "",
      }),
    );
    return;
  }
  const observedAtMs = parseIsoTime(signal.observed_at);
  const ahead = observedAtMs - storedAtMs > MAX_CLOCK_AHEAD_MS;
  const arrival = recordArrival(gateway.sequence, signal.collector_boot, signal.seq, ahead ? storedAtMs : observedAtMs);
  if (arrival === "duplicate") return;
  if (arrival === "unknown-boot") {
    accountForLost(state, gateway, signal);
    return;
  }
  if (ahead) {
    recordLostTime(gateway.sequence, {
      afterMs: storedAtMs - signal.period_ms,
      beforeMs: storedAtMs,
      why: "a signal has a future timestamp",
    });
    effects.push(
      ...deadLetterEffects(state, {
        ...input,
        kind: "unreadable",
        subject: signalSubject(signal, signal.kind),
        reason: "from_the_future",
        text: `${signal.observed_at} is more than 5 s after ${isoTime(storedAtMs)}`,
        excerpt: "",
      }),
    );
    accountForLost(state, gateway, signal);
    const isNews = trackAhead(gateway.clock, { observedAtMs, storedAtMs, boot: signal.collector_boot });
    if (isNews) reconcileFleet(state, signal.fleet, storedAtMs, effects);
    return;
  }
  const changed = applySignal(state, gateway, input, observedAtMs);
  if (changed) reconcileFleet(state, signal.fleet, storedAtMs, effects);
}

/** Requests whose window cannot be determined are excluded from every canary's window with the cause. */
function accountForLost(state: State, gateway: GatewayState, signal: Signal): void {
  if (signal.kind !== "http") return;
  for (const key of state.config.canariesOfFleet.get(signal.fleet) ?? []) {
    const { grid } = state.canaries.get(key)!;
    if (grid !== null) excludeReport(grid, gateway, signal.body, "lost");
  }
}

function reconcileFleet(state: State, fleet: string, atMs: number, effects: Effect[]): void {
  for (const key of state.config.canariesOfFleet.get(fleet) ?? []) {
    const canary = state.canaries.get(key)!;
    reconcile({ state, canary, config: state.config.canaries.get(key)!, atMs, effects, windowClosed: false });
  }
  updateNextDeadline(state);
}
