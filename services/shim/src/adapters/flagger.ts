/**
 * The dialect of Flagger: its webhooks (gates and events), and the verdict for operators and for its Prometheus provider. The
 * control messages of a webhook are stored on the bus before the response is sent.
 */
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Caller } from "../auth/tokens.ts";
import { parseJson } from "../request/body.ts";
import type { CanaryLookup } from "../request/canary-lookup.ts";
import { answerFor, type CallOrigin, claimRole, locateCanary, senderOf, storedRuns } from "../response/canary-answer.ts";
import { plainText, problem, type Reply } from "../response/reply.ts";
import {
  endedAs,
  judgingClass,
  mayChangeRun,
  type RequestSubject,
  requestSubject,
  type StoredRuns,
  wasAbortedByOperator,
} from "../response/standing.ts";
import { applicableReasons, currentReasons, type VerdictAnswer } from "../response/verdict-answer.ts";
import type { Call, Forbidden, HandlerResult, Route, ShimContext } from "../route.ts";
import type { Canary } from "../view.ts";
import { announceDrafts, eventDrafts, type GateCall, gateDrafts, lostEndDrafts, namedAtGate } from "./control-drafts.ts";
import {
  CONFIRM_GATES,
  GATES,
  type Gate,
  type GateAnswer,
  type GateFacts,
  gateAnswer,
  type Strategy,
  sendsUsers,
} from "./flagger-gates.ts";
import { type FlaggerCall, readFlaggerCall } from "./flagger-payload.ts";
import { prometheusRoute } from "./prometheus.ts";
import { storeReport } from "./stored-report.ts";
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

const strategyOf = (canary: Canary | undefined): Strategy => canary?.entry.callers.flagger?.strategy ?? "weighted";

/** The facts of the gate table for one call. */
export function gateFacts(answer: VerdictAnswer, { standing, runs }: RequestSubject, canary: Canary | undefined): GateFacts {
  const { body, known } = answer;
  const strategy = strategyOf(canary);
  const verdict = body.verdict;
  // The run as served: a stale run is not promotable.
  if (standing.kind === "open" && body.run !== null) return { known, verdict, reasons: body.reasons, run: body.run, strategy };
  const run = {
    state: endedAs(standing),
    isRestoring: standing.kind === "over" && standing.run.state === "failed" && standing.run.canary_active,
    abortedByOperator: wasAbortedByOperator(standing, runs),
    needsMacRelease: standing.kind === "new" && standing.revision !== undefined && canary?.policy?.macRelease === "required",
  };
  // For a revision other than the current one, whose stored reasons do not apply.
  const reasons = standing.kind === "over" ? currentReasons(answer) : applicableReasons(answer);
  return { known, verdict, reasons, run, strategy };
}

function handleGate(gate: Gate) {
  return async (call: Call, context: ShimContext): Promise<HandlerResult> => {
    const request = readRequest(call, context);
    if (!("found" in request)) return request;
    const { flagger, found } = request;
    const runs = storedRuns(found.canary, context);
    const subject = requestSubject(namedAtGate(flagger, gate, runs), runs);
    const { answer } = answerFor(found, subject, context);
    const widens = WIDENING.has(gate) || sendsUsers(gate, strategyOf(found.canary));
    const isForeign = found.canary !== undefined && isForeignCaller(call, found.canary, runs, context);
    const facts = gateFacts(answer, subject, found.canary);
    const decided = isForeign && widens ? FOREIGN_ANSWER : gateAnswer(gate, facts);
    const isStored =
      found.canary === undefined ||
      (await storeGateCall(found.canary, call, { call: flagger, gate, subject, allowed: decided.allowed }, context));
    const final = isStored ? decided : { allowed: false, text: "the call could not be stored: the broker did not respond" };
    logGate({ gate, caller: call.caller, flagger, verdict: answer.body, answer: final }, context.logger);
    return plainText(final.allowed ? 200 : 403, final.text);
  };
}

/** Gates behind which traffic or a release widens. */
const WIDENING: ReadonlySet<Gate> = new Set(["confirm-traffic-increase", "confirm-promotion"]);
const FOREIGN_ANSWER: GateAnswer = { allowed: false, text: "caller_conflict: another controller judges this canary" };

/** Whether another controller class judges this canary, so that the evaluator would ignore what this caller widens. */
function isForeignCaller({ caller }: Call, canary: Canary, { run }: StoredRuns, context: ShimContext): boolean {
  const conflict = claimRole(caller, canary, origin, context);
  if (caller.class === "operator") return false;
  const judge = judgingClass(canary.entry.judge, run);
  return judge === null ? conflict : judge !== caller.class;
}

/**
 * Stores the information in a gate call; returns false if the gate depends on it and it was not stored. Only the judging caller's
 * calls count: those of an operator or another controller store nothing.
 */
async function storeGateCall(
  canary: Canary,
  { caller }: Call,
  gateCall: Omit<GateCall, "sender">,
  context: ShimContext,
): Promise<boolean> {
  const { call, gate, subject } = gateCall;
  const { standing, runs } = subject;
  if (!mayChangeRun(caller.class, canary.entry.judge, runs.run)) return true;
  const sender = senderOf(caller, canary, origin, context);
  const announced =
    gate === "post-rollout" || gate === "rollback" ? [] : announceDrafts(standing, { ...call, gate }, runs, sender);
  const drafts = [...lostEndDrafts(call, gate, runs, sender), ...announced, ...gateDrafts({ ...gateCall, sender })];
  const stored = await context.controlWriter.store(canary, drafts);
  // The evaluator would be unaware of the traffic.
  const needsStoring = CONFIRM_GATES.has(gate) || sendsUsers(gate, strategyOf(canary));
  return stored === "stored" || !needsStoring || (announced.length === 0 && !gateCall.allowed);
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

async function handleEvents(call: Call, context: ShimContext): Promise<HandlerResult> {
  const request = readRequest(call, context);
  if (!("found" in request)) return request;
  const { flagger, found } = request;
  return storeReport({ call, found, origin, draftsOf: (runs, sender) => eventDrafts(flagger, runs, sender) }, context);
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
    responseKind: "report",
    handle: handleEvents,
  },
  verdictRoute({ path: "/flagger/metrics", summary: "The verdict, for operators who use Flagger", origin }),
  prometheusRoute(origin),
];
