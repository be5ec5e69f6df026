/**
 * Applies control messages to a canary's run.
 *
 * Revision, weight, phase, gates and end are the judging caller's to report (`callers.ts`): from any other class they change
 * nothing and raise an incident. Operators may do everything.
 */
import type { Control } from "@aviary/shared/contract/control.ts";
import type { Incident } from "@aviary/shared/contract/incident.ts";
import { applyAnnouncement } from "./apply-announcement.ts";
import { attemptOf, updateAttempt } from "./attempts.ts";
import { judgingCaller, maySpeak } from "./callers.ts";
import { type ControlStep, controlIncident, recordCall } from "./control-step.ts";
import { moveTo, openRun, restartEvidence, startWarming } from "./run.ts";
import { gatewaysOfCanary, isOpen, type Run, recordShift, startGrid } from "./state.ts";

type Verb<V extends Control["verb"]> = Extract<Control, { verb: V }>;

const OPERATOR_VERBS: ReadonlySet<Control["verb"]> = new Set(["start", "abort", "clear", "pause", "resume", "maintenance"]);

/** Applies one control message. Returns the incidents. */
export function applyControl(step: ControlStep): Incident[] {
  const { control } = step;
  if (OPERATOR_VERBS.has(control.verb) && control.caller !== "operator")
    return [
      controlIncident(step, "caller_conflict", `operator|${control.caller}`, { caller: control.caller, verb: control.verb }),
    ];
  switch (control.verb) {
    case "announce":
    case "weight":
    case "phase":
    case "gate":
    case "end":
      return applyReport(step, control);
    case "start":
      return applyAnnouncement({ ...step, control });
    case "configure":
      step.canary.configHash = control.hash;
      step.canary.configuredAtMs = step.atMs;
      return [];
    default:
      applyOperatorVerb(step, control);
      return [];
  }
}

/** Reports of controllers. */
function applyReport(step: ControlStep, control: Verb<"announce" | "weight" | "phase" | "gate" | "end">): Incident[] {
  const { canary, config, atMs } = step;
  const { caller } = control;
  if (control.verb === "announce" && caller === "flux") return applyAnnouncement({ ...step, control });
  if (!maySpeak(caller, canary.run, config)) {
    const judge = judgingCaller(canary.run, config) ?? "none";
    return [controlIncident(step, "caller_conflict", `${judge}|${caller}`, { judge, caller, verb: control.verb })];
  }
  if (control.verb === "announce") return applyAnnouncement({ ...step, control });
  const run = isOpen(canary.run) ? canary.run : null;
  if (run === null || !isForRun(run, control.revision)) return control.verb === "end" ? endOfAnother(step, control) : [];
  recordCall(run, caller, atMs);
  switch (control.verb) {
    case "weight":
      applyWeight(run, control.weight, atMs);
      return [];
    case "phase":
      run.phase = control.phase;
      return [];
    case "gate":
      applyGate(step, run, control);
      return [];
    case "end":
      return applyEnd(step, run, control);
  }
}

/** A message that names no revision is about the current run; a late one about another revision changes nothing. */
function isForRun(run: Run, revision: string | undefined): boolean {
  return revision === undefined || revision === run.controllerRevision;
}

/** The weight that the controller reports. */
function applyWeight(run: Run, weight: number, atMs: number): void {
  run.weight = weight;
  if (weight > 0) recordShift(run, atMs);
  if (weight === 0 && run.state === "pending") run.shiftedSinceMs = 0;
}

/**
 * Flagger calls pre-rollout at weight 0 only, so that call is a statement about the weight and withdraws a grant. A granted
 * increase is traffic from then on, however long its event takes.
 */
function applyGate({ canary, config, atMs }: ControlStep, run: Run, { gate, allowed }: Verb<"gate">): void {
  if (gate === "pre-rollout") {
    // The event of a restart may have reported the weight of 0 already; the grant still stands.
    const wasShifting = run.granted || (run.weight ?? 0) > 0;
    const isRestart = wasShifting && (run.state === "warming" || run.state === "active");
    applyWeight(run, 0, atMs);
    run.granted = false;
    // Flagger starts its analysis from weight 0 again, for another specification under the same name.
    if (isRestart) restartEvidence(canary, config, atMs);
  }
  if (gate === "confirm-promotion" && allowed) run.promotionGranted = true;
  if (gate !== "confirm-traffic-increase") return;
  run.gated = true;
  if (!allowed) return;
  run.granted = true;
  applyWeight(run, Math.max(run.weight ?? 0, config.firstStep), atMs);
}

