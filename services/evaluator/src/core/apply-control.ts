/** Applies control messages of controllers and operators to a canary's run. */
import type { Control } from "@aviary/shared/contract/control.ts";
import type { Incident } from "@aviary/shared/contract/incident.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { moveTo, openRun, startWarming } from "./run.ts";
import { type CanaryState, gatewaysOfCanary, isOpen, type Run, type State, startGrid } from "./state.ts";

/** Applies one control message. Returns the incidents. */
export function applyControl(
  state: State,
  canary: CanaryState,
  config: CanaryConfig,
  control: Control,
  atMs: number,
): Incident[] {
  const { run } = canary;
  switch (control.verb) {
    case "announce":
    case "start":
      return announce(state, canary, config, control, atMs);
    case "weight":
      if (run && isOpen(run) && isForRun(run, control.revision)) {
        run.weight = control.weight;
        if (run.state === "pending" && control.weight > 0 && config.policy.macRelease === "optional")
          startWarming(state, canary, config, atMs);
      }
      return [];
    case "phase":
      if (run && isOpen(run) && isForRun(run, control.revision)) {
        run.phase = control.phase;
        if (
          run.state === "pending" &&
          run.confirmed &&
          control.phase === "Progressing" &&
          config.policy.macRelease === "optional"
        )
          startWarming(state, canary, config, atMs);
      }
      return [];
    case "gate":
      if (run && isOpen(run) && isForRun(run, control.revision)) applyGate(state, canary, config, control, atMs);
      else
        canary.gateBeforeRun = {
          gated: control.gate.startsWith("confirm-"),
          confirmed: control.gate === "confirm-rollout" && control.allowed,
        };
      return [];
    case "end":
      if (run && isOpen(run) && isForRun(run, control.revision)) {
        if (run.state !== "failed") moveTo(canary, control.result === "succeeded" ? "passed" : "aborted", atMs);
        else run.restored = true;
        startGrid(canary, config, atMs);
      }
      return [];
    case "abort":
      if (run && isOpen(run) && run.state !== "failed") {
        moveTo(canary, "aborted", atMs);
        startGrid(canary, config, atMs);
      }
      return [];
    case "clear":
      if (run?.latch) {
        run.latch = null;
        moveTo(canary, "aborted", atMs);
        startGrid(canary, config, atMs);
      }
      return [];
    case "pause":
      if (run && isOpen(run)) run.paused = control.reason;
      return [];
    case "resume":
      if (run) run.paused = null;
      return [];
    case "maintenance":
      applyMaintenance(state, canary, config, control, atMs);
      return [];
    case "configure":
      canary.configHash = control.hash;
      canary.configuredAtMs = atMs;
      return [];
  }
}

/** A message with a revision concerns the run of that revision only: a late hook of an old run changes nothing. */
function isForRun(run: Run, revision: string | undefined): boolean {
  return revision === undefined || run.controllerRevision === null || revision === run.controllerRevision;
}

function announce(
  state: State,
  canary: CanaryState,
  config: CanaryConfig,
  control: Extract<Control, { verb: "announce" | "start" }>,
  atMs: number,
): Incident[] {
  const { run } = canary;
  if (run && isOpen(run) && run.controllerRevision === control.revision) {
    run.announcedHash ??= control.skill_hash ?? null;
    run.announcedVersion ??= control.gateway_version ?? null;
    return [];
  }
  if (control.verb === "announce") {
    if (run?.controllerRevision === control.revision) return [];
  }
  openRun(
    state,
    canary,
    config,
    {
      openedBy: control.verb === "start" || control.caller === "operator" ? "operator" : "controller",
      controllerRevision: control.revision,
      release: { gateway_version: control.gateway_version ?? null, skill_hash: control.skill_hash ?? null, fragment_hash: null },
      announcedHash: control.skill_hash ?? null,
      announcedVersion: control.gateway_version ?? null,
    },
    atMs,
  );
  // An operator's start, and an analysis that is already measuring (Argo Rollouts), imply that traffic is about to be shifted.
  const goesOn = control.verb === "start" || control.caller === "rollouts";
  if (goesOn && config.policy.macRelease === "optional") startWarming(state, canary, config, atMs);
  return [];
}

function applyGate(
  state: State,
  canary: CanaryState,
  config: CanaryConfig,
  control: Extract<Control, { verb: "gate" }>,
  atMs: number,
): void {
  const run = canary.run!;
  if (control.gate.startsWith("confirm-")) run.gated = true;
  if (control.gate === "confirm-rollout") {
    if (control.allowed) run.confirmed = true;
  } else if (run.state === "pending" && run.confirmed && config.policy.macRelease === "optional") {
    startWarming(state, canary, config, atMs);
  }
}

/** Maintenance without an end lasts this long, so that it ends without intervention. */
const DEFAULT_MAINTENANCE_MS = 4 * 3_600_000;

function applyMaintenance(
  state: State,
  canary: CanaryState,
  config: CanaryConfig,
  control: Extract<Control, { verb: "maintenance" }>,
  atMs: number,
): void {
  const untilMs = control.on ? (control.until === undefined ? atMs + DEFAULT_MAINTENANCE_MS : Date.parse(control.until)) : 0;
  if (control.gateway === undefined) {
    canary.maintenance = control.on ? { untilMs, reason: control.reason, mute: control.mute } : null;
    return;
  }
  for (const gateway of gatewaysOfCanary(state, config)) {
    if (gateway.name !== control.gateway) continue;
    gateway.maintenanceUntilMs = untilMs;
    gateway.maintenanceReason = control.reason;
  }
}
