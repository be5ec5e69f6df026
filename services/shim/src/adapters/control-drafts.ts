/**
 * Derives control messages from a caller's request. Pure. Ids derive from content, so a hook that is retried, or sent to two
 * replicas, is one message. A call without new information yields no message, except one per interval that shows that the caller is
 * alive.
 *
 * A revision is named by the webhook's metadata (`revision` or `version`), or by Flagger's checksum from pre-rollout on. At
 * confirm-rollout the checksum is still the previous revision's. A name takes precedence over a checksum, because only some hooks
 * may have the metadata.
 */
import type { ControlContent } from "@aviary/shared/contract/control.ts";
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";
import { isOpenRun } from "@aviary/shared/contract/run.ts";
import { entryOf, type NamedRevision, type RequestSubject, type Standing, type StoredRuns } from "../response/standing.ts";
import type { Gate } from "./flagger-gates.ts";
import { type EventMeaning, type FlaggerCall, RUNNING_PHASES, readEventMessage } from "./flagger-payload.ts";

/** A control message without an id. `discriminator` separates two intended messages with equal content. */
export interface ControlDraft {
  readonly content: ControlContent;
  readonly discriminator: string;
}

/** The caller, and the ordinal of its interval. */
export interface ControlSender {
  readonly class: CallerClass;
  /** The token's id. */
  readonly id: string;
  /** The ordinal of the caller's interval; repetitions within an interval are one message. */
  readonly interval: number;
}

const CHECKSUM = "checksum:";
const checksumName = (call: FlaggerCall): string => `${CHECKSUM}${call.checksum.slice(0, 64)}`;
const runKey = ({ run }: StoredRuns): string => run?.id ?? "none";
const named = (revision: string | undefined) => (revision === undefined ? {} : { revision });

/** Phases without an analysis. A call in one of them is about the next revision. */
const BETWEEN_ANALYSES: ReadonlySet<string> = new Set(["Initialized", "Waiting", "Succeeded", "Failed"]);

/** The revision that a gate call is about. */
export function namedAtGate(call: FlaggerCall, gate: Gate, { run, revisions }: StoredRuns): NamedRevision {
  if (call.revision !== undefined) return { revision: call.revision };
  const last = run?.controller_revision ?? null;
  if (gate === "post-rollout")
    return last?.startsWith(CHECKSUM) === true ? { revision: checksumName(call) } : { revision: undefined };
  if (BETWEEN_ANALYSES.has(call.phase) && (last?.startsWith(CHECKSUM) === true || hasBegun(run))) {
    // A run named by a checksum was opened after confirm-rollout, and one that was shifting traffic is over for Flagger: this call is
    // about a newer revision with an unknown checksum.
    return { revision: undefined, isAnotherOne: true };
  }
  if (gate === "confirm-rollout" || call.checksum === "") return { revision: undefined };
  if (run === null || last === null || last.startsWith(CHECKSUM)) return { revision: checksumName(call) };
  const isTakenByName = isOpenRun(run) || (run.state === "aborted" && entryOf(last, revisions)?.ended_by !== "controller");
  return isTakenByName ? { revision: undefined } : { revision: checksumName(call) };
}

/** Whether Flagger has shifted traffic in this run, which is still analyzed: it asks confirm-rollout again only after its end. */
function hasBegun(run: StoredRuns["run"]): run is NonNullable<StoredRuns["run"]> {
  if (run === null || run.seat !== "flagger" || !isOpenRun(run) || run.state === "failed") return false;
  return run.gated || run.granted || run.promotion_granted || (run.weight_claims?.controller ?? 0) > 0;
}

/**
 * Drafts the end of a run whose report was lost: confirm-rollout shows it, because Flagger asks it only between two analyses, and its
 * phase is then the result of the last one. While Flagger waits, the result is unknown: no success without a granted promotion.
 */
export function lostEndDrafts(call: FlaggerCall, gate: Gate, runs: StoredRuns, sender: ControlSender): ControlDraft[] {
  const { run } = runs;
  if (gate !== "confirm-rollout" || !BETWEEN_ANALYSES.has(call.phase) || !hasBegun(run)) return [];
  const isSuccess = call.phase === "Succeeded" || (call.phase !== "Failed" && run.promotion_granted);
  return endDrafts(isSuccess ? "succeeded" : "failed", run.controller_revision ?? undefined, runs, sender);
}

export interface ReleaseDetails {
  readonly skillHash?: string | undefined;
  readonly gatewayVersion?: string | undefined;
  /** The gate whose call names the revision. */
  readonly gate?: Gate | undefined;
}

/** Gates that Flagger calls at weight 0 only. They can start another attempt. */
const FIRST_GATES: ReadonlySet<string> = new Set(["confirm-rollout", "pre-rollout"]);

