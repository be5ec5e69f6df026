/** The verdict as JSON, shared by the dialects. Always 200 for an authenticated caller. */
import { parseJson } from "../request/body.ts";
import { identityOfQuery, mergeIdentity, readIdentity } from "../request/canary-lookup.ts";
import { closeJson, REQUEST_BYTES } from "../response/answer-json.ts";
import {
  announceRevision,
  type CallOrigin,
  claimRole,
  locateCanary,
  measurementAnswer,
  measurementIndexOf,
  storedRuns,
} from "../response/canary-answer.ts";
import { jsonBytes } from "../response/reply.ts";
import { requestSubject } from "../response/standing.ts";
import type { AnalysisConcern } from "../response/verdict-answer.ts";
import type { Call, HandlerResult, Route, ShimContext } from "../route.ts";

const KEYS = { flagger: "flagger", rollouts: "rollout", keda: "keda" } as const;

/** The canary that a request names, in its body or its query. */
export function identityOfRequest(call: Call) {
  const fromQuery = identityOfQuery(call.query);
  const parsed = call.body === "" ? undefined : parseJson(call.body);
  if (typeof parsed !== "object" || parsed === null) return fromQuery;
  return mergeIdentity(
    readIdentity((key) => (Object.hasOwn(parsed, key) ? (parsed as Record<string, unknown>)[key] : undefined)),
    fromQuery,
  );
}

function handleMeasurement(origin: CallOrigin, concern?: AnalysisConcern) {
  return (call: Call, context: ShimContext): HandlerResult => {
    const identity = identityOfRequest(call);
    const found = locateCanary(call, identity, context);
    if ("forbidden" in found) return found;
    const subject = requestSubject(identity, storedRuns(found.canary, context));
    const prepared = measurementAnswer(call, found, subject, context);
    const shown = concern === undefined ? prepared : prepared.concern(concern);
    const { canary } = found;
    if (canary === undefined) {
      const parts = { key: KEYS[origin.dialect], label: found.name, index: 0, caller: call.caller.class, conflict: false };
      return jsonBytes(closeJson(shown.open(REQUEST_BYTES), parts));
    }
    announceRevision(call, canary, subject, origin, context);
    return jsonBytes(
      closeJson(shown.open(REQUEST_BYTES), {
        key: KEYS[origin.dialect],
        label: canary.ref.name,
        index: measurementIndexOf(canary, call.caller.class, origin, context),
        caller: call.caller.class,
        conflict: claimRole(call.caller, canary, origin, context),
      }),
    );
  };
}

export interface VerdictRoute {
  readonly path: string;
  readonly summary: string;
  readonly origin: CallOrigin;
  /** Judged by this concern only. */
  readonly concern?: AnalysisConcern;
}

/** A route that returns the verdict; each call is a measurement of the caller's analysis. */
export function verdictRoute({ path, summary, origin, concern }: VerdictRoute): Route {
  return { path, methods: ["GET", "POST"], summary, responseKind: "verdict", handle: handleMeasurement(origin, concern) };
}
