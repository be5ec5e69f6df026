/** Flagger's webhooks: gates and events. What they tell is stored on the bus before they are answered. */
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { parseJson } from "../request/body.ts";
import type { CanaryLookup } from "../request/canary-lookup.ts";
import { answerFor, locateCanary } from "../response/canary-answer.ts";
import { problem, type Reply, text } from "../response/reply.ts";
import type { Call, Context, Forbidden, HandlerResult, Route } from "../route.ts";
import { announceDrafts, eventDrafts, gateDrafts, type NamedRevision, namedAtGate } from "./control-drafts.ts";
import { GATES, type Gate, type GateFacts, gateAnswer } from "./flagger-gates.ts";
import { type FlaggerCall, readFlaggerCall } from "./flagger-payload.ts";

const CALLERS = ["flagger", "operator"] as const;

interface FlaggerRequest {
  readonly flagger: FlaggerCall;
  readonly found: CanaryLookup;
}

function readRequest(call: Call, context: Context): FlaggerRequest | Reply | Forbidden {
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

function handleGate(name: Gate) {
  return async (call: Call, context: Context): Promise<HandlerResult> => {
    const request = readRequest(call, context);
    if (!("found" in request)) return request;
    const { flagger, found } = request;
    const run = found.canary === undefined ? null : (context.view.record(found.canary.key)?.body.run ?? null);
    const named: NamedRevision = namedAtGate(flagger, name, run);
    const { answer } = answerFor(found, () => named, context);
    const decided = gateAnswer(name, factsOf(answer.body, answer.known, named.unseen));
    const reply = text(decided.allowed ? 200 : 403, decided.text);
    // A person who asks a gate by hand tells nothing: only Flagger's own call proves that it has gates.
    if (found.canary === undefined || call.caller.class !== "flagger") return reply;
    const announced = announceDrafts(named, flagger, run, "flagger");
    const sayings = [...announced, ...gateDrafts(flagger, name, decided.allowed, named, run, "flagger")];
    const stored = await context.outbox.store(found.canary, sayings);
    const needed =
      announced.length > 0 && (name === "confirm-rollout" || name === "confirm-promotion" || name === "confirm-traffic-increase");
    return needed && stored !== "stored" ? text(403, "the revision could not be announced: the bus does not answer") : reply;
  };
}

async function handleEvents(call: Call, context: Context): Promise<HandlerResult> {
  const request = readRequest(call, context);
  if (!("found" in request)) return request;
  const { flagger, found } = request;
  // Flagger's global event webhook speaks of every canary in the cluster; those of others are none of ours.
  if (found.canary === undefined) return text(200, `ignored: ${found.text}`);
  const run = context.view.record(found.canary.key)?.body.run ?? null;
  const stored = await context.outbox.store(found.canary, eventDrafts(flagger, run, call.caller.class));
  if (stored === "over_limit") return text(403, "too many events for one canary");
  return stored === "stored" ? text(200, "stored") : text(503, "not stored: the bus does not answer");
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
];
