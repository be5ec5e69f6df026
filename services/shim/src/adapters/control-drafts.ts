/**
 * What a caller's request tells us, as control messages. Pure. Ids come from content, so a hook that is retried, or asked of two replicas, is one message;
 * a call that names nothing new says nothing.
 *
 * A revision is named by the webhook's metadata (`revision` or `version`), or else by Flagger's checksum from pre-rollout on; while confirm-rollout is
 * asked the checksum is still the previous revision's. A checksum never competes with a name: hooks may carry the metadata on some and not on others.
 */
import type { ControlContent } from "@aviary/shared/contract/control.ts";
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";
import type { RunView } from "@aviary/shared/contract/verdict.ts";
import { CONFIRM_GATES, type Gate } from "./flagger-gates.ts";
import { type EventMeaning, type FlaggerCall, RUNNING_PHASES, readEventMessage } from "./flagger-payload.ts";

/** A control message in the making; `discriminator` tells two equal sayings apart that are meant twice. */
export interface ControlDraft {
  readonly content: ControlContent;
  readonly discriminator: string;
}

/** What of a run decides whether something is news. */
export type KnownRun = Pick<RunView, "id" | "state" | "canary_active" | "controller_revision" | "gated"> | null;

/** What a request calls the revision, and whether the stored verdict can be about it. */
export interface NamedRevision {
  /** Undefined: the request names none. */
  readonly revision: string | undefined;
  /** True when the stored verdict is about another revision, or about none. */
  readonly unseen: boolean;
}

const CHECKSUM = "checksum:";
const NOTHING_NAMED: NamedRevision = { revision: undefined, unseen: false };

const isOpen = (run: NonNullable<KnownRun>): boolean => run.state === "pending" || run.canary_active;
const runKey = (run: KnownRun): string => run?.id ?? "none";

/** A revision that the caller names itself: Argo's `revision`, Flagger's metadata. */
export function namedByCaller(revision: string | undefined, run: KnownRun): NamedRevision {
  return revision === undefined ? NOTHING_NAMED : { revision, unseen: run?.controller_revision !== revision };
}

/** Phases in which Flagger has started no analysis: what it talks of then is the next revision. */
const BETWEEN_ANALYSES: ReadonlySet<string> = new Set(["Initialized", "Waiting", "Succeeded", "Failed"]);

/** The revision that a gate call is about. */
export function namedAtGate(call: FlaggerCall, gate: Gate, run: KnownRun): NamedRevision {
  if (call.revision !== undefined) return namedByCaller(call.revision, run);
  const last = run?.controller_revision ?? null;
  if (BETWEEN_ANALYSES.has(call.phase) && last?.startsWith(CHECKSUM) === true && gate !== "post-rollout") {
    // A run that goes by a checksum was opened after confirm-rollout, so this is about a newer revision, whose checksum nobody knows yet.
    return { revision: undefined, unseen: true };
  }
  if (gate === "confirm-rollout" || gate === "post-rollout" || call.checksum === "") return NOTHING_NAMED;
  const revision = `${CHECKSUM}${call.checksum.slice(0, 64)}`;
  if (run === null || last === null || last.startsWith(CHECKSUM)) return namedByCaller(revision, run);
  const takenByName = isOpen(run) || run.state === "aborted";
  return takenByName ? NOTHING_NAMED : { revision, unseen: true };
}

interface ReleaseDetails {
  readonly revision: string | undefined;
  readonly skillHash?: string | undefined;
  readonly gatewayVersion?: string | undefined;
}

/** The announcement of a revision that the stored verdict does not speak of. */
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

/** What a gate call tells, apart from the revision: that the gate was asked, and the end of the run. */
export function gateDrafts(
  call: FlaggerCall,
  gate: Gate,
  allowed: boolean,
  named: NamedRevision,
  run: KnownRun,
  caller: CallerClass,
): ControlDraft[] {
  const revision = named.revision === undefined ? {} : { revision: named.revision };
  if (gate === "post-rollout") {
    const result = call.phase === "Succeeded" ? "succeeded" : call.phase === "Failed" ? "failed" : undefined;
    return result === undefined ? [] : endDrafts(result, run, caller);
  }
  if (gate === "rollback") return [];
  const about = named.unseen ? null : run;
  const firstConfirm = CONFIRM_GATES.has(gate) && !(about?.gated ?? false);
  // In `pending` a gate that was opened is how the run learns that the controller goes on.
  const goesOn = allowed && (about === null || about.state === "pending");
  if (!firstConfirm && !goesOn) return [];
  const discriminator = `${runKey(run)}/${named.revision ?? ""}`;
  return [{ content: { verb: "gate", caller, gate, allowed, ...revision }, discriminator }];
}

/** What an event tells: weight, phase, the end of the run. */
export function eventDrafts(call: FlaggerCall, run: KnownRun, caller: CallerClass): ControlDraft[] {
  const running = RUNNING_PHASES.has(call.phase);
  const named = running ? namedByCaller(call.revision, run) : NOTHING_NAMED;
  const revision = named.revision === undefined ? {} : { revision: named.revision };
  const sayings = announceDrafts(named, call, run, caller);
  const news: EventMeaning | undefined = call.event && readEventMessage(call.event.message);
  if (news?.kind === "weight") {
    // The event's own time tells two equal weights apart and joins two deliveries of one.
    const discriminator = call.event?.timestamp || runKey(run);
    sayings.push({ content: { verb: "weight", caller, weight: news.weight, ...revision }, discriminator });
  }
  if (news?.kind === "end") return [...sayings, ...endDrafts(news.result, run, caller)];
  if (running) sayings.push({ content: { verb: "phase", caller, phase: call.phase, ...revision }, discriminator: runKey(run) });
  return sayings;
}

function endDrafts(result: "succeeded" | "failed", run: KnownRun, caller: CallerClass): ControlDraft[] {
  // A run that is over cannot end again; where no verdict is known the message is written, because it may be news to the evaluator.
  if (run !== null && !isOpen(run)) return [];
  return [{ content: { verb: "end", caller, result }, discriminator: runKey(run) }];
}
