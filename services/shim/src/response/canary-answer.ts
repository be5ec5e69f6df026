/** One measurement: from a request to the answer that it gets, with everything that belongs to the request. */
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";
import { incident } from "@aviary/shared/contract/incident.ts";
import { announceDrafts, type NamedRevision, namedByCaller } from "../adapters/control-drafts.ts";
import type { Seat } from "../auth/seats.ts";
import type { Caller } from "../auth/tokens.ts";
import { mayAccess } from "../auth/tokens.ts";
import { hostOf } from "../request/body.ts";
import { type CanaryIdentity, type CanaryLookup, findCanary, servedOn } from "../request/canary-lookup.ts";
import type { Call, Context, Forbidden } from "../route.ts";
import { type Canary, type PreparedAnswer, prepare } from "../view.ts";
import { measurementIndex } from "./answer-json.ts";
import { absentAnswer, unseenRevisionAnswer } from "./verdict-answer.ts";

/** Where a route stands: which controller it is for, and which seat of the canary asking it takes. */
export interface CallOrigin {
  readonly dialect: "flagger" | "rollouts" | "keda";
  readonly seat: Seat;
}

/** The interval between two calls where the fleet file names none. */
const DEFAULT_INTERVAL_MS = 60_000;

/** The canaries that a caller may ask about. */
export function visibleTo(caller: Caller, context: Context): readonly Canary[] {
  const all = [...context.view.canaries.values()];
  return caller.namespaces === null ? all : all.filter(({ ref }) => mayAccess(caller, ref.namespace));
}

/** Finds the canary that a request means, or says that the caller has no right to it. */
export function locateCanary({ caller, request }: Call, identity: CanaryIdentity, context: Context): CanaryLookup | Forbidden {
  const { namespace, name } = identity;
  if (namespace !== undefined && !mayAccess(caller, namespace)) {
    return { forbidden: `the token ${caller.id} may not ask about namespace ${namespace.slice(0, 63)}` };
  }
  if (namespace !== undefined && name !== undefined) {
    const canary = context.view.canaries.get(`${namespace}/${name}`);
    if (canary !== undefined && (canary.entry.hosts.length === 0 || servedOn(canary.entry, hostOf(request)))) return { canary };
  }
  return findCanary(visibleTo(caller, context), identity, hostOf(request));
}

/** What is answered about what was found; `named` is the revision that the request names, if any. */
export function answerFor(found: CanaryLookup, named: (canary: Canary) => NamedRevision, context: Context): PreparedAnswer {
  if (found.canary === undefined) {
    const { namespace, name, text } = found;
    return prepare(absentAnswer({ namespace, name, fleet: "", code: "unknown_canary", text, nowMs: context.clock.now() }));
  }
  const prepared = context.view.prepared(found.canary);
  const { revision, unseen } = named(found.canary);
  return unseen ? prepare(unseenRevisionAnswer(prepared.answer, revision)) : prepared;
}

/** The revision that a measurement names, compared with the last run that is known. */
export function namedRevision(canary: Canary, revision: string | undefined, context: Context): NamedRevision {
  return namedByCaller(revision, context.view.record(canary.key)?.body.run ?? null);
}

/** Tells the evaluator, in the background, about a revision that a controller's measurement names for the first time. People's questions tell nothing. */
export function announceRevision(caller: Caller, canary: Canary, named: NamedRevision, context: Context): void {
  if (caller.class === "operator") return;
  const run = context.view.record(canary.key)?.body.run ?? null;
  const sayings = announceDrafts(named, { revision: named.revision }, run, caller.class);
  if (sayings.length > 0) void context.outbox.store(canary, sayings);
}

/** How often a class asks about a canary, milliseconds; people count as the controller whose route they use, so both see the same number. */
export function intervalMs(canary: Canary, caller: CallerClass, origin: CallOrigin): number {
  const asked = caller === "operator" ? origin.dialect : caller;
  return canary.entry.callers[asked]?.interval ?? DEFAULT_INTERVAL_MS;
}

/** The number of this measurement. */
export function measurementIndexOf(canary: Canary, caller: CallerClass, origin: CallOrigin, context: Context): number {
  const sinceMs = context.view.runSinceMs(canary.key);
  return measurementIndex(sinceMs, context.clock.now(), intervalMs(canary, caller, origin));
}

/** Takes the seat; true when another controller class holds it, which is also reported once a run. */
export function claimSeat(caller: Caller, canary: Canary, origin: CallOrigin, context: Context): boolean {
  const { seats, clock, view, outbox } = context;
  const holder = seats.claim(canary.key, origin.seat, caller.class, clock.monotonicMs());
  if (holder === undefined) return false;
  const run = view.record(canary.key)?.body.run?.id ?? "none";
  const subject = { ...canary.ref, fleet: canary.entry.fleet };
  const at = new Date(clock.now()).toISOString();
  outbox.storeIncident(
    incident(
      "caller_conflict",
      at,
      `${origin.seat}|${holder}|${caller.class}|${run}`,
      { subject },
      {
        seat: origin.seat,
        holder,
        second: caller.class,
        token: caller.id,
        measurement_index: measurementIndexOf(canary, caller.class, origin, context),
      },
    ),
  );
  return true;
}
