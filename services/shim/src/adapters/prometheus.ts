/**
 * The Prometheus query API: Flagger sends GET, Argo Rollouts a POST form, KEDA GET with `time`. One series with one string sample:
 * 1 pass, 0.5 hold, 0 fail.
 *
 * Flagger counts 0.5 as a success (`thresholdRange.min: 0.5`), because its confirm gates enforce a hold without a penalty.
 * A run without a gate call has no such guard; there a hold is 0, and the rollout fails closed. A newly started shim returns 503
 * instead for a few seconds, because a 0 would count as a failed check of a healthy canary.
 */
import type { CanaryEntry } from "@aviary/shared/contract/fleet.ts";
import { isOpenRun } from "@aviary/shared/contract/run.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { LIMITS } from "../limits.ts";
import { readIdentity } from "../request/canary-lookup.ts";
import { type CallOrigin, claimRole, locateCanary, presentAnswer } from "../response/canary-answer.ts";
import { jsonText, problem } from "../response/reply.ts";
import type { Call, HandlerResult, Route, ShimContext } from "../route.ts";
import { isTime, readQuery, VERDICT_SERIES, vectorJson } from "./prometheus-query.ts";

/**
 * Whether a gate guards Flagger's next increase: this run had a gate call, or the fleet file declares gates. With blue/green and
 * A/B testing no weight is increased between measurements, and the other gates guard the promotion.
 */
function isGuarded({ run }: VerdictBody, entry: CanaryEntry): boolean {
  return isOpenRun(run) && (run?.gated === true || isDeclaredGuarded(entry));
}

const isDeclaredGuarded = ({ callers: { flagger } }: CanaryEntry): boolean =>
  flagger !== undefined && (flagger.gates || flagger.strategy !== "weighted");

const isStartingUp = ({ clock, startedAtMs }: ShimContext): boolean => clock.monotonicMs() - startedAtMs < LIMITS.catchUpLimitMs;

/** The sample of a verdict in one dialect. */
function sampleOf(body: VerdictBody, dialect: CallOrigin["dialect"], entry: CanaryEntry): "1" | "0.5" | "0" {
  if (body.verdict === "pass") return "1";
  if (body.verdict === "fail") return "0";
  return dialect !== "flagger" || isGuarded(body, entry) ? "0.5" : "0";
}

/** The query parameters, from the form if there is one, otherwise from the URL. */
function parametersOf(call: Call): URLSearchParams {
  return call.body === "" ? call.query : new URLSearchParams(call.body);
}

function handleQuery(origin: CallOrigin) {
  return (call: Call, context: ShimContext): HandlerResult => {
    const parameters = parametersOf(call);
    const time = parameters.get("time");
    if (time !== null && !isTime(time)) {
      return problem(
        400,
        "bad_data",
        `invalid parameter "time": cannot parse ${JSON.stringify(time.slice(0, 40))} to a valid timestamp`,
      );
    }
    const parsed = readQuery(parameters.get("query") ?? "");
    if (parsed.kind === "bad") return problem(400, "bad_data", parsed.text);
    const seconds = Math.floor(context.clock.now() / 1000);
    if (parsed.kind === "one") return jsonText(vectorJson({}, "1", seconds, []));
    const identity = readIdentity((key) =>
      key === "canary" ? parsed.canary : key === "namespace" ? parsed.namespace : undefined,
    );
    const found = locateCanary(call, identity, context);
    if ("forbidden" in found) return found;
    if (found.canary === undefined) return problem(400, "bad_data", found.text);
    const { body } = presentAnswer(found, context).answer;
    const isUnread = body.reasons.some(({ code }) => code === "not_ready");
    const isGuardedAnyway = isDeclaredGuarded(found.canary.entry);
    if (isUnread && origin.dialect === "flagger" && isStartingUp(context) && !isGuardedAnyway)
      return problem(503, "unavailable", "the shim has just started and has not read the verdicts yet");
    const warnings = [...body.reasons, ...body.warnings].map(({ code, text }) => `${code}: ${text}`);
    if (claimRole(call.caller, found.canary, origin, context))
      warnings.push("caller_conflict: another controller class also queries this canary");
    const metric = { __name__: VERDICT_SERIES, namespace: found.canary.ref.namespace, canary: found.canary.ref.name };
    return jsonText(
      vectorJson(
        metric,
        isUnread && isGuardedAnyway ? "0.5" : sampleOf(body, origin.dialect, found.canary.entry),
        seconds,
        warnings,
      ),
    );
  };
}

/** The route of one dialect's Prometheus queries. */
export function prometheusRoute(origin: CallOrigin): Route {
  return {
    path: `/${origin.dialect}/api/v1/query`,
    methods: ["GET", "POST"],
    summary: `The verdict as a Prometheus instant query, as ${origin.dialect} sends it`,
    responseKind: "prometheus",
    handle: handleQuery(origin),
  };
}
