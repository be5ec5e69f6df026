/**
 * Dispatches requests to routes. Rejects an unknown path (404), a wrong method (405), a missing or invalid token (401), a
 * missing permission (403) and a body that is too long (413). Never sends 429: a controller treats it as an error and aborts,
 * and an answer from memory is cheap.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AuthFailures } from "./auth/auth-failures.ts";
import { type Authenticator, cacheByConnection } from "./auth/connection-cache.ts";
import { type AuthRejection, type Caller, isRejection } from "./auth/tokens.ts";
import { LIMITS } from "./limits.ts";
import { discardBody, parseJson, readBody } from "./request/body.ts";
import { type CanaryIdentity, mergeIdentity, readIdentity } from "./request/canary-lookup.ts";
import { problem, type Reply, send, UNAUTHORIZED } from "./response/reply.ts";
import type { Call, HandlerResult, Route, ShimContext } from "./route.ts";

export interface Dispatcher {
  handle(request: IncomingMessage, response: ServerResponse): void;
}

const NOT_FOUND = problem(404, "not_found", "no such path; the API is described at /openapi.json");
const TOO_LARGE = problem(413, "too_large", `the body exceeds ${LIMITS.bodyBytes} bytes`);
const NO_QUERY = new URLSearchParams();
const NO_IDENTITY: CanaryIdentity = { namespace: undefined, name: undefined, revision: undefined };

/** Parsed queries that are cached, and the longest of them; a full cache is cleared. */
const MAX_QUERIES = 512;
const MAX_QUERY_CHARS = 512;

/** Parses queries; a repeated query returns the same object, which must not be changed. */
function queryReader(): (text: string) => URLSearchParams {
  const known = new Map<string, URLSearchParams>();
  return (text) => {
    const cached = known.get(text);
    if (cached !== undefined) return cached;
    const query = new URLSearchParams(text);
    if (text.length > MAX_QUERY_CHARS) return query;
    if (known.size >= MAX_QUERIES) known.clear();
    known.set(text, query);
    return query;
  };
}

interface Pattern {
  readonly route: Route;
  readonly segments: readonly string[];
}

