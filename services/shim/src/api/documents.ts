/** The API description, the JSON Schemas and the dashboard page. */

import { dashboardPage } from "../page/page.ts";
import { visibleTo } from "../response/canary-answer.ts";
import { json, problem } from "../response/reply.ts";
import type { Route } from "../route.ts";
import { canaryJson } from "./canaries.ts";
import { jsonSchemas, openApi } from "./openapi.ts";

/** @param described the other routes, for the description */
export function documentRoutes(described: readonly Route[]): readonly Route[] {
  let description: object | undefined;
  let schemas: Readonly<Record<string, object>> | undefined;
  const routes: Route[] = [
    {
      path: "/openapi.json",
      methods: ["GET"],
      summary: "This OpenAPI description",
      responseKind: "json",
      handle: () => {
        description ??= openApi([...described, ...routes]);
        return json(description);
      },
    },
    {
      path: "/schemas/{name}",
      methods: ["GET"],
      summary: "The JSON Schema of one message or file",
      responseKind: "json",
      handle: (call) => {
        schemas ??= jsonSchemas();
        const name = (call.params[0] ?? "").replace(/\.json$/, "");
        if (Object.hasOwn(schemas, name)) return json(schemas[name]);
        return problem(404, "not_found", `no such schema; available: ${Object.keys(schemas).join(", ")}`);
      },
    },
    {
      path: "/",
      methods: ["GET"],
      summary: "A live dashboard of all canaries",
      responseKind: "page",
      handle: (call, context) => dashboardPage(visibleTo(call.caller, context).map((canary) => canaryJson(canary, context))),
    },
  ];
  return routes;
}