/** Drafts the announcement of a revision without an open run, or of one that its caller keeps naming. */
export function announceDrafts(
  standing: Standing,
  details: ReleaseDetails,
  runs: StoredRuns,
  sender: ControlSender,
): ControlDraft[] {
  const { skillHash, gatewayVersion, gate } = details;
  const announce = (revision: string, discriminator: string): ControlDraft[] => {
    const release = {
      ...(skillHash === undefined ? {} : { skill_hash: skillHash }),
      ...(gatewayVersion === undefined ? {} : { gateway_version: gatewayVersion }),
      ...(gate === undefined ? {} : { gate }),
    };
    return [{ content: { verb: "announce", caller: sender.class, by: sender.id, revision, ...release }, discriminator }];
  };
  switch (standing.kind) {
    case "new":
      return standing.revision === undefined ? [] : announce(standing.revision, runKey(runs));
    case "open":
      // A measurement names its revision in every interval, which shows that its caller is alive.
      if (gate !== undefined || standing.run.controller_revision === null) return [];
      return announce(standing.run.controller_revision, `${runKey(runs)}/${sender.interval}`);
    case "over":
    case "earlier": {
      const name = standing.kind === "over" ? standing.run.controller_revision : standing.entry.name;
      if (name === null || (gate !== undefined && !FIRST_GATES.has(gate))) return [];
      return announce(name, `${runKey(runs)}/${sender.interval}`);
    }
  }
}

/** One call of a gate, and the decision. */
export interface GateCall {
  readonly call: FlaggerCall;
  readonly gate: Gate;
  readonly allowed: boolean;
  readonly subject: RequestSubject;
  readonly sender: ControlSender;
}

/**
 * Drafts the other information in a gate call: a weight of 0, a granted increase or promotion, the end of the run, and that the
 * caller is alive.
 */
export function gateDrafts({ call, gate, allowed, subject: { named: about, runs, standing }, sender }: GateCall): ControlDraft[] {
  if (gate === "post-rollout") {
    const result = call.phase === "Succeeded" ? "succeeded" : call.phase === "Failed" ? "failed" : undefined;
    return result === undefined ? [] : endDrafts(result, about.revision, runs, sender);
  }
  const run = standing.kind === "open" ? standing.run : null;
  const isNews =
    run === null
      ? gate === "pre-rollout" || gate === "confirm-traffic-increase"
      : (gate === "pre-rollout" && (run.weight !== 0 || run.granted)) ||
        (gate === "confirm-traffic-increase" && (!run.gated || (allowed && !run.granted))) ||
        (gate === "confirm-promotion" && allowed && !run.promotion_granted);
  // A fact that was undone may recur within the interval, as another message.
  const discriminator = `${runKey(runs)}/${sender.interval}/${run?.granted ?? "-"}/${run?.weight ?? "-"}`;
  const from = { caller: sender.class, by: sender.id, ...named(about.revision) };
  if (isNews) return [{ content: { verb: "gate", gate, allowed, ...from }, discriminator }];
  if (run === null || !RUNNING_PHASES.has(call.phase)) return [];
  return [{ content: { verb: "phase", phase: call.phase, ...from }, discriminator }];
}

/** Drafts the information in an event: weight, phase, and the end of the run. An event opens no run. */
export function eventDrafts(call: FlaggerCall, runs: StoredRuns, sender: ControlSender): ControlDraft[] {
  const from = { caller: sender.class, by: sender.id };
  const isRunning = RUNNING_PHASES.has(call.phase);
  const meaning: EventMeaning | undefined = call.event && readEventMessage(call.event.message);
  if (meaning?.kind === "end") return endDrafts(meaning.result, endedRevision(call, runs), runs, sender);
  const known = runs.run !== null && isOpenRun(runs.run) ? (runs.run.controller_revision ?? undefined) : undefined;
  const about = isRunning ? named(call.revision ?? known) : {};
  const drafts: ControlDraft[] = [];
  if (meaning?.kind === "weight") {
    // The event's timestamp separates two equal weights and deduplicates two deliveries.
    const discriminator = call.event?.timestamp || runKey(runs);
    drafts.push({ content: { verb: "weight", weight: meaning.weight, ...from, ...about }, discriminator });
  }
  if (isRunning) drafts.push({ content: { verb: "phase", phase: call.phase, ...from, ...about }, discriminator: runKey(runs) });
  return drafts;
}

function endedRevision(call: FlaggerCall, { run }: StoredRuns): string | undefined {
  if (call.revision !== undefined) return call.revision;
  return run?.controller_revision?.startsWith(CHECKSUM) === true && call.checksum !== "" ? checksumName(call) : undefined;
}

/**
 * Drafts the end of a revision. It is reported once per attempt. Without a verdict the message is stored anyway, because the evaluator
 * may have a newer state.
 */
export function endDrafts(
  result: "succeeded" | "failed",
  revision: string | undefined,
  runs: StoredRuns,
  sender: ControlSender,
): ControlDraft[] {
  const name = revision ?? runs.run?.controller_revision;
  const entry = entryOf(name, runs.revisions);
  if (runs.run !== null && !isOpenRun(runs.run) && entry?.end_reported !== false) return [];
  // A message that is stored late must not end the next run.
  const content: ControlContent = { verb: "end", caller: sender.class, by: sender.id, result, ...named(name ?? undefined) };
  return [{ content, discriminator: runKey(runs) }];
}
