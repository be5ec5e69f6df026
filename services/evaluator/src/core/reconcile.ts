/** Bringing a canary to rest after a change: the run moves on, the ladder decides, and what is new is said. */
import { type Incident, incident } from "@aviary/shared/contract/incident.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import { conditionsOf } from "./conditions.ts";
import type { Effect } from "./effects.ts";
import { tickLane } from "./lane-tick.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { advance, moveTo, subjectOf, triedRelease, unannouncedRelease } from "./run.ts";
import { type CanaryState, gatewaysOfCanary, newFrame, type State } from "./state.ts";
import { type Decision, decide, releaseChangedReason, verdictRecord } from "./verdict.ts";

/** Asks for a checkpoint after this step, once. */
export function requestCheckpoint(state: State, atMs: number, effects: Effect[]): void {
  state.lastCheckpointMs = atMs;
  if (!effects.some((effect) => effect.kind === "checkpoint")) effects.push({ kind: "checkpoint" });
}

/**
 * Brings one canary to rest after a change: moves its run on, decides, and publishes when what is said has changed.
 * @param windowClosed a window just closed: a verdict is due in any case
 */
export function reconcile(
  state: State,
  canary: CanaryState,
  setup: CanaryConfig,
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
  const tried = triedRelease(state, canary, setup);
  let decision = decide(canary, setup, conditions, releaseReason, tried);

  if (run !== null && decision.failing !== undefined) {
    run.latch = { verdictId: null, atMs, reasons: decision.failing.reasons.slice(0, 5), concern: decision.failing.concern };
    run.promotable = false;
    moveTo(canary, "failed", atMs);
    for (const said of advance(state, canary, setup, atMs)) effects.push({ kind: "incident", incident: said });
    decision = { ...decide(canary, setup, conditions, releaseReason, tried), failing: decision.failing };
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
    decision = { ...decide(canary, setup, conditions, releaseReason, tried), failing: undefined };
  for (const told of incidentsOf(state, canary, setup, decision, releaseReason, atMs)) tell(canary, told, effects);

  const said = JSON.stringify([
    decision.verdict,
    decision.reasons.filter((reason) => reason.code !== "latched").map((reason) => [reason.code, reason.gateway, reason.metric]),
    decision.warnings.map((reason) => [reason.code, reason.gateway]),
    run === null ? null : [run.id, run.state, run.promotable, run.weight, run.gated, run.over, run.latch !== null],
  ]);
  if (!windowClosed && said === canary.lastSaid) return;
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

/** Counts pass windows, the time held, and the hold budget of an active run. */
function countHold(
  canary: CanaryState,
  setup: CanaryConfig,
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

/** Incidents that are remembered as told, newest last. */
const MAX_TOLD = 64;

/** Tells an incident once, whoever notices it again. */
function tell(canary: CanaryState, told: Incident, effects: Effect[]): void {
  if (canary.told.includes(told.id)) return;
  canary.told = [...canary.told, told.id].slice(-MAX_TOLD);
  effects.push({ kind: "incident", incident: told });
}

/** What people must hear of the present state, apart from the verdict: an unannounced release, a shared fate, full disks. */
function incidentsOf(
  state: State,
  canary: CanaryState,
  setup: CanaryConfig,
  decision: Decision,
  releaseReason: Reason | undefined,
  atMs: number,
): Incident[] {
  const subject = subjectOf(setup);
  const run = canary.run?.id ?? "-";
  const incidents: Incident[] = [];
  if (releaseReason !== undefined) {
    incidents.push(
      incident("release_changed", isoTime(atMs), `${run}|${releaseReason.text}`, { subject }, { run, text: releaseReason.text }),
    );
  }
  const environment = decision.reasons.find((reason) => reason.code === "environment");
  if (environment !== undefined)
    incidents.push(incident("environment", isoTime(atMs), run, { subject }, { run, text: environment.text }));
  for (const gateway of gatewaysOfCanary(state, setup)) {
    if (gateway.diskLevel === "green" || gateway.disk === null) continue;
    const code = gateway.diskLevel === "red" ? "disk_red" : "disk_yellow";
    const where = { subject, az: gateway.az, gateway: gateway.name };
    incidents.push(
      incident(code, isoTime(gateway.diskRoseAtMs), isoTime(gateway.diskRoseAtMs), where, {
        used_ratio: gateway.disk.used_ratio,
      }),
    );
  }
  return incidents;
}
