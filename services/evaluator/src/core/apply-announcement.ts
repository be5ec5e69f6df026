/** Applies the name of a revision. It opens a run, adopts one, advances the current one, or is left over from an earlier one. */
import type { Control } from "@aviary/shared/contract/control.ts";
import { isJudgingClass } from "@aviary/shared/contract/fleet.ts";
import type { Incident } from "@aviary/shared/contract/incident.ts";
import { attemptOf, opensAgain, recordAttempt } from "./attempts.ts";
import { type ControlStep, controlIncident, recordCall } from "./control-step.ts";
import { openRun } from "./run.ts";
import { isOpen, type Opener, type Run } from "./state.ts";

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
  const known = attemptOf(canary, name);
  if (!isJudgingClass(control.caller)) {
    // An announcer repeats its messages and must not interrupt a run.
    if (!isOpen(run) && known === undefined) open(step, "announcer");
    return [];
  }
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

/** The caller names the open run again. It is alive, and may supply further parts of the release. */
function completeAnnouncement({ canary, control, atMs }: ControlStep<Announcement>, run: Run): void {
  recordCall(run, control.caller, atMs);
  run.announcedHash ??= control.skill_hash ?? null;
  run.announcedVersion ??= control.gateway_version ?? null;
  if (control.caller === "rollouts") shift(run, atMs);
  const entry = attemptOf(canary, control.revision);
  if (entry !== undefined) entry.namedMs = atMs;
}

/** The judging caller names the change that an announcer opened a run for. */
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
  if (control.verb === "start" || control.caller === "rollouts") shift(canary.run!, atMs);
}

function shift(run: Run, atMs: number): void {
  if (run.shiftedSinceMs === 0) run.shiftedSinceMs = atMs;
}
