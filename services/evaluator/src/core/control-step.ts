/** The inputs for applying a control message, and the steps that all kinds share. */
import type { Control } from "@aviary/shared/contract/control.ts";
import { isJudgingClass } from "@aviary/shared/contract/fleet.ts";
import { type Incident, incident } from "@aviary/shared/contract/incident.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import type { IncidentCode } from "@aviary/shared/contract/reasons.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { subjectOf } from "./run.ts";
import type { CanaryState, Run, State } from "./state.ts";

/** One control message and its target. */
export interface ControlStep<C extends Control = Control> {
  readonly state: State;
  readonly canary: CanaryState;
  readonly config: CanaryConfig;
  readonly control: C;
  /** Its store time. */
  readonly atMs: number;
}

/** The judging caller takes the seat of the run, and is alive. */
export function recordCall(run: Run, caller: string, atMs: number): void {
  if (!isJudgingClass(caller)) return;
  run.seat ??= caller;
  run.lastCallMs = atMs;
}

/** An incident that a control message causes; one per `scope`. */
export function controlIncident(
  { canary, config, atMs }: Pick<ControlStep, "canary" | "config" | "atMs">,
  code: IncidentCode,
  scope: string,
  facts: Incident["facts"],
): Incident {
  return incident(code, isoTime(atMs), `${canary.run?.id ?? "-"}|${scope}`, { subject: subjectOf(config) }, facts);
}
