/** Resolves a request to its canary and its answer: visibility, revision, measurement index, caller role. */
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";
import { incident } from "@aviary/shared/contract/incident.ts";
import { announceDrafts, type ControlSender } from "../adapters/control-drafts.ts";
import type { CallerRole } from "../auth/caller-roles.ts";
import type { Caller } from "../auth/tokens.ts";
import { mayAccess } from "../auth/tokens.ts";
import { hostOf } from "../request/body.ts";
import { type CanaryIdentity, type CanaryLookup, findCanary, isServedOn } from "../request/canary-lookup.ts";
import type { Call, Forbidden, ShimContext } from "../route.ts";
import type { Canary } from "../view.ts";
import { measurementIndex } from "./answer-json.ts";
import { type PreparedAnswer, prepare } from "./prepared-answer.ts";
import { isRetry, mayChangeRun, NO_RUNS, type RequestSubject, type StoredRuns } from "./standing.ts";
import { absentAnswer, earlierRevisionAnswer, newRevisionAnswer } from "./verdict-answer.ts";

/** The controller that a route serves, and the role that a call claims. */
export interface CallOrigin {
  readonly dialect: "flagger" | "rollouts" | "keda";
  readonly role: CallerRole;
}

/** The polling interval if the fleet file sets none. */
const DEFAULT_INTERVAL_MS = 60_000;

/** The canaries that a caller may read. */
export function visibleTo(caller: Caller, context: ShimContext): readonly Canary[] {
  const all = [...context.view.canaries.values()];
  return caller.namespaces === null ? all : all.filter(({ ref }) => mayAccess(caller, ref.namespace));
}

/** Finds the canary of a request, or reports that the caller has no access to it. */
export function locateCanary(
  { caller, request }: Call,
  identity: CanaryIdentity,
  context: ShimContext,
): CanaryLookup | Forbidden {
  const { namespace, name } = identity;
  if (namespace !== undefined && !mayAccess(caller, namespace)) {
    return { forbidden: `the token ${caller.id} may not read namespace ${namespace.slice(0, 63)}` };
  }
  if (namespace !== undefined && name !== undefined) {
    const canary = context.view.canaries.get(`${namespace}/${name}`);
    if (canary !== undefined && (canary.entry.hosts.length === 0 || isServedOn(canary.entry, hostOf(request)))) return { canary };
  }
  return findCanary(visibleTo(caller, context), identity, hostOf(request));
}

/** The runs of the stored verdict of a canary. */
export function storedRuns(canary: Canary | undefined, context: ShimContext): StoredRuns {
  const record = canary === undefined ? undefined : context.view.record(canary.key);
  return record === undefined ? NO_RUNS : { run: record.body.run, revisions: record.revisions };
}

/** The answer to a request that names no revision. */
export function presentAnswer(found: CanaryLookup, context: ShimContext): PreparedAnswer {
  if (found.canary !== undefined) return context.view.prepared(found.canary);
  const { namespace, name, text } = found;
  return prepare(absentAnswer({ namespace, name, fleet: "", code: "unknown_canary", text, nowMs: context.clock.now() }));
}

/** The answer to a request that may name a revision. */
export function answerFor(found: CanaryLookup, { named, standing }: RequestSubject, context: ShimContext): PreparedAnswer {
  const prepared = presentAnswer(found, context);
  if (found.canary === undefined || (named.revision === undefined && named.isAnotherOne !== true)) return prepared;
  switch (standing.kind) {
    case "open":
    case "over":
      return prepared;
    case "earlier":
      return prepare(earlierRevisionAnswer(prepared.answer, standing));
    case "new":
      return prepare(newRevisionAnswer(prepared.answer, standing.revision));
  }
}

/** The answer to a measurement: as `answerFor`, but a retry of Argo Rollouts waits for its next attempt. */
export function measurementAnswer(
  { caller }: Call,
  found: CanaryLookup,
  subject: RequestSubject,
  context: ShimContext,
): PreparedAnswer {
  const { named, runs } = subject;
  const isJudging = found.canary !== undefined && mayChangeRun(caller.class, found.canary.entry.judge, runs.run);
  if (caller.class !== "rollouts" || !isJudging || named.revision === undefined || !isRetry(subject))
    return answerFor(found, subject, context);
  return prepare(newRevisionAnswer(presentAnswer(found, context).answer, named.revision));
}

/**
 * Stores, in the background, that a controller's measurement names a revision. Only the judging caller's measurements count;
 * operators announce nothing.
 */
export function announceRevision(
  { caller }: Call,
  canary: Canary,
  { named, runs, standing }: RequestSubject,
  origin: CallOrigin,
  context: ShimContext,
): void {
  if (named.revision === undefined || !mayChangeRun(caller.class, canary.entry.judge, runs.run)) return;
  const drafts = announceDrafts(standing, {}, runs, senderOf(caller, canary, origin, context));
  if (drafts.length > 0) void context.controlWriter.store(canary, drafts);
}

/** The sender of control messages. */
export function senderOf(caller: Caller, canary: Canary, origin: CallOrigin, { clock }: ShimContext): ControlSender {
  const intervalMs = pollingIntervalMs(canary, caller.class, origin);
  return { class: caller.class, id: caller.id, interval: Math.floor(clock.now() / intervalMs) };
}

/** The polling interval of a caller class. An operator gets the interval of the route's controller, so both get the same index. */
export function pollingIntervalMs(canary: Canary, caller: CallerClass, origin: CallOrigin): number {
  const controller = caller === "operator" ? origin.dialect : caller;
  return canary.entry.callers[controller]?.interval ?? DEFAULT_INTERVAL_MS;
}

/** The index of this measurement. */
export function measurementIndexOf(canary: Canary, caller: CallerClass, origin: CallOrigin, context: ShimContext): number {
  const sinceMs = context.view.runSinceMs(canary.key);
  return measurementIndex(sinceMs, context.clock.now(), pollingIntervalMs(canary, caller, origin));
}

/** Claims the role; true if another controller class holds it, which raises one incident per run. */
export function claimRole(caller: Caller, canary: Canary, origin: CallOrigin, context: ShimContext): boolean {
  const { roles, clock, view, controlWriter } = context;
  const holder = roles.claim(canary.key, origin.role, caller.class, clock.monotonicMs());
  if (holder === undefined) return false;
  const run = view.record(canary.key)?.body.run?.id ?? "none";
  const subject = { ...canary.ref, fleet: canary.entry.fleet };
  const at = new Date(clock.now()).toISOString();
  controlWriter.storeIncident(
    incident(
      "caller_conflict",
      at,
      `${origin.role}|${holder}|${caller.class}|${run}`,
      { subject },
      {
        seat: origin.role,
        holder,
        second: caller.class,
        token: caller.id,
        measurement_index: measurementIndexOf(canary, caller.class, origin, context),
      },
    ),
  );
  return true;
}
