/** JSON Schemas of every message and file, and the OpenAPI description of the HTTP routes. Pure. */
import { controlSchema } from "@aviary/shared/contract/control.ts";
import { deadLetterSchema } from "@aviary/shared/contract/dead.ts";
import { digestSchema } from "@aviary/shared/contract/digest.ts";
import { CALLER_CLASSES, fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import { incidentSchema } from "@aviary/shared/contract/incident.ts";
import { jobSchema } from "@aviary/shared/contract/job.ts";
import { laneRecordSchema } from "@aviary/shared/contract/lane.ts";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import { receiptSchema } from "@aviary/shared/contract/receipt.ts";
import { signalSchema } from "@aviary/shared/contract/signal.ts";
import { verdictBodySchema, verdictRecordSchema } from "@aviary/shared/contract/verdict.ts";
import { z } from "zod";
import { tokenFileSchema } from "../auth/tokens.ts";
import type { Route } from "../route.ts";

/** The verdict as HTTP serves it: the stored body, and the parts of one request. */
const answerSchema = verdictBodySchema.extend({
  stale: z
    .literal(true)
    .optional()
    .describe("there is no fresh verdict; the first reason is evaluator_down or not_ready, unless a failure is latched"),
  flagger: z.string().optional().describe("name of the canary, on routes for Flagger"),
  rollout: z.string().optional().describe("name of the canary, on routes for Argo Rollouts"),
  keda: z.string().optional().describe("name of the lane, on routes for KEDA"),
  measurement: z
    .object({ index: z.int().min(0), caller: z.enum(CALLER_CLASSES) })
    .describe("index: floor((now - run.since) / the caller's interval) + 1, and 0 without a run"),
  scale: laneRecordSchema
    .extend({
      depth: z.number().nullable(),
      depth_true: z.number().nullable(),
      replicas: z.number().nullable(),
      max_replicas: z.number().nullable(),
      reasons: z.array(z.string()),
    })
    .optional()
    .describe("the lane, on /keda/metrics; the numbers are null if the lane has no record"),
  caller_conflict: z.literal(true).optional().describe("another controller class called for this canary within the last minute"),
});

const SCHEMAS: Readonly<Record<string, { readonly schema: z.ZodType; readonly title: string }>> = {
  signal: { schema: signalSchema, title: "A signal: one observation from one gateway" },
  control: { schema: controlSchema, title: "A control message from a controller or an operator" },
  verdict: { schema: verdictRecordSchema, title: "A verdict record, as stored on the bus" },
  answer: { schema: answerSchema, title: "A verdict, as served by the HTTP shim" },
  lane: { schema: laneRecordSchema, title: "A lane record: the gated depth of one build queue, for KEDA" },
  incident: { schema: incidentSchema, title: "An incident" },
  digest: { schema: digestSchema, title: "A digest: one notification" },
  receipt: { schema: receiptSchema, title: "A receipt of a promotion" },
  job: { schema: jobSchema, title: "A promotion job" },
  dead: { schema: deadLetterSchema, title: "A dead letter: an invalid message, with the reason" },
  "file-aviary": { schema: fleetFileSchema, title: "aviary.yaml" },
  "file-policy": { schema: policySchema, title: "A policy file" },
  "file-tokens": { schema: tokenFileSchema, title: "tokens.yaml" },
};

/** JSON Schemas (draft 2020-12) by name, of the input form: before defaults are applied. */
export function jsonSchemas(): Readonly<Record<string, object>> {
  return Object.fromEntries(Object.entries(SCHEMAS).map(([name, { schema, title }]) => [name, jsonSchemaOf(schema, title)]));
}

/** The JSON Schema of one schema's input form. */
export function jsonSchemaOf(schema: z.ZodType, title: string): object {
  const { $schema, ...rest } = z.toJSONSchema(schema, { target: "draft-2020-12", io: "input", unrepresentable: "any" });
  return { $schema, title, ...rest };
}

const problemSchema = {
  type: "object",
  required: ["status", "errorType", "error"],
  properties: { status: { const: "error" }, errorType: { type: "string" }, error: { type: "string" } },
};

const vectorSchema = {
  type: "object",
  required: ["status", "data"],
  properties: {
    status: { const: "success" },
    data: {
      type: "object",
      properties: {
        resultType: { const: "vector" },
        result: {
          type: "array",
          minItems: 1,
          maxItems: 1,
          items: {
            type: "object",
            properties: {
              metric: { type: "object", additionalProperties: { type: "string" } },
              value: { type: "array", prefixItems: [{ type: "number" }, { enum: ["1", "0.5", "0"] }], minItems: 2, maxItems: 2 },
            },
          },
        },
      },
    },
    warnings: { type: "array", items: { type: "string" } },
  },
};

const body = (description: string, type: string, schema?: object): object => ({
  description,
  content: { [type]: schema === undefined ? {} : { schema } },
});
const ref = (name: string): object => ({ $ref: `#/components/schemas/${name}` });
const failure = (description: string): object => body(description, "application/json", ref("problem"));

const query = (name: string, description: string): object => ({
  name,
  in: "query",
  required: false,
  description,
  schema: { type: "string" },
});

const IDENTITY = [
  query("namespace", "namespace of the canary"),
  query("canary", "name of the canary, or `<namespace>/<name>`; `rollout` and `name` mean the same"),
  query("revision", "the controller's name of the revision; a controller that names a new one announces it"),
];

const ANSWERS: Readonly<
  Record<Route["responseKind"], { readonly ok: object; readonly more?: Record<string, object>; readonly parameters?: object[] }>
> = {
  verdict: { ok: body("the verdict: pass, hold or fail", "application/json", ref("answer")), parameters: IDENTITY },
  prometheus: {
    ok: body("one series with one sample", "application/json", ref("vector")),
    more: { 400: failure("unknown canary, unreadable query or time") },
    parameters: [
      query("query", 'aviary_verdict{namespace="…",canary="…"} or vector(1)'),
      query("time", "Unix seconds or RFC 3339; the answer is always as of now"),
    ],
  },
  gate: {
    ok: body("proceed (for the rollback gate: roll back)", "text/plain"),
    more: { 400: failure("not a webhook body"), 403: body("wait, or refused; one line states why", "text/plain") },
  },
  report: {
    ok: body("stored, or ignored because of the canary or its judging caller", "text/plain"),
    more: {
      400: failure("unreadable body"),
      403: body("too many reports, or a token of another class", "text/plain"),
      503: body("not stored yet: it is kept and stored later", "text/plain"),
    },
  },
  json: { ok: body("as described in the summary", "application/json"), more: { 404: failure("no such canary") } },
  stream: { ok: body("server-sent events", "text/event-stream") },
  page: { ok: body("the dashboard", "text/html") },
};

/** The OpenAPI 3.1 description of the routes. */
export function openApi(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const { ok, more = {}, parameters = [] } = ANSWERS[route.responseKind];
    const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name,
      in: "path",
      required: true,
      schema: { type: "string" },
    }));
    for (const method of route.methods) {
      paths[route.path] ??= {};
      paths[route.path]![method.toLowerCase()] = {
        summary: route.summary,
        ...(inPath.length + parameters.length > 0 ? { parameters: [...inPath, ...parameters] } : {}),
        responses: {
          200: ok,
          ...more,
          401: failure("no valid token"),
          ...(route.callers === undefined ? {} : { 403: more[403] ?? failure("a token of another class") }),
        },
      };
    }
  }
  const answer = jsonSchemas().answer as Record<string, unknown>;
  const { $schema, ...answerBody } = answer;
  return {
    openapi: "3.1.0",
    info: { title: "Aviary verdict shim", version: "1", description: "One merged verdict, in the dialect of every controller." },
    security: [{ bearer: [] }, { basic: [] }, { apiKey: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        basic: { type: "http", scheme: "basic" },
        apiKey: { type: "apiKey", in: "header", name: "X-API-Key" },
      },
      schemas: { answer: answerBody, vector: vectorSchema, problem: problemSchema },
    },
  };
}
