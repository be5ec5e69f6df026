/** The JSON answer for Argo Rollouts' web provider, KEDA's metrics-api and operators. Always 200 for an authenticated caller. */
import type { ReasonCode } from "@aviary/shared/contract/reasons.ts";
import { parseJson } from "../request/body.ts";
import { identityOfQuery, mergeIdentity, readIdentity } from "../request/canary-lookup.ts";
import { closeJson, REQUEST_BYTES, REQUEST_BYTES_WITH_LANE, type Scale } from "../response/answer-json.ts";
import {
  announceRevision,
  answerFor,
  type CallOrigin,
  claimRole,
  locateCanary,
  measurementIndexOf,
  namedRevision,
} from "../response/canary-answer.ts";
import { jsonBytes } from "../response/reply.ts";
import { ANALYSIS_CONCERNS, type AnalysisConcern, type VerdictAnswer } from "../response/verdict-answer.ts";
import type { Call, HandlerResult, Route, ShimContext } from "../route.ts";

const FLAGGER: CallOrigin = { dialect: "flagger", role: "judge" };
const ROLLOUTS: CallOrigin = { dialect: "rollouts", role: "judge" };
const KEDA: CallOrigin = { dialect: "keda", role: "scale" };
const KEYS = { flagger: "flagger", rollouts: "rollout", keda: "keda" } as const;

function identityOf(call: Call) {
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
    const identity = identityOf(call);
    const found = locateCanary(call, identity, context);
    if ("forbidden" in found) return found;
    const prepared = answerFor(found, (canary) => namedRevision(canary, identity.revision, context), context);
    const shown = concern === undefined ? prepared : prepared.concern(concern);
    const { canary } = found;
    if (canary === undefined) {
      const parts = { key: KEYS[origin.dialect], label: found.name, index: 0, caller: call.caller.class, conflict: false };
      return jsonBytes(closeJson(shown.open(REQUEST_BYTES), parts));
    }
    announceRevision(call.caller, canary, namedRevision(canary, identity.revision, context), context);
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

/**
 * The lane as KEDA reads it. Without a fresh verdict the lane may not grow; its depth stays the last one, which keeps the replicas.
 * @param canary the key of the lane's canary, if it has one
 */
function scaleOf(lane: string, canary: string | undefined, answer: VerdictAnswer, context: ShimContext): Scale {
  const record = canary === undefined ? undefined : context.view.lane(lane);
  const unavailable = unavailableCode(answer);
  if (record === undefined) {
    return {
      lane,
      canary: canary ?? "",
      at: new Date(context.clock.now()).toISOString(),
      depth: null,
      depth_true: null,
      replicas: null,
      max_replicas: null,
      changed_at: null,
      allow: 0,
      degraded_ticks: 0,
      // A running evaluator publishes every lane: without a record it has just started.
      reasons: [canary === undefined ? "unknown_canary" : (unavailable ?? "not_ready")],
    };
  }
  const reasons = record.reasons.map(({ code }) => code);
  return unavailable === undefined ? { ...record, reasons } : { ...record, allow: 0, reasons: [unavailable, ...reasons] };
}

/** A latched fail is served without a reason for being stale; only an evaluator that is down makes one stale for long. */
function unavailableCode({ body, stale }: VerdictAnswer): ReasonCode | undefined {
  if (!stale) return undefined;
  return body.reasons.some(({ code }) => code === "not_ready") ? "not_ready" : "evaluator_down";
}

/** Serves a lane: the one that the query names, or the first of the canary. */
function handleLane(call: Call, context: ShimContext): HandlerResult {
  const requested = call.query.get("lane")?.slice(0, 63) ?? undefined;
  const owner = [...context.view.canaries.values()].find(
    ({ entry }) => requested !== undefined && entry.lanes.includes(requested),
  );
  const identity = owner === undefined ? identityOf(call) : { ...owner.ref, revision: undefined };
  const found = locateCanary(call, identity, context);
  if ("forbidden" in found) return found;
  const isKnownLane = requested === undefined || owner !== undefined;
  const lookup = isKnownLane ? found : { namespace: "", name: "", text: `no canary has a lane ${requested}` };
  const prepared = answerFor(lookup, () => ({ revision: undefined, unseen: false }), context);
  const { canary } = lookup;
  const lane = requested ?? canary?.entry.lanes[0] ?? "";
  const scale = scaleOf(lane, canary?.key, prepared.answer, context);
  return jsonBytes(
    closeJson(prepared.open(REQUEST_BYTES_WITH_LANE), {
      key: "keda",
      label: lane,
      index: canary === undefined ? 0 : measurementIndexOf(canary, call.caller.class, KEDA, context),
      caller: call.caller.class,
      conflict: canary !== undefined && claimRole(call.caller, canary, KEDA, context),
      scale,
    }),
  );
}

const both = ["GET", "POST"] as const;

export const JSON_ROUTES: readonly Route[] = [
  {
    path: "/rollouts/analysis",
    methods: both,
    summary: "The verdict, for Argo Rollouts' web provider",
    responseKind: "verdict",
    handle: handleMeasurement(ROLLOUTS),
  },
  ...ANALYSIS_CONCERNS.map(
    (concern): Route => ({
      path: `/rollouts/analysis/${concern}`,
      methods: both,
      summary: `The verdict judged by ${concern} alone`,
      responseKind: "verdict",
      handle: handleMeasurement(ROLLOUTS, concern),
    }),
  ),
  {
    path: "/flagger/metrics",
    methods: both,
    summary: "The verdict, for operators who use Flagger",
    responseKind: "verdict",
    handle: handleMeasurement(FLAGGER),
  },
  {
    path: "/keda/metrics",
    methods: both,
    summary: "The verdict and a lane's gated depth, for KEDA's metrics-api",
    responseKind: "verdict",
    handle: handleLane,
  },
];
