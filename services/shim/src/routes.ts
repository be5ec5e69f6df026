/** Every route of the shim, in one list. */

import { ROLLOUTS_ROUTES } from "./adapters/argo-rollouts.ts";
import { FLAGGER_ROUTES } from "./adapters/flagger.ts";
import { KEDA_ROUTES } from "./adapters/keda.ts";
import { API_ROUTES } from "./api/canaries.ts";
import { documentRoutes } from "./api/documents.ts";
import { type Streams, streamRoute } from "./api/event-stream.ts";
import type { Route } from "./route.ts";

/** The route table. `streams` may be omitted if nothing is served, as for the API description. */
export function routesOf(streams?: Streams): readonly Route[] {
  const routes = [...ROLLOUTS_ROUTES, ...FLAGGER_ROUTES, ...KEDA_ROUTES, ...API_ROUTES, streamRoute(streams)];
  return [...routes, ...documentRoutes(routes)];
}
