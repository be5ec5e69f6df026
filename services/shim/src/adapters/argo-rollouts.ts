/**
 * The dialect of Argo Rollouts: the verdict for its web provider, as a whole or by one concern, and for its Prometheus provider.
 */
import type { CallOrigin } from "../response/canary-answer.ts";
import { ANALYSIS_CONCERNS } from "../response/verdict-answer.ts";
import type { Route } from "../route.ts";
import { prometheusRoute } from "./prometheus.ts";
import { verdictRoute } from "./verdict-json.ts";

const origin: CallOrigin = { dialect: "rollouts", role: "judge" };

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
  prometheusRoute(origin),
];
