/** The dialect of KEDA: a lane's gated depth with the verdict for its metrics-api scaler, and the verdict for its Prometheus scaler. */
import { LEASE_STALE_MS } from "@aviary/shared/contract/lease.ts";
import type { ReasonCode } from "@aviary/shared/contract/reasons.ts";
import { closeJson, REQUEST_BYTES_WITH_LANE, type Scale } from "../response/answer-json.ts";
import { type CallOrigin, claimRole, locateCanary, measurementIndexOf, presentAnswer } from "../response/canary-answer.ts";
import { jsonBytes } from "../response/reply.ts";
import type { VerdictAnswer } from "../response/verdict-answer.ts";
import type { Call, HandlerResult, Route, ShimContext } from "../route.ts";
import { prometheusRoute } from "./prometheus.ts";
import { identityOfRequest } from "./verdict-json.ts";

const origin: CallOrigin = { dialect: "keda", role: "scale" };

/** Ticks of a lane without a new record after which its record is too old; the evaluator writes one at every tick. */
const STALE_AFTER_TICKS = 3;

/**
 * The lane as KEDA reads it. Without a fresh verdict and a fresh record the lane must not grow; the depth stays the last one, which
 * keeps the replicas.
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
      // A running evaluator publishes every lane, so without a record it has just started.
      reasons: [canary === undefined ? "unknown_canary" : (unavailable ?? "not_ready")],
    };
  }
  const reasons = record.reasons.map(({ code }) => code);
  const { pollingInterval } = context.fleet.lanes[lane]!;
  const isOld = context.clock.now() - Date.parse(record.at) > STALE_AFTER_TICKS * pollingInterval + LEASE_STALE_MS;
  const blockedBy = unavailable ?? (isOld ? "stale" : undefined);
  return blockedBy === undefined ? { ...record, reasons } : { ...record, allow: 0, reasons: [blockedBy, ...reasons] };
}

/** A latched failure is served without a reason for its staleness; only an evaluator that is down makes it permanently stale. */
function unavailableCode({ body, stale }: VerdictAnswer): ReasonCode | undefined {
  if (!stale) return undefined;
  return body.reasons.some(({ code }) => code === "not_ready") ? "not_ready" : "evaluator_down";
}

/** Serves the lane that the query names, or the canary's first lane. */
function handleLane(call: Call, context: ShimContext): HandlerResult {
  const requested = call.query.get("lane")?.slice(0, 63) ?? undefined;
  const owner = [...context.view.canaries.values()].find(
    ({ entry }) => requested !== undefined && entry.lanes.includes(requested),
  );
  const identity = owner === undefined ? identityOfRequest(call) : { ...owner.ref, revision: undefined };
  const found = locateCanary(call, identity, context);
  if ("forbidden" in found) return found;
  const isKnownLane = requested === undefined || owner !== undefined;
  const lookup = isKnownLane ? found : { namespace: "", name: "", text: `no canary has a lane ${requested}` };
  const prepared = presentAnswer(lookup, context);
  const { canary } = lookup;
  const lane = requested ?? canary?.entry.lanes[0] ?? "";
  const scale = scaleOf(lane, canary?.key, prepared.answer, context);
  return jsonBytes(
    closeJson(prepared.open(REQUEST_BYTES_WITH_LANE), {
      key: "keda",
      label: lane,
      index: canary === undefined ? 0 : measurementIndexOf(canary, call.caller.class, origin, context),
      caller: call.caller.class,
      conflict: canary !== undefined && claimRole(call.caller, canary, origin, context),
      scale,
    }),
  );
}

export const KEDA_ROUTES: readonly Route[] = [
  {
    path: "/keda/metrics",
    methods: ["GET", "POST"],
    summary: "The verdict and a lane's gated depth, for KEDA's metrics-api",
    responseKind: "verdict",
    handle: handleLane,
  },
  prometheusRoute(origin),
];
