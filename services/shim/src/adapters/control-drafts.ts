/**
 * Derives control messages from a caller's request. Pure. Ids derive from content: a hook that is retried, or sent to two replicas, is one
 * message. A call without new information yields none.
 *
 * A revision is named by the webhook's metadata (`revision` or `version`), or from pre-rollout on by Flagger's checksum. At confirm-rollout
 * the checksum is still the previous revision's. A name takes precedence over a checksum, because only some hooks may carry the metadata.
 */
import type { ControlContent } from "@aviary/shared/contract/control.ts";
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";
import { isOpenRun } from "@aviary/shared/contract/run.ts";
import type { RunView } from "@aviary/shared/contract/verdict.ts";
import { CONFIRM_GATES, type Gate } from "./flagger-gates.ts";
import { type EventMeaning, type FlaggerCall, RUNNING_PHASES, readEventMessage } from "./flagger-payload.ts";

/** A control message without an id; `discriminator` separates equal content that is intended twice. */
export interface ControlDraft {
  readonly content: ControlContent;
  readonly discriminator: string;
}

/** The fields of a run that decide whether a call carries new information. */
export type KnownRun = Pick<RunView, "id" | "state" | "canary_active" | "controller_revision" | "gated"> | null;

/** The revision that a request names, and whether the stored verdict is about it. */
export interface NamedRevision {
  /** Undefined if the request names none. */
  readonly revision: string | undefined;
  /** True if the stored verdict is about another revision, or about none. */
  readonly unseen: boolean;
}

const CHECKSUM = "checksum:";
const NOTHING_NAMED: NamedRevision = { revision: undefined, unseen: false };

const runKey = (run: KnownRun): string => run?.id ?? "none";

/** A revision that the caller names explicitly: Argo's `revision`, Flagger's metadata. */
export function namedByCaller(revision: string | undefined, run: KnownRun): NamedRevision {
  return revision === undefined ? NOTHING_NAMED : { revision, unseen: run?.controller_revision !== revision };
}

/** Phases without an analysis: a call in one of them is about the next revision. */
const BETWEEN_ANALYSES: ReadonlySet<string> = new Set(["Initialized", "Waiting", "Succeeded", "Failed"]);

/** The revision that a gate call is about. */
export function namedAtGate(call: FlaggerCall, gate: Gate, run: KnownRun): NamedRevision {
  if (call.revision !== undefined) return namedByCaller(call.revision, run);
  const last = run?.controller_revision ?? null;
  if (BETWEEN_ANALYSES.has(call.phase) && last?.startsWith(CHECKSUM) === true && gate !== "post-rollout") {
    // A run identified by a checksum was opened after confirm-rollout, so this call is about a newer revision with an unknown checksum.
    return { revision: undefined, unseen: true };
  }
  if (gate === "confirm-rollout" || gate === "post-rollout" || call.checksum === "") return NOTHING_NAMED;
  const revision = `${CHECKSUM}${call.checksum.slice(0, 64)}`;
  if (run === null || last === null || last.startsWith(CHECKSUM)) return namedByCaller(revision, run);
  const takenByName = isOpenRun(run) || run.state === "aborted";
  return takenByName ? NOTHING_NAMED : { revision, unseen: true };
}

interface ReleaseDetails {
  readonly revision: string | undefined;
  readonly skillHash?: string | undefined;
  readonly gatewayVersion?: string | undefined;
}

/** Drafts the announcement of a revision without a verdict. */
export function announceDrafts(
  named: NamedRevision,
  details: ReleaseDetails,
  run: KnownRun,
  caller: CallerClass,
): ControlDraft[] {
  if (!named.unseen || named.revision === undefined) return [];
  const content: ControlContent = {
    verb: "announce",
    caller,
    revision: named.revision,
    ...(details.skillHash === undefined ? {} : { skill_hash: details.skillHash }),
    ...(details.gatewayVersion === undefined ? {} : { gateway_version: details.gatewayVersion }),
  };
  return [{ content, discriminator: runKey(run) }];
}

/** One call of a gate, and what was decided. */
export interface GateCall {
  readonly call: FlaggerCall;
  readonly gate: Gate;
  readonly allowed: boolean;
  readonly named: NamedRevision;
  readonly run: KnownRun;
  readonly caller: CallerClass;
}

/** Drafts what a gate call reveals besides the revision: that the gate was called, and the end of the run. */
export function gateDrafts({ call, gate, allowed, named, run, caller }: GateCall): ControlDraft[] {
  const revision = named.revision === undefined ? {} : { revision: named.revision };
  if (gate === "post-rollout") {
    const result = call.phase === "Succeeded" ? "succeeded" : call.phase === "Failed" ? "failed" : undefined;
    return result === undefined ? [] : endDrafts(result, run, caller);
  }
  if (gate === "rollback") return [];
  const about = named.unseen ? null : run;
  const firstConfirm = CONFIRM_GATES.has(gate) && !(about?.gated ?? false);
  // In `pending`, an allowed gate signals the run that the controller proceeds.
  const goesOn = allowed && (about === null || about.state === "pending");
  if (!firstConfirm && !goesOn) return [];
  const discriminator = `${runKey(run)}/${named.revision ?? ""}`;
  return [{ content: { verb: "gate", caller, gate, allowed, ...revision }, discriminator }];
}

/** Drafts what an event reveals: weight, phase, the end of the run. */
export function eventDrafts(call: FlaggerCall, run: KnownRun, caller: CallerClass): ControlDraft[] {
  const running = RUNNING_PHASES.has(call.phase);
  const named = running ? namedByCaller(call.revision, run) : NOTHING_NAMED;
  const revision = named.revision === undefined ? {} : { revision: named.revision };
  const drafts = announceDrafts(named, call, run, caller);
  const meaning: EventMeaning | undefined = call.event && readEventMessage(call.event.message);
  if (meaning?.kind === "weight") {
    // The event's timestamp separates two equal weights and deduplicates two deliveries.
    const discriminator = call.event?.timestamp || runKey(run);
    drafts.push({ content: { verb: "weight", caller, weight: meaning.weight, ...revision }, discriminator });
  }
  if (meaning?.kind === "end") return [...drafts, ...endDrafts(meaning.result, run, caller)];
  if (running) drafts.push({ content: { verb: "phase", caller, phase: call.phase, ...revision }, discriminator: runKey(run) });
  return drafts;
}

function endDrafts(result: "succeeded" | "failed", run: KnownRun, caller: CallerClass): ControlDraft[] {
  // A closed run cannot end again. Without a known verdict the message is stored: the evaluator may know more.
  if (run !== null && !isOpenRun(run)) return [];
  return [{ content: { verb: "end", caller, result }, discriminator: runKey(run) }];
}
