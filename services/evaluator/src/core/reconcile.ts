/** Re-evaluates a canary after a change: gathers the facts, decides once, applies the decision and emits effects. */
import { type Incident, incident } from "@aviary/shared/contract/incident.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import type { Outcome } from "@aviary/shared/contract/verdict.ts";
import { advance } from "./advance-run.ts";
import { endsByPasses } from "./callers.ts";
import { conditionsOf } from "./conditions.ts";
import type { Effect } from "./effects.ts";
import { tickLane } from "./lane-tick.ts";
import { alreadyAnalyzedRelease } from "./observe-release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { moveTo, subjectOf } from "./run.ts";
import { unannouncedRelease } from "./slice-releases.ts";
import { type CanaryState, gatewaysOfCanary, type Run, type State, startGrid } from "./state.ts";
import { type CanaryFacts, type Decision, decide, type HoldBudget, releaseChangedReason } from "./verdict.ts";
import { verdictRecord } from "./verdict-record.ts";

/** One reconciliation of one canary. */
export interface Reconciliation {
  readonly state: State;
  readonly canary: CanaryState;
  readonly config: CanaryConfig;
  /** Broker time of the input or deadline that caused it. */
  readonly atMs: number;
  /** Receives the effects. */
  readonly effects: Effect[];
  /** A window has just closed: a verdict is due in any case. */
  readonly windowClosed: boolean;
}

/** Requests a checkpoint after this step, at most once. */
export function requestCheckpoint(state: State, atMs: number, effects: Effect[]): void {
  state.lastCheckpointMs = atMs;
  if (!effects.some((effect) => effect.kind === "checkpoint")) effects.push({ kind: "checkpoint" });
}

/** Advances the canary's run, decides, and publishes a verdict if its content changed. */
export function reconcile(step: Reconciliation): void {
  const { canary, atMs } = step;
  canary.reconciledAtMs = atMs;
  advanceRun(step);
  const facts = gatherFacts(step);
  canary.staleCheckMs = facts.conditions.staleNextMs;
  const decision = decide(facts);
  if (decision.failing === undefined) countPassesAndHolds(step, facts, decision.verdict);
  else failRun(step, decision);
  for (const found of incidentsOf(step, facts, decision)) emitOnce(canary, found, step.effects);
  if (!publish(step, facts, decision)) return;
  const runState = canary.run === null ? "" : `${canary.run.id} ${canary.run.state}`;
  const runChanged = runState !== canary.lastRunState;
  canary.lastRunState = runState;
  if (step.windowClosed || runChanged) requestCheckpoint(step.state, atMs, step.effects);
}

function advanceRun({ state, canary, config, atMs, effects }: Reconciliation): void {
  for (const found of advance(state, canary, config, atMs)) emitOnce(canary, found, effects);
}

function gatherFacts({ state, canary, config, atMs }: Reconciliation): CanaryFacts {
  const { run } = canary;
  const release = unannouncedRelease(state, canary, config);
  return {
    canary,
    config,
    conditions: conditionsOf(state, canary, config, atMs),
    releaseChanged: release === undefined || run === null ? undefined : releaseChangedReason(run, release),
    alreadyAnalyzed: alreadyAnalyzedRelease(state, canary, config),
    holdBudget: holdBudgetOf(run, config, atMs),
  };
}

function holdBudgetOf(run: Run | null, { policy }: CanaryConfig, atMs: number): HoldBudget {
  const heldSinceMs = run === null || run.heldSinceMs === 0 ? atMs : run.heldSinceMs;
  const expired = run !== null && (run.holdExpired || atMs >= heldSinceMs + policy.holdBudgetMs);
  return { heldSinceMs, expired };
}

/** Latches the failure that the decision found. */
function failRun(step: Reconciliation, { failing, reasons }: Decision): void {
  const { canary, config, atMs, effects } = step;
  const run = canary.run!;
  run.latch = { verdictId: null, atMs, reasons: [...reasons], concern: failing! };
  run.promotable = false;
  moveTo(canary, "failed", atMs);
  // If the canary slice is already back on stable's release, the run ends at once.
  advanceRun(step);
  const first = reasons[0];
  effects.push({
    kind: "incident",
    incident: incident(
      "verdict_failed",
      isoTime(atMs),
      run.id,
      { subject: subjectOf(config) },
      { run: run.id, reason: first?.code ?? "unknown", text: first?.text ?? "" },
    ),
  });
}

/** Updates an active run: consecutive passes, the promotion, and the time on hold. */
function countPassesAndHolds(step: Reconciliation, { holdBudget }: CanaryFacts, verdict: Outcome): void {
  const { run } = step.canary;
  if (run === null || run.state !== "active") return;
  if (step.windowClosed && countPass(step, run, verdict)) return;
  if (verdict === "hold") countHold(step, run, holdBudget);
  else Object.assign(run, { heldSinceMs: 0, holdExpired: false });
}

/** Counts a closed window. Returns whether the run passed with it. */
function countPass({ canary, config, atMs }: Reconciliation, run: Run, verdict: Outcome): boolean {
  const { policy } = config;
  run.consecutivePass = verdict === "pass" ? run.consecutivePass + 1 : 0;
  const rule = run.outcome === null ? undefined : policy.mode === "literal" ? run.outcome.literal : run.outcome.twoKey;
  if (verdict === "pass" && rule?.promotable && run.consecutivePass >= policy.promoteAfterPassWindows) run.promotable = true;
  if (!run.promotable || run.consecutivePass < policy.passAfterWindows || !endsByPasses(run, config, atMs)) return false;
  moveTo(canary, "passed", atMs);
  startGrid(canary, config, atMs);
  return true;
}

