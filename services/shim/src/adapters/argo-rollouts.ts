/**
 * The dialect of Argo Rollouts: the verdict for its web provider, as a whole or by one concern, and for its Prometheus provider; and the
 * end of a rollout, which its notifications report.
 */
import { parseJson } from "../request/body.ts";
import { type CallOrigin, locateCanary } from "../response/canary-answer.ts";
import { problem } from "../response/reply.ts";
import { ANALYSIS_CONCERNS } from "../response/verdict-answer.ts";
import type { Call, HandlerResult, Route, ShimContext } from "../route.ts";
import { endDrafts } from "./control-drafts.ts";
import { prometheusRoute } from "./prometheus.ts";
import { ROLLOUT_PHASES, readRolloutEnd } from "./rollouts-payload.ts";
import { storeReport } from "./stored-report.ts";
import { verdictRoute } from "./verdict-json.ts";

const origin: CallOrigin = { dialect: "rollouts", role: "judge" };

const BAD_NOTIFICATION = problem(
  400,
  "bad_data",
  `expected a JSON object with namespace, rollout, revision and phase (${ROLLOUT_PHASES.join(" or ")})`,
);

async function handleEvents(call: Call, context: ShimContext): Promise<HandlerResult> {
  const end = readRolloutEnd(parseJson(call.body));
  if (end === undefined) return BAD_NOTIFICATION;
  const { namespace, rollout: name, revision, result } = end;
  const found = locateCanary(call, { namespace, name, revision }, context);
  if ("forbidden" in found) return found;
  return storeReport({ call, found, origin, draftsOf: (runs, sender) => endDrafts(result, revision, runs, sender) }, context);
}

export const ROLLOUTS_ROUTES: readonly Route[] = [
  verdictRoute({ path: "/rollouts/analysis", summary: "The verdict, for Argo Rollouts' web provider", origin }),
  ...ANALYSIS_CONCERNS.map((concern) =>
    verdictRoute({
      path: `/rollouts/analysis/${concern}`,
      summary: `The verdict as judged by ${concern} alone`,
      origin,
      concern,
    }),
  ),
  {
    path: "/rollouts/events",
    methods: ["POST"],
    callers: ["rollouts", "operator"],
    summary: "Argo Rollouts' notification webhook: a rollout completed or was aborted",
    responseKind: "report",
    handle: handleEvents,
  },
  prometheusRoute(origin),
];
