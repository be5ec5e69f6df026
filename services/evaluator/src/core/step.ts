/**
 * The fold: one input after another, in the order of the log, each giving a new state and the effects that it causes.
 *
 *   input with store time S ──▶ every deadline D < S fires first, oldest first ──▶ the input itself
 *   clock input T           ──▶ every deadline D < T fires
 *
 * A deadline (window end + grace, staleness, warm-up, hold budget, a run's limits, a lane tick) therefore fires after every input
 * that was stored up to D and before any later one, whoever notices it: a live evaluator by the broker's clock, a replay by the next
 * message. What a deadline decides is stamped with the deadline. That is why live, replica, restart and replay agree to the byte.
 *
 * `step` owns the state that it is given and changes it in place: copying would cost more than the rest of the hot path.
 */
import { incident } from "@aviary/shared/contract/incident.ts";
import { MAX_CLOCK_AHEAD_MS } from "@aviary/shared/contract/policy.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import { canaryKey, controlSubject, signalSubject } from "@aviary/shared/contract/subjects.ts";
import { conditionsOf } from "./conditions.ts";
import { deadEffect } from "./dead.ts";
import { canaryDeadlineMs } from "./deadlines.ts";
import { type Effect, inOrder, NO_EFFECTS } from "./effects.ts";
import { type GatewayState, see, takeDeps, takeDisk, takeDoctor, takeHealth, takeRelease } from "./gateway.ts";
import type { ControlInput, Input, SignalInput } from "./inputs.ts";
import { isoTime } from "./iso-time.ts";
import { judgeWindow } from "./judging.ts";
import { tickLane } from "./lane-tick.ts";
import { advance, applyControl, moveTo, subjectOf, unannouncedRelease } from "./run.ts";
import { arrive, forgetBefore, loseTime } from "./sequence.ts";
import { type CanarySetup, gatewayKey } from "./setup.ts";
import { type CanaryState, gatewaysOfCanary, isOpen, newFrame, type State } from "./state.ts";
import { decide, releaseChangedReason, verdictRecord } from "./verdict.ts";
import { closeAtMs, closeWindow, takeHttp, takeQueue } from "./window.ts";

