/**
 * Simulates one OpenClaw gateway: the same probe routes and bodies, and one work route with heavy-tailed latency.
 * Its version, state and failures are configurable at run time. Modeled on openclaw 2026.9.6.
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { seededRandom, seedOf } from "@aviary/shared/testing/random.ts";
import { type DesiredGateway, readDesiredGateway, watchDesiredState } from "./desired-state.ts";
import { sampleLognormal } from "./distributions.ts";
import { type FleetPlan, gatewayOf, paths } from "./layout.ts";

export interface GatewayOptions {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly seed: number;
  readonly desiredStateFile: string;
  readonly readDesired: () => DesiredGateway;
}

/** The path of user requests. */
export const WORK_PATH = "/v1/chat/completions";
/** Median and log-scale standard deviation of the work route's latency; p99 is 77 ms. */
const MEDIAN_MS = 24;
const SIGMA = 0.5;
/** Time from launch to "started". A real gateway takes ten seconds, which is too long for a demo. */
const STARTUP_MS = 500;

const CONTROL_PAGE = "<!doctype html><html><head><title>OpenClaw Control</title></head><body></body></html>\n";

type CannedResponse = readonly [status: number, body: string, type: string, headers: Readonly<Record<string, string>>];

const json = (status: number, body: unknown): CannedResponse => [
  status,
  JSON.stringify(body),
  "application/json; charset=utf-8",
  {},
];
const plain = (status: number, body: string, headers: Readonly<Record<string, string>> = {}): CannedResponse => [
  status,
  body,
  "text/plain; charset=utf-8",
  headers,
];

/** The response of a probe route, or undefined for any other path. Probe routes match exact paths and GET or HEAD only. */
function probeResponse(method: string, path: string, desired: DesiredGateway, uptimeMs: number): CannedResponse | undefined {
  const name = /^\/(health|startup|ready)z?$/.exec(path)?.[1];
  if (name === undefined) return /^\/(health|startup|ready)z?\/$/.test(path) ? plain(404, "Not Found") : undefined;
  if (method !== "GET" && method !== "HEAD") return plain(405, "Method Not Allowed", { allow: "GET, HEAD" });
  const starting = uptimeMs < STARTUP_MS;
  const draining = desired.state === "draining";
  const { version } = desired;
  if (name === "health") return json(200, { ok: true, status: "live" });
  if (name === "startup") {
    if (starting) return json(503, { ok: false, status: "starting", version, uptimeMs, pendingReason: "startup-sidecars" });
    if (draining) return json(503, { ok: false, status: "draining", version, uptimeMs });
    return json(200, { ok: true, status: "started", version, uptimeMs });
  }
  const failing = starting
    ? ["startup-sidecars"]
    : draining
      ? ["gateway-draining"]
      : desired.state === "channel"
        ? ["telegram"]
        : [];
  const suppressed = desired.state === "suppressed" ? { suppressed: ["telegram"] } : {};
  return json(failing.length === 0 ? 200 : 503, { ready: failing.length === 0, failing, ...suppressed, uptimeMs });
}

/** Starts one gateway. `stop` aborts open requests, as a kill would. */
export async function startGateway(options: GatewayOptions): Promise<{ port: number; stop(): Promise<void> }> {
  const random = seededRandom(seedOf(options.name, options.seed));
  let desired = options.readDesired();
  let startedAtMs = performance.now();
  const stopWatching = watchDesiredState(options.desiredStateFile, options.readDesired, (next) => {
    // A new version restarts the runtime, so the uptime of every probe restarts.
    if (next.version !== desired.version) startedAtMs = performance.now();
    desired = next;
  });

  const work = (response: ServerResponse): void => {
    const fails = random() < desired.errorRatio;
    const delayMs = sampleLognormal(random, MEDIAN_MS, SIGMA) + desired.slowMs;
    const answer = fails
      ? json(500, { error: { message: "model worker crashed", type: "internal_error" } })
      : json(200, { id: "chatcmpl_demo", object: "chat.completion", model: "openclaw/default", choices: [] });
    setTimeout(() => send(response, answer), delayMs);
  };

  const answer = (method: string, path: string): CannedResponse | "work" => {
    const uptimeMs = Math.round(performance.now() - startedAtMs);
    const probed = probeResponse(method, path, desired, uptimeMs);
    if (probed) return probed;
    if (desired.state === "draining") {
      const message = "Gateway is temporarily unavailable while suspending or restarting";
      return json(503, { error: { message, type: "service_unavailable", code: "gateway_unavailable" } });
    }
    // A version restart does not reject users: in production the load balancer drains the gateway first.
    if (path === WORK_PATH) return "work";
    if (path === "/v1/models") return json(200, { object: "list", data: [{ id: "openclaw/default", object: "model" }] });
    if (path.startsWith("/v1/") || path.startsWith("/api/")) return plain(404, "Not Found");
    if (uptimeMs < STARTUP_MS) return plain(503, "Plugin runtime is starting", { "retry-after": "1" });
    // A real gateway serves its control page with 200 on every other path, which misleads a status-only probe.
    return [200, CONTROL_PAGE, "text/html; charset=utf-8", {}];
  };

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    request.resume();
    const method = request.method ?? "GET";
    const found = answer(method, (request.url ?? "/").split("?", 1)[0] ?? "/");
    if (found === "work") work(response);
    else send(response, found, method === "HEAD");
  };

  const server = createServer(handle);
  server.keepAliveTimeout = 30_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    stop: async () => {
      stopWatching();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Starts the named gateway with the plan's port and desired-state file. */
export function startGatewayOf(plan: FleetPlan, name: string): Promise<{ port: number; stop(): Promise<void> }> {
  const { port } = gatewayOf(plan, name);
  return startGateway({
    name,
    host: plan.host,
    port,
    seed: plan.seed,
    desiredStateFile: paths.gatewayControl(plan, name),
    readDesired: () => readDesiredGateway(plan, name),
  });
}

function send(response: ServerResponse, [status, body, type, headers]: CannedResponse, withoutBody = false): void {
  if (response.destroyed) return;
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    ...headers,
  });
  response.end(withoutBody ? undefined : body);
}
