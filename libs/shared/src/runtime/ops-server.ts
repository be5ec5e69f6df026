/**
 * The operations listener of every service: `/healthz` (the event loop runs), `/readyz` (every registered check passes),
 * `/metrics` (Prometheus text). It has no authentication: bind it to loopback or to the pod network. It exposes names and
 * reasons, never data.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Clock, systemClock } from "./clock.ts";
import { listen } from "./listen.ts";
import { EXPOSITION_TYPE, type Registry } from "./metrics.ts";
import { redactText } from "./redact.ts";

/** The reason this part is not ready, or undefined. */
export type ReadyCheck = () => string | undefined | Promise<string | undefined>;

export interface OpsServerOptions {
  readonly registry: Registry;
  /** 0 selects any free port. */
  readonly port: number;
  /** The address to bind; 127.0.0.1 by default. */
  readonly host?: string;
  readonly clock?: Clock;
  readonly checks?: Readonly<Record<string, ReadyCheck>>;
  /** A check that has not returned within this time counts as failing; 1 s by default. */
  readonly checkTimeoutMs?: number;
}

export interface OpsServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Adds a check under a unique name, and returns a function that removes it. At most 64. */
  addCheck(name: string, check: ReadyCheck): () => void;
}

export interface Readiness {
  readonly ready: boolean;
  readonly failing: readonly { readonly name: string; readonly reason: string }[];
}

const MAX_CHECKS = 64;
const MAX_CONNECTIONS = 64;

/**
 * Starts the listener.
 * @throws Terminal `port_in_use` or `cannot_listen`
 */
export async function startOpsServer(options: OpsServerOptions): Promise<OpsServer> {
  const { registry, clock = systemClock, host = "127.0.0.1", checkTimeoutMs = 1_000 } = options;
  const checks = new Map<string, ReadyCheck>();
  const addCheck = (name: string, check: ReadyCheck): (() => void) => {
    if (checks.has(name)) throw new Error(`the check ${name} is already registered`);
    if (checks.size >= MAX_CHECKS) throw new Error(`more than ${MAX_CHECKS} checks`);
    checks.set(name, check);
    return () => void checks.delete(name);
  };
  for (const [name, check] of Object.entries(options.checks ?? {})) addCheck(name, check);

  // Concurrent requests share one round of checks.
  let round: Promise<Readiness> | undefined;
  const readiness = (): Promise<Readiness> => {
    round ??= runChecks(checks, clock, checkTimeoutMs).finally(() => {
      round = undefined;
    });
    return round;
  };

  const routes: Readonly<Record<string, (response: ServerResponse) => void | Promise<void>>> = {
    "/healthz": (response) => sendJson(response, 200, { status: "ok" }),
    "/readyz": async (response) => {
      const answer = await readiness();
      sendJson(response, answer.ready ? 200 : 503, answer);
    },
    "/metrics": (response) => send(response, 200, EXPOSITION_TYPE, registry.expose()),
  };
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    request.resume();
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) return sendJson(response, 404, { error: "not_found", known: Object.keys(routes) });
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      return sendJson(response, 405, { error: "method_not_allowed" });
    }
    await route(response);
  };

  const server = createServer({ headersTimeout: 5_000, requestTimeout: 10_000, maxHeaderSize: 8_192 }, (request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!response.headersSent) sendJson(response, 500, { error: "internal", reason: reasonOf(error) });
      else response.destroy();
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, { host, port: options.port, who: "the ops listener", variables: "AVIARY_OPS_HOST and AVIARY_OPS_PORT" });
  const { port } = server.address() as AddressInfo;

  return {
    host,
    port,
    addCheck,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function runChecks(checks: ReadonlyMap<string, ReadyCheck>, clock: Clock, timeoutMs: number): Promise<Readiness> {
  const results = await Promise.all(
    [...checks].map(async ([name, check]) => ({ name, reason: await runCheck(check, clock, timeoutMs) })),
  );
  const failing = results.flatMap(({ name, reason }) => (reason === undefined ? [] : [{ name, reason: redactText(reason) }]));
  return { ready: failing.length === 0, failing };
}

async function runCheck(check: ReadyCheck, clock: Clock, timeoutMs: number): Promise<string | undefined> {
  let cancel = (): void => {};
  const timeout = new Promise<string>((resolve) => {
    cancel = clock.setTimer(timeoutMs, () => resolve(`no result within ${timeoutMs} ms`), { background: true });
  });
  try {
    return await Promise.race([Promise.resolve().then(check), timeout]);
  } catch (error) {
    return reasonOf(error);
  } finally {
    cancel();
  }
}

function reasonOf(error: unknown): string {
  return redactText(error instanceof Error ? error.message : String(error));
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  send(response, status, "application/json; charset=utf-8", JSON.stringify(body));
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body), "cache-control": "no-store" });
  response.end(body);
}