export interface Stepped {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** A checkpoint is due this long (broker time) after the last one, whatever happened. */
export const CHECKPOINT_EVERY_MS = 60_000;

/** Folds one input in. Total over every input that the schemas accept. */
export function step(state: State, input: Input): Stepped {
  const effects: Effect[] = [];
  if (input.kind === "clock") {
    fireDeadlines(state, input.at, effects);
    if (input.at > state.nowMs) state.nowMs = input.at;
    return { state, effects: inOrder(effects) };
  }
  if (input.sequence <= state.sequence) return { state, effects: NO_EFFECTS };
  if (input.storedAt > state.nextDeadlineMs) fireDeadlines(state, input.storedAt, effects);
  if (input.storedAt > state.nowMs) state.nowMs = input.storedAt;
  if (state.lastCheckpointMs === 0) begin(state);
  state.sequence = input.sequence;
  switch (input.kind) {
    case "signal":
      foldSignal(state, input, effects);
      break;
    case "control":
      foldControl(state, input, effects);
      break;
    case "unreadable":
      effects.push(...deadEffect(state, input));
      break;
    case "log-gap":
      foldLogGap(state, input.sequence, effects);
      break;
  }
  if (effects.length === 0) return { state, effects: NO_EFFECTS };
  return { state, effects: inOrder(effects) };
}

/** The first message of a log: rows of windows, lane ticks and checkpoints are counted from its store time. */
function begin(state: State): void {
  state.lastCheckpointMs = state.nowMs;
  for (const canary of state.canaries.values()) {
    if (canary.frame === null) newFrame(canary, state.setup.canaries.get(canary.key)!, state.nowMs);
  }
  for (const lane of state.lanes.values()) lane.nextTickMs = state.nowMs + state.setup.lanes.get(lane.name)!.pollingInterval;
  updateNextDeadline(state);
}

function updateNextDeadline(state: State): void {
  let next = state.lastCheckpointMs === 0 ? Number.POSITIVE_INFINITY : state.lastCheckpointMs + CHECKPOINT_EVERY_MS;
  for (const canary of state.canaries.values())
    next = Math.min(next, canaryDeadlineMs(state, canary, state.setup.canaries.get(canary.key)!));
  for (const lane of state.lanes.values()) next = Math.min(next, lane.nextTickMs);
  state.nextDeadlineMs = next;
}

/** Fires every deadline before `untilMs`, oldest first; at one instant canaries come before lanes, and lanes before the checkpoint. */
function fireDeadlines(state: State, untilMs: number, effects: Effect[]): void {
  while (state.nextDeadlineMs < untilMs) {
    const atMs = state.nextDeadlineMs;
    if (atMs > state.nowMs) state.nowMs = atMs;
    for (const canary of state.canaries.values()) {
      const setup = state.setup.canaries.get(canary.key)!;
      if (canaryDeadlineMs(state, canary, setup) > atMs) continue;
      const closes = canary.frame !== null && closeAtMs(canary.frame, setup.policy.graceMs) <= atMs;
      if (closes) closeOldest(state, canary, setup);
      settle(state, canary, setup, atMs, effects, closes);
    }
    for (const lane of state.lanes.values()) {
      if (lane.nextTickMs > atMs) continue;
      lane.nextTickMs = atMs + state.setup.lanes.get(lane.name)!.pollingInterval;
      tickLane(state, lane, atMs, true, effects);
    }
    if (state.lastCheckpointMs + CHECKPOINT_EVERY_MS <= atMs) requestCheckpoint(state, atMs, effects);
    updateNextDeadline(state);
  }
}

function requestCheckpoint(state: State, atMs: number, effects: Effect[]): void {
  state.lastCheckpointMs = atMs;
  if (!effects.some((effect) => effect.kind === "checkpoint")) effects.push({ kind: "checkpoint" });
}

function closeOldest(state: State, canary: CanaryState, setup: CanarySetup): void {
  const gateways = gatewaysOfCanary(state, setup).filter((gateway) => gateway.maintenanceUntilMs <= state.nowMs);
  const closed = closeWindow(canary.frame!, gateways, canary.run?.weight ?? 0, setup.policy.traffic);
  canary.lastWindow = closed;
  if (closed.complete) canary.logGap = false;
  judgeWindow(canary, setup, closed);
  const keepFrom = Date.parse(closed.window.end) - setup.policy.windowMs;
  for (const gateway of gatewaysOfCanary(state, setup))
    forgetBefore(gateway.sequence, oldestOpenMs(state, setup.fleet, keepFrom));
}

/** Other canaries of the fleet may still have older windows open over the same gateways. */
function oldestOpenMs(state: State, fleet: string, ms: number): number {
  let oldest = ms;
  for (const key of state.setup.canariesOfFleet.get(fleet) ?? []) {
    const frame = state.canaries.get(key)?.frame;
    if (frame) oldest = Math.min(oldest, frame.originMs + frame.next * frame.lengthMs);
  }
  return oldest;
}

/**
 * Brings one canary to rest after a change: moves its run on, decides, and publishes when what is said has changed.
 * @param windowClosed a window just closed: a verdict is due in any case
 */
export function settle(
  state: State,
  canary: CanaryState,
  setup: CanarySetup,
  atMs: number,
  effects: Effect[],
  windowClosed: boolean,
): void {
  canary.settledAtMs = atMs;
  const stateBefore = canary.run?.state;
  const runBefore = canary.run?.id;
  for (const said of advance(state, canary, setup, atMs)) effects.push({ kind: "incident", incident: said });
  const conditions = conditionsOf(state, canary, setup, atMs);
  canary.staleCheckMs = conditions.staleNextMs;
  const { run } = canary;
  const release = unannouncedRelease(state, canary, setup);
  const releaseReason: Reason | undefined = release === undefined ? undefined : releaseChangedReason(run!, release);
  let decision = decide(canary, setup, conditions, releaseReason);

  if (run !== null && decision.failing !== undefined) {
    run.latch = { verdictId: null, atMs, reasons: decision.failing.reasons.slice(0, 5), concern: decision.failing.concern };
    run.promotable = false;
    moveTo(canary, "failed", atMs);
    for (const said of advance(state, canary, setup, atMs)) effects.push({ kind: "incident", incident: said });
    decision = { ...decide(canary, setup, conditions, releaseReason), failing: decision.failing };
    const first = decision.reasons[0];
    effects.push({
      kind: "incident",
      incident: incident(
        "verdict_failed",
        isoTime(atMs),
        run.id,
        { subject: subjectOf(setup) },
        { run: run.id, reason: first?.code ?? "unknown", text: first?.text ?? "" },
      ),
    });
  }
  if (run !== null && run.state === "active") countHold(canary, setup, decision.verdict, atMs, windowClosed, effects);
  if (run?.holdExpired && decision.verdict === "hold")
    decision = { ...decide(canary, setup, conditions, releaseReason), failing: undefined };
  if (releaseReason !== undefined && run !== null) {
    effects.push({
      kind: "incident",
      incident: incident(
        "release_changed",
        isoTime(atMs),
        `${run.id}|${releaseReason.text}`,
        { subject: subjectOf(setup) },
        { run: run.id, text: releaseReason.text },
      ),
    });
  }
  const environment = decision.reasons.find((reason) => reason.code === "environment");
  if (environment !== undefined && windowClosed) {
    effects.push({
      kind: "incident",
      incident: incident(
        "environment",
        isoTime(atMs),
        `${run?.id ?? "-"}`,
        { subject: subjectOf(setup) },
        { text: environment.text },
      ),
    });
  }

  const said = JSON.stringify([
    decision.verdict,
    decision.reasons.filter((reason) => reason.code !== "latched").map((reason) => [reason.code, reason.gateway, reason.metric]),
    decision.warnings.map((reason) => [reason.code, reason.gateway]),
    run === null ? null : [run.id, run.state, run.promotable, run.weight, run.gated, run.over, run.latch !== null],
  ]);
  if (!windowClosed && said === canary.lastSaid) {
    dropRepeated(effects);
    return;
  }
  const record = verdictRecord(state, canary, setup, conditions, decision, atMs);
  const repeated = said === canary.lastSaid;
  canary.lastSaid = said;
  canary.lastVerdictId = record.body.id;
  canary.lastOutcome = record.body.verdict;
  canary.lastDegraded = record.body.degraded;
  canary.lastReason = record.body.reasons[0]?.code ?? null;
  if (run?.latch && run.latch.verdictId === null) run.latch.verdictId = record.body.id;
  effects.push({ kind: "verdict", record });
  if (!repeated) for (const name of setup.lanes) tickLane(state, state.lanes.get(name)!, atMs, false, effects);
  if (windowClosed || runBefore !== run?.id || stateBefore !== run?.state) requestCheckpoint(state, atMs, effects);
}

/** An incident that the last verdict told already is not told again while nothing else is said. */
function dropRepeated(effects: Effect[]): void {
  for (let index = effects.length - 1; index >= 0; index--) {
    const effect = effects[index]!;
    if (effect.kind === "incident" && effect.incident.code === "release_changed") effects.splice(index, 1);
  }
}

/** Counts pass windows, the time held, and the hold budget of an active run. */
function countHold(
  canary: CanaryState,
  setup: CanarySetup,
  verdict: "pass" | "hold" | "fail",
  atMs: number,
  windowClosed: boolean,
  effects: Effect[],
): void {
  const run = canary.run!;
  if (windowClosed) {
    run.consecutivePass = verdict === "pass" ? run.consecutivePass + 1 : 0;
    const evidence =
      run.outcome !== null && (setup.policy.mode === "literal" ? run.outcome.literal : run.outcome.twoKey).promotable;
    if (verdict === "pass" && evidence && run.consecutivePass >= setup.policy.promoteAfterPassWindows) run.promotable = true;
    if (
      !setup.hasController &&
      run.openedBy !== "controller" &&
      run.promotable &&
      run.consecutivePass >= setup.policy.passAfterWindows
    ) {
      moveTo(canary, "passed", atMs);
      newFrame(canary, setup, atMs);
      return;
    }
  }
  if (verdict === "hold") {
    if (run.heldSinceMs === 0) run.heldSinceMs = atMs;
    if (!run.holdExpired && atMs >= run.heldSinceMs + setup.policy.holdBudgetMs) {
      run.holdExpired = true;
      effects.push({
        kind: "incident",
        incident: incident(
          "hold_expired",
          isoTime(atMs),
          `${run.id}|${run.heldSinceMs}`,
          { subject: subjectOf(setup) },
          { run: run.id, held_since: isoTime(run.heldSinceMs) },
        ),
      });
    }
  } else {
    run.heldSinceMs = 0;
    run.holdExpired = false;
  }
}

function foldControl(state: State, input: ControlInput, effects: Effect[]): void {
  const key = canaryKey(input.canary);
  const canary = state.canaries.get(key);
  const setup = state.setup.canaries.get(key);
  if (canary === undefined || setup === undefined || setup.fleet !== input.fleet) {
    effects.push(
      ...deadEffect(state, {
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
  for (const said of applyControl(state, canary, setup, input.control, input.storedAt))
    effects.push({ kind: "incident", incident: said });
  settle(state, canary, setup, input.storedAt, effects, false);
  updateNextDeadline(state);
}

function foldLogGap(state: State, sequence: number, effects: Effect[]): void {
  for (const canary of state.canaries.values()) {
    const setup = state.setup.canaries.get(canary.key)!;
    canary.logGap = true;
    effects.push({
      kind: "incident",
      incident: incident(
        "log_gap",
        isoTime(state.nowMs),
        String(sequence),
        { subject: subjectOf(setup) },
        { continues_at: sequence },
      ),
    });
    settle(state, canary, setup, state.nowMs, effects, false);
  }
  updateNextDeadline(state);
}

function foldSignal(state: State, input: SignalInput, effects: Effect[]): void {
  const { signal, storedAt } = input;
  const key = gatewayKey(signal.az, signal.fleet, signal.gateway);
  const gateway = state.gateways.get(key);
  if (gateway === undefined) {
    effects.push(
      ...deadEffect(state, {
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
  const observedAtMs = Date.parse(signal.observed_at);
  const ahead = observedAtMs - storedAt > MAX_CLOCK_AHEAD_MS;
  const arrival = arrive(gateway.sequence, signal.collector_boot, signal.seq, ahead ? storedAt : observedAtMs);
  if (arrival !== "new") return;
  if (ahead) {
    loseTime(gateway.sequence, {
      afterMs: storedAt - signal.period_ms,
      beforeMs: storedAt,
      why: "a signal came from the future",
    });
    effects.push(
      ...deadEffect(state, {
        ...input,
        kind: "unreadable",
        subject: signalSubject(signal, signal.kind),
        reason: "from_the_future",
        text: `${signal.observed_at} is more than 5 s after ${isoTime(storedAt)}`,
        excerpt: "",
      }),
    );
    if (!gateway.clockAhead) {
      gateway.clockAhead = true;
      settleFleet(state, signal.fleet, storedAt, effects);
    }
    return;
  }
  const changed = takeSignal(state, gateway, input, observedAtMs);
  if (changed) settleFleet(state, signal.fleet, storedAt, effects);
}

function settleFleet(state: State, fleet: string, atMs: number, effects: Effect[]): void {
  for (const key of state.setup.canariesOfFleet.get(fleet) ?? []) {
    settle(state, state.canaries.get(key)!, state.setup.canaries.get(key)!, atMs, effects, false);
  }
  updateNextDeadline(state);
}

/** Folds a present signal into its gateway and the open windows. Returns whether a fact changed. */
function takeSignal(state: State, gateway: GatewayState, input: SignalInput, observedAtMs: number): boolean {
  const { signal, storedAt } = input;
  const keys = state.setup.canariesOfFleet.get(signal.fleet) ?? [];
  let changed = false;
  if (gateway.clockAhead) {
    gateway.clockAhead = false;
    changed = true;
  }
  const kind = signal.kind === "http" && signal.body.source === "synthetic" ? "synthetic" : signal.kind;
  const seen = see(gateway, kind, observedAtMs, signal.period_ms, storedAt, graceOf(state, keys));
  if (seen === "fresh") changed = true;
  if (seen !== "older") {
    if (gateway.claimed !== signal.slice) {
      gateway.claimed = signal.slice;
      changed = true;
    }
    if (takeRelease(gateway, signal, observedAtMs)) changed = true;
  }
  switch (signal.kind) {
    case "http":
      for (const key of keys) {
        const canary = state.canaries.get(key)!;
        if (canary.frame !== null && counts(canary, gateway, observedAtMs))
          takeHttp(canary.frame, gateway, signal.body, observedAtMs, signal.period_ms);
      }
      break;
    case "queue":
      for (const key of keys) {
        if (
          takeDepth(
            state.canaries.get(key)!,
            state.setup.canaries.get(key)!,
            signal.body,
            observedAtMs,
            signal.period_ms,
            storedAt,
          )
        )
          changed = true;
      }
      break;
    case "health":
      if (seen !== "older" && takeHealth(gateway, signal.body)) changed = true;
      break;
    case "disk": {
      const policy = state.setup.canaries.get(keys[0] ?? "")?.policy;
      if (
        seen !== "older" &&
        policy &&
        takeDisk(gateway, signal.body, state.setup.gateways.get(gateway.key)!.tier, policy, storedAt)
      )
        changed = true;
      break;
    }
    case "doctor":
      if (seen !== "older" && takeDoctor(gateway, signal.body, observedAtMs)) changed = true;
      break;
    case "deps":
      if (seen !== "older" && takeDeps(gateway, signal.body)) changed = true;
      break;
    case "process":
      if (seen !== "older") gateway.process = signal.body;
      break;
    case "rollout":
      if (seen !== "older") changed = takeWeight(state, keys, gateway, signal.body) || changed;
      break;
    case "skills":
    case "log":
      break;
  }
  return changed;
}

function graceOf(state: State, canaryKeys: readonly string[]): number {
  return state.setup.canaries.get(canaryKeys[0] ?? "")?.policy.graceMs ?? 10_000;
}

/** Traffic of the warm-up of a run, and of a gateway that is still warming after its boot, is marked and not judged (R182). */
function counts(canary: CanaryState, gateway: GatewayState, observedAtMs: number): boolean {
  if (gateway.slice !== "canary") return true;
  if (gateway.health !== null && !gateway.health.warm) return false;
  const { run } = canary;
  return run === null || !isOpen(run) || run.state === "pending" || run.state === "failed" || observedAtMs >= run.judgeFromMs;
}

/** The newest depth of a lane. The first one, and the first after a silence, is a fact: the verdict was held for want of it. */
function takeDepth(
  canary: CanaryState,
  setup: CanarySetup,
  body: { readonly lane: string; readonly depth: number },
  observedAtMs: number,
  periodMs: number,
  storedAt: number,
): boolean {
  if (!setup.lanes.includes(body.lane)) return false;
  const known = canary.depths.get(body.lane);
  if (known !== undefined && known.observedAtMs > observedAtMs) return false;
  canary.depths.set(body.lane, { observedAtMs, periodMs, depth: body.depth });
  if (body.lane === setup.lane && canary.frame !== null) takeQueue(canary.frame, body.depth, observedAtMs);
  return (
    known === undefined ||
    known.periodMs !== periodMs ||
    storedAt >= known.observedAtMs + 2 * known.periodMs + setup.policy.graceMs
  );
}

/** The weight as the load balancer applies it; a controller's own word goes before it. */
function takeWeight(
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
    if (body.canary !== key && body.canary !== state.setup.canaries.get(key)!.ref.name) continue;
    run.weight = body.weight;
    changed = true;
  }
  return changed;
}