function countHold({ config, atMs, effects }: Reconciliation, run: Run, budget: HoldBudget): void {
  run.heldSinceMs = budget.heldSinceMs;
  if (run.holdExpired || !budget.expired) return;
  run.holdExpired = true;
  effects.push({
    kind: "incident",
    incident: incident(
      "hold_expired",
      isoTime(atMs),
      `${run.id}|${run.heldSinceMs}`,
      { subject: subjectOf(config) },
      { run: run.id, held_since: isoTime(run.heldSinceMs) },
    ),
  });
}

/**
 * Publishes a verdict if a window closed or its content changed, and ticks the canary's lanes in the latter case. Returns whether
 * it did.
 */
function publish(
  { state, canary, config, atMs, effects, windowClosed }: Reconciliation,
  facts: CanaryFacts,
  decision: Decision,
): boolean {
  const fingerprint = fingerprintOf(canary, decision);
  const changed = fingerprint !== canary.lastFingerprint;
  if (!windowClosed && !changed) return false;
  const record = verdictRecord(state, facts, decision, atMs);
  canary.lastFingerprint = fingerprint;
  // If only entries beyond the limits of the record's lists changed, the broker would discard it as a duplicate.
  if (record.body.id === canary.lastVerdictId) return false;
  canary.lastVerdictId = record.body.id;
  canary.lastDegraded = record.body.degraded;
  canary.lastPromotable = record.body.run?.promotable === true;
  canary.lastReason = record.body.reasons[0]?.code ?? null;
  if (canary.run?.latch && canary.run.latch.verdictId === null) canary.run.latch.verdictId = record.body.id;
  effects.push({ kind: "verdict", record });
  if (changed) for (const name of config.lanes) tickLane(state, state.lanes.get(name)!, atMs, false, effects);
  return true;
}

/** A second verdict is published if these differ from the first: outcome, reasons, warnings and run. */
function fingerprintOf({ run, revisions }: CanaryState, { verdict, reasons, warnings, current = [] }: Decision): string {
  return JSON.stringify([
    verdict,
    reasons.filter(({ code }) => code !== "latched").map(({ code, gateway, metric }) => [code, gateway, metric]),
    warnings.map(({ code, gateway }) => [code, gateway]),
    current.map(({ code, gateway, metric }) => [code, gateway, metric]),
    revisions.map(({ name, attempt, state, endReported }) => [name, attempt, state, endReported]),
    run === null ? null : runFingerprint(run),
  ]);
}

/** The run's fields in the record, apart from counts. */
function runFingerprint(run: Run): unknown[] {
  const { id, state, promotable, controllerRevision, seat, gated, granted, promotionGranted, restored, endReported } = run;
  const weights = [run.weight, run.balancerWeight];
  return [
    id,
    state,
    promotable,
    controllerRevision,
    seat,
    gated,
    granted,
    promotionGranted,
    restored,
    endReported,
    weights,
    run.latch !== null,
  ];
}

/** Number of emitted incidents that are remembered, newest last. */
const MAX_EMITTED = 64;

/** Emits an incident once, however often its condition recurs. */
function emitOnce(canary: CanaryState, found: Incident, effects: Effect[]): void {
  if (canary.emittedIncidentIds.includes(found.id)) return;
  canary.emittedIncidentIds = [...canary.emittedIncidentIds, found.id].slice(-MAX_EMITTED);
  effects.push({ kind: "incident", incident: found });
}

/** Incidents of the current state, apart from the verdict: an unannounced release, a shared incident, wrong clocks, full disks. */
function incidentsOf(
  { state, canary, config, atMs }: Reconciliation,
  { releaseChanged }: CanaryFacts,
  decision: Decision,
): Incident[] {
  const subject = subjectOf(config);
  const run = canary.run?.id ?? "-";
  const incidents: Incident[] = [];
  if (releaseChanged !== undefined) {
    const { text } = releaseChanged;
    incidents.push(incident("release_changed", isoTime(atMs), `${run}|${text}`, { subject }, { run, text }));
  }
  const environment = decision.reasons.find((reason) => reason.code === "environment");
  if (environment !== undefined)
    incidents.push(incident("environment", isoTime(atMs), run, { subject }, { run, text: environment.text }));
  const gone = decision.reasons.find((reason) => reason.code === "caller_gone");
  if (gone !== undefined) incidents.push(incident("caller_gone", isoTime(atMs), run, { subject }, { run, text: gone.text }));
  for (const gateway of gatewaysOfCanary(state, config)) {
    const { offsetMs, sinceMs } = gateway.clock;
    if (offsetMs !== null) {
      const where = { subject, az: gateway.az, gateway: gateway.name };
      incidents.push(incident("clock_skew", isoTime(sinceMs), isoTime(sinceMs), where, { offset_ms: offsetMs }));
    }
    const mark = canary.disks.get(gateway.key);
    if (mark === undefined || mark.level === "green" || gateway.disk === null) continue;
    const code = mark.level === "red" ? "disk_red" : "disk_yellow";
    const where = { subject, az: gateway.az, gateway: gateway.name };
    const since = isoTime(mark.sinceMs);
    incidents.push(incident(code, since, since, where, { used_ratio: gateway.disk.used_ratio }));
  }
  return incidents;
}
