/** Applies the name of a revision. It opens a run, adopts one, advances the current one, or is left over from an earlier one. */
import type { Control } from "@aviary/shared/contract/control.ts";
import { isJudgingClass } from "@aviary/shared/contract/fleet.ts";
import type { Incident } from "@aviary/shared/contract/incident.ts";
import { attemptOf, opensAgain, recordAttempt } from "./attempts.ts";
import { type ControlStep, controlIncident, recordCall } from "./control-step.ts";
import { openRun } from "./run.ts";
import { isOpen, type Opener, type Run, recordShift } from "./state.ts";

type Announcement = Extract<Control, { verb: "announce" | "start" }>;

export function applyAnnouncement(step: ControlStep<Announcement>): Incident[] {
  const { canary, config, control, atMs } = step;
  const { run } = canary;
  const name = control.revision;
  if (isOpen(run) && run!.controllerRevision === name && control.verb === "announce") {
    completeAnnouncement(step, run!);
    return [];
  }
  if (control.verb === "start" || control.caller === "operator") {
    open(step, "operator");
    return [];
  }
  if (!isJudgingClass(control.caller)) {
    const change = announcerChange(step);
    if (change === "opens") open(step, "announcer");
    if (change === "is adopted") adopt(step, run!);
    return [];
  }
  const known = attemptOf(canary, name);
  if (known === undefined) {
    if (isOpen(run) && run!.openedBy === "announcer" && run!.seat === null) adopt(step, run!);
    else open(step, "controller");
    return [];
  }
  const naming = { caller: control.caller, gate: control.gate, atMs, intervalMs: config.intervalMs[control.caller] };
  const opens = opensAgain(canary, known, naming);
  known.namedMs = atMs;
  if (opens) open(step, "controller");
  else if (isOpen(run))
    return [controlIncident(step, "left_over_caller", `${control.caller}|${name}`, { named: name, caller: control.caller })];
  return [];
}

/**
 * What Flux's name of a revision does. It counts if it is a new one, or without a judging caller also one that was named before
 * another. It interrupts no failure, and no run that a controller or an operator takes part in.
 */
function announcerChange({ canary, config, control, atMs }: ControlStep<Announcement>): "opens" | "is adopted" | "nothing" {
  const { run } = canary;
  const known = attemptOf(canary, control.revision);
  const naming = { caller: "flux", gate: undefined, atMs, intervalMs: 0 } as const;
  if (known !== undefined && (config.hasJudge || !opensAgain(canary, known, naming))) return "nothing";
  if (run === null || !isOpen(run)) return "opens";
  const isClaimed = run.seat !== null || run.openedBy === "controller" || run.openedBy === "operator";
  if (isClaimed || run.state === "failed") return "nothing";
  return known === undefined && run.controllerRevision === null && couldInclude(run, control) ? "is adopted" : "opens";
}

/** Whether the release that observation found can be the announced one: the Macs changed before the announcement arrived. */
function couldInclude({ pinned }: Run, { skill_hash, gateway_version }: Announcement): boolean {
  const { skill_hash: hash = null, gateway_version: version = null } = pinned ?? {};
  return (skill_hash === undefined || skill_hash === hash) && (gateway_version === undefined || gateway_version === version);
}

/** The caller names the open run again: it is alive, and may know more about the release. */
function completeAnnouncement({ canary, control, atMs }: ControlStep<Announcement>, run: Run): void {
  recordCall(run, control.caller, atMs);
  run.announcedHash ??= control.skill_hash ?? null;
  run.announcedVersion ??= control.gateway_version ?? null;
  if (control.caller === "rollouts") recordShift(run, atMs);
  const entry = attemptOf(canary, control.revision);
  if (entry !== undefined) entry.namedMs = atMs;
}

/** A caller names the change that a run was opened for: the judging caller that of an announcer, or an announcer an observed one. */
function adopt(step: ControlStep<Announcement>, run: Run): void {
  run.controllerRevision = step.control.revision;
  recordAttempt(step.canary, step.control.revision, run.attempt, run.sinceMs);
  completeAnnouncement(step, run);
}

function open({ state, canary, config, control, atMs }: ControlStep<Announcement>, openedBy: Opener): void {
  const announcedHash = control.skill_hash ?? null;
  const announcedVersion = control.gateway_version ?? null;
  const release = { gateway_version: announcedVersion, skill_hash: announcedHash, fragment_hash: null };
  const seat = isJudgingClass(control.caller) ? control.caller : undefined;
  const controllerRevision = control.revision;
  openRun(state, canary, config, { openedBy, controllerRevision, release, announcedHash, announcedVersion, seat }, atMs);
  // An operator's start, and an analysis that is already measuring (Argo Rollouts), imply that traffic is shifted.
  if (control.verb === "start" || control.caller === "rollouts") recordShift(canary.run!, atMs);
}
