/** Every route of the shim, in one list. */
import type { Route } from "../context.ts";
import { API_ROUTES } from "./api.ts";
import { documentRoutes } from "./documents.ts";
import { FLAGGER_ROUTES } from "./flagger.ts";
import { JSON_ROUTES } from "./json.ts";
import { PROMETHEUS_ROUTES } from "./prometheus.ts";
import { type Streams, streamRoute } from "./stream.ts";

/** The route table. `streams` may be left out where nothing is served, as for the description alone. */
export function routesOf(streams?: Streams): readonly Route[] {
  const routes = [...JSON_ROUTES, ...PROMETHEUS_ROUTES, ...FLAGGER_ROUTES, ...API_ROUTES, streamRoute(streams)];
  return [...routes, ...documentRoutes(routes)];
}