/** Builds the route table: fixed paths are looked up in a map, the few with parameters are matched in order. */
export function createDispatcher(
  routes: readonly Route[],
  context: ShimContext,
  authenticator: Authenticator,
  authFailures: AuthFailures,
): Dispatcher {
  const authenticate = cacheByConnection(authenticator, context.clock);
  const queryOf = queryReader();
  const fixed = new Map<string, Route>();
  const patterns: Pattern[] = [];
  for (const route of routes) {
    if (route.path.includes("{")) patterns.push({ route, segments: route.path.split("/") });
    else fixed.set(route.path, route);
  }

  const lookUp = (path: string): { route: Route; params: readonly string[] } | undefined => {
    const route = fixed.get(path);
    if (route !== undefined) return { route, params: [] };
    const segments = path.split("/", 12);
    for (const pattern of patterns) {
      const params = match(pattern.segments, segments);
      if (params !== undefined) return { route: pattern.route, params };
    }
    return undefined;
  };

  const reject = (
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    query: URLSearchParams,
    rejection: AuthRejection,
  ): void => {
    const fromQuery = readIdentity((key) => query.get(key) ?? undefined);
    const record = (identity: CanaryIdentity): void =>
      authFailures.record({
        source: request.socket.remoteAddress ?? "",
        path,
        method: request.method ?? "",
        reason: rejection.rejected,
        text: rejection.text,
        token: rejection.tokenId,
        identity: mergeIdentity(fromQuery, identity),
      });
    const announced = Number(request.headers["content-length"] ?? Number.NaN);
    const hasSmallBody = request.method === "POST" && announced > 0 && announced <= LIMITS.rejectedBodyBytes;
    // The response is sent first; a small body is read afterwards, only to name the canary in the log.
    if (hasSmallBody) {
      send(response, UNAUTHORIZED);
      void readBody(request, LIMITS.rejectedBodyBytes).then((body) => record(body.ok ? identityOfBody(body.text) : NO_IDENTITY));
    } else {
      rejectEarly(request, response, UNAUTHORIZED);
      record(NO_IDENTITY);
    }
  };

  const finish = (request: IncomingMessage, response: ServerResponse, call: Call, path: string, handled: HandlerResult): void => {
    if (handled === undefined) return;
    if (!("forbidden" in handled)) {
      send(response, handled);
      return;
    }
    send(response, problem(403, "forbidden", handled.forbidden));
    authFailures.record({
      source: request.socket.remoteAddress ?? "",
      path,
      method: call.method,
      reason: "forbidden",
      text: handled.forbidden,
      token: call.caller.tokenId,
      identity: mergeIdentity(
        readIdentity((key) => call.query.get(key) ?? undefined),
        identityOfBody(call.body),
      ),
    });
  };

  const failed = (response: ServerResponse, error: unknown): void => {
    context.logger.error({ event: "request.failed", err: error }, "unexpected error while handling a request");
    if (response.headersSent) response.destroy();
    else send(response, problem(500, "internal", "internal error; see the shim's log for details"));
  };

  return {
    handle(request, response) {
      const url = request.url ?? "/";
      const mark = url.indexOf("?");
      const path = mark < 0 ? url : url.slice(0, mark);
      const query = mark < 0 ? NO_QUERY : queryOf(url.slice(mark + 1));
      const found = lookUp(path);
      if (found === undefined) return rejectEarly(request, response, NOT_FOUND);
      const { route, params } = found;
      const method = request.method === "HEAD" ? "GET" : (request.method ?? "GET");
      if ((method !== "GET" && method !== "POST") || !route.methods.includes(method)) {
        return rejectEarly(request, response, wrongMethod(route));
      }
      const caller = authenticate(request);
      if (isRejection(caller)) return reject(request, response, path, query, caller);
      const callerNow = (): Caller | undefined => {
        const now = authenticate(request);
        return isRejection(now) ? undefined : now;
      };
      const respond = (body: string): void => {
        const call: Call = { caller, callerNow, method, query, body, params, request, response };
        try {
          const handled = mayCall(route, caller);
          const answer = handled ?? route.handle(call, context);
          if (answer instanceof Promise) {
            answer.then(
              (value) => finish(request, response, call, path, value),
              (error: unknown) => failed(response, error),
            );
          } else finish(request, response, call, path, answer);
        } catch (error) {
          failed(response, error);
        }
      };
      if (method === "GET") return respond("");
      void readBody(request).then((body) => {
        if (body.ok) respond(body.text);
        else if (body.cause === "too_large") rejectEarly(request, response, TOO_LARGE);
        else response.destroy();
      });
    },
  };
}

function mayCall(route: Route, caller: Caller): { forbidden: string } | undefined {
  if (route.callers === undefined || route.callers.includes(caller.class)) return undefined;
  return { forbidden: `the token ${caller.id} is for ${caller.class}; ${route.path} is for ${route.callers.join(" and ")}` };
}

function match(pattern: readonly string[], segments: readonly string[]): string[] | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: string[] = [];
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index]!;
    if (part.startsWith("{")) {
      if (!/^[A-Za-z0-9._-]{1,128}$/.test(segment)) return undefined;
      params.push(segment);
    } else if (part !== segment) return undefined;
  }
  return params;
}

function identityOfBody(body: string): CanaryIdentity {
  const parsed = parseJson(body);
  if (typeof parsed !== "object" || parsed === null) return NO_IDENTITY;
  return readIdentity((key) => (Object.hasOwn(parsed, key) ? (parsed as Record<string, unknown>)[key] : undefined));
}

const wrongMethod = (route: Route): Reply =>
  problem(405, "method_not_allowed", `use ${route.methods.join(" or ")}`, ["Allow", route.methods.join(", ")]);

/** Responds without reading the body. */
function rejectEarly(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
  send(response, reply);
  discardBody(request);
}
