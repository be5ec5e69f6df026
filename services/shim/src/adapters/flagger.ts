/**
 * The dialect of Flagger: its webhooks (gates and events), and the verdict for operators and for its Prometheus provider. The
 * control messages of a webhook are stored on the bus before the response is sent.
 */
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Caller } from "../auth/tokens.ts";
import { parseJson } from "../request/body.ts";
import type { CanaryLookup } from "../request/canary-lookup.ts";
import { answerFor, type CallOrigin, locateCanary } from "../response/canary-answer.ts";
import { problem, type Reply, text } from "../response/reply.ts";
import type { Call, Forbidden, HandlerResult, Route, ShimContext } from "../route.ts";
import type { Canary } from "../view.ts";
import { announceDrafts, eventDrafts, type GateCall, gateDrafts, type KnownRun, namedAtGate } from "./control-drafts.ts";
import { CONFIRM_GATES, GATES, type Gate, type GateAnswer, type GateFacts, gateAnswer } from "./flagger-gates.ts";
import { type FlaggerCall, readFlaggerCall } from "./flagger-payload.ts";
import { prometheusRoute } from "./prometheus.ts";
import { verdictRoute } from "./verdict-json.ts";

const CALLERS = ["flagger", "operator"] as const;
const origin: CallOrigin = { dialect: "flagger", role: "judge" };

interface FlaggerRequest {
  readonly flagger: FlaggerCall;
  readonly found: CanaryLookup;
}

function readRequest(call: Call, context: ShimContext): FlaggerRequest | Reply | Forbidden {
  const flagger = readFlaggerCall(parseJson(call.body));
  if (flagger === undefined) {
    return problem(400, "bad_data", 'expected a JSON object with the "name" and "namespace" of a canary, at most 8 levels deep');
  }
  const namespace = flagger.namespace === "" ? undefined : flagger.namespace;
  const found = locateCanary(call, { namespace, name: flagger.name, revision: undefined }, context);
  return "forbidden" in found ? found : { flagger, found };
}

const factsOf = (body: VerdictBody, known: boolean, unseen: boolean): GateFacts => ({
  known,
  unseen,
  verdict: body.verdict,
  reasons: body.reasons,
  run: body.run,
});

/** Gates that must not open on a revision whose announcement is not stored. */
const NEEDS_ANNOUNCEMENT: ReadonlySet<Gate> = CONFIRM_GATES;

function handleGate(gate: Gate) {
  return async (call: Call, context: ShimContext): Promise<HandlerResult> => {
    const request = readRequest(call, context);
    if (!("found" in request)) return request;
    const { flagger, found } = request;
    const run = runOf(found, context);
    const named = namedAtGate(flagger, gate, run);
    const { answer } = answerFor(found, () => named, context);
    const decided = gateAnswer(gate, factsOf(answer.body, answer.known, named.unseen));
    // Only Flagger's own call proves that its gates are configured: an operator's call stores nothing.
    const isFlagger = found.canary !== undefined && call.caller.class === "flagger";
    const isStored =
      !isFlagger ||
      (await storeGateCall(
        found.canary,
        { call: flagger, gate, named, run, allowed: decided.allowed, caller: "flagger" },
        context,
      ));
    const final = isStored
      ? decided
      : { allowed: false, text: "the revision could not be announced: the broker did not respond" };
    logGate({ gate, caller: call.caller, flagger, verdict: answer.body, answer: final }, context.logger);
    return text(final.allowed ? 200 : 403, final.text);
  };
}

/** Stores what a gate call announces; false when an announcement that the gate depends on was not stored. */
async function storeGateCall(canary: Canary, gateCall: GateCall, context: ShimContext): Promise<boolean> {
  const { call, gate, named, run, caller } = gateCall;
  const announced = announceDrafts(named, call, run, caller);
  const drafts = [...announced, ...gateDrafts(gateCall)];
  const stored = await context.controlWriter.store(canary, drafts);
  return stored === "stored" || announced.length === 0 || !NEEDS_ANNOUNCEMENT.has(gate);
}

interface AnsweredGate {
  readonly gate: Gate;
  readonly caller: Caller;
  readonly flagger: FlaggerCall;
  readonly verdict: Pick<VerdictBody, "id" | "verdict">;
  readonly answer: GateAnswer;
}

function logGate({ gate, caller, flagger, verdict, answer }: AnsweredGate, logger: Logger): void {
  const fields = {
    gate,
    namespace: flagger.namespace,
    name: flagger.name,
    caller: caller.id,
    caller_class: caller.class,
    phase: flagger.phase,
    revision: flagger.revision ?? null,
    allowed: answer.allowed,
    verdict: verdict.verdict,
    verdict_id: verdict.id,
    answer: answer.text,
  };
  logger.info({ event: "gate.answered", ...fields }, `gate ${gate} ${answer.allowed ? "allowed" : "denied"}`);
}

function runOf({ canary }: CanaryLookup, context: ShimContext): KnownRun {
  return canary === undefined ? null : (context.view.record(canary.key)?.body.run ?? null);
}

async function handleEvents(call: Call, context: ShimContext): Promise<HandlerResult> {
  const request = readRequest(call, context);
  if (!("found" in request)) return request;
  const { flagger, found } = request;
  // Flagger's global event webhook reports every canary in the cluster, configured here or not.
  if (found.canary === undefined) return text(200, `ignored: ${found.text}`);
  const stored = await context.controlWriter.store(found.canary, eventDrafts(flagger, runOf(found, context), call.caller.class));
  if (stored === "over_limit") return text(403, "too many events for one canary");
  return stored === "stored" ? text(200, "stored") : text(503, "not stored: the broker did not respond");
}

export const FLAGGER_ROUTES: readonly Route[] = [
  ...GATES.map(
    (name): Route => ({
      path: `/flagger/gate/${name}`,
      methods: ["POST"],
      callers: CALLERS,
      summary: name === "rollback" ? "Flagger's rollback gate: 200 means roll back" : `Flagger's ${name} gate`,
      responseKind: "gate",
      handle: handleGate(name),
    }),
  ),
  {
    path: "/flagger/events",
    methods: ["POST"],
    callers: CALLERS,
    summary: "Flagger's event webhook: weight, phase, end of a run",
    responseKind: "gate",
    handle: handleEvents,
  },
  verdictRoute({ path: "/flagger/metrics", summary: "The verdict, for operators who use Flagger", origin }),
  prometheusRoute(origin),
];