/** The end of the open run. A failed run stays failed, and frozen, until its canary slice is restored. */
function applyEnd(step: ControlStep, run: Run, { caller, result }: Verb<"end">): Incident[] {
  const { canary, config, atMs } = step;
  run.endReported = true;
  run.endedBy ??= caller === "operator" ? "operator" : "controller";
  if (run.state === "failed") {
    updateAttempt(canary, run);
    return [];
  }
  // A success needs evidence, at the latest when the promotion was granted.
  const isEarned = run.judged > 0 && (canary.lastPromotable || run.promotionGranted);
  moveTo(canary, result === "failed" ? "aborted" : isEarned ? "passed" : "unjudged", atMs);
  startGrid(canary, config, atMs);
  if (run.state !== "unjudged") return [];
  return [controlIncident(step, "run_unjudged", run.id, { run: run.id, judged_windows: run.judged, caller })];
}

/** An end that is not about the open run: it closes an earlier attempt, or is reported. */
function endOfAnother(step: ControlStep, { caller, result, revision }: Verb<"end">): Incident[] {
  const { canary } = step;
  const { run } = canary;
  const name = revision ?? run?.controllerRevision ?? undefined;
  const entry = name === undefined ? undefined : attemptOf(canary, name);
  if (entry !== undefined) entry.endReported = true;
  if (run !== null && run.controllerRevision === name && !isOpen(run)) run.endReported = true;
  if (!isOpen(run)) return [];
  const facts = { run: run?.id ?? "-", revision: revision ?? "-", result, caller };
  return [controlIncident(step, "end_ignored", `${run?.id}|${revision}`, facts)];
}

type OperatorVerb = Verb<"abort" | "clear" | "pause" | "resume" | "maintenance">;

function applyOperatorVerb(step: ControlStep, control: OperatorVerb): void {
  const { canary, config, atMs } = step;
  const { run } = canary;
  switch (control.verb) {
    case "abort":
      if (run === null || !isOpen(run) || run.state === "failed") return;
      run.endedBy = "operator";
      moveTo(canary, "aborted", atMs);
      startGrid(canary, config, atMs);
      return;
    case "clear":
      clearFailure(step, control);
      return;
    case "pause":
      if (run && isOpen(run)) run.paused = control.reason;
      return;
    case "resume":
      if (run) run.paused = null;
      return;
    case "maintenance":
      applyMaintenance(step, control);
      return;
  }
}

/**
 * Clears a failure that an operator declares a false positive: the same revision gets a new run, which warms up at once if its
 * release is still on the canary slice.
 */
function clearFailure({ state, canary, config, atMs }: ControlStep, control: Verb<"clear">): void {
  const failed = canary.run;
  if (failed === null || failed.latch === null) return;
  const { controllerRevision, pinned, announcedHash, announcedVersion, seat, restored, weight } = failed;
  const release = pinned ?? { gateway_version: announcedVersion, skill_hash: announcedHash, fragment_hash: null };
  canary.failedRelease = null;
  const cleared = { by: control.by ?? control.caller, reason: control.reason, atMs };
  const opening = { openedBy: failed.openedBy, controllerRevision, release, announcedHash, announcedVersion };
  openRun(state, canary, config, { ...opening, seat: seat ?? undefined, cleared }, atMs);
  if (restored) return;
  Object.assign(canary.run!, { weight, shiftedSinceMs: failed.shiftedSinceMs, gated: failed.gated, granted: failed.granted });
  startWarming(state, canary, config, atMs);
}

/** Maintenance without an end lasts this long, so that it ends without intervention. */
const DEFAULT_MAINTENANCE_MS = 4 * 3_600_000;

function applyMaintenance({ state, canary, config, atMs }: ControlStep, control: Verb<"maintenance">): void {
  const untilMs = control.on ? (control.until === undefined ? atMs + DEFAULT_MAINTENANCE_MS : Date.parse(control.until)) : 0;
  if (control.gateway === undefined) {
    canary.maintenance = control.on ? { untilMs, reason: control.reason, mute: control.mute } : null;
    return;
  }
  for (const gateway of gatewaysOfCanary(state, config)) {
    if (gateway.name !== control.gateway) continue;
    gateway.maintenanceUntilMs = untilMs;
    gateway.maintenanceReason = control.reason;
    gateway.maintenanceMuted = control.on && control.mute;
  }
}
