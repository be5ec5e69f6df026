/** The description of the API, the schemas, and the page for people. */

import { pageOf } from "../page/page.ts";
import { visibleTo } from "../response/measurement.ts";
import { json, problem } from "../response/reply.ts";
import type { Route } from "../route.ts";
import { canaryView } from "./canaries.ts";
import { jsonSchemas, openApi } from "./openapi.ts";

/** `described`: the other routes, for the description. */
export function documentRoutes(described: readonly Route[]): readonly Route[] {
  let description: object | undefined;
  let schemas: Readonly<Record<string, object>> | undefined;
  const routes: Route[] = [
    {
      path: "/openapi.json",
      methods: ["GET"],
      summary: "This description",
      answers: "json",
      handle: () => {
        description ??= openApi([...described, ...routes]);
        return json(description);
      },
    },
    {
      path: "/schemas/{name}",
      methods: ["GET"],
      summary: "The JSON Schema of one message or file",
      answers: "json",
      handle: (call) => {
        schemas ??= jsonSchemas();
        const name = (call.params[0] ?? "").replace(/\.json$/, "");
        if (Object.hasOwn(schemas, name)) return json(schemas[name]);
        return problem(404, "not_found", `no such schema; there are ${Object.keys(schemas).join(", ")}`);
      },
    },
    {
      path: "/",
      methods: ["GET"],
      summary: "A live page of all canaries",
      answers: "page",
      handle: (call, context) => pageOf(visibleTo(call.caller, context).map((canary) => canaryView(canary, context))),
    },
  ];
  return routes;
}
