/**
 * The reverse proxy in front of the gateways. One listener per gateway writes that gateway's access log, and one listener for
 * users (the VIP) splits requests across the slices by weight. The plan selects Caddy or the built-in proxy in this file.
 */

import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { seededRandom, seedOf } from "@aviary/shared/testing/random.ts";
import { type AccessLog, openAccessLog } from "./access-log.ts";
import { type RunningProxy, startCaddyProxy } from "./caddy.ts";
import { readDesiredRollout, watchDesiredState } from "./desired-state.ts";
import { type FleetGateway, type FleetPlan, paths } from "./layout.ts";
import { pick, sharesAt } from "./shares.ts";

/** A response that takes longer becomes a 504. */
const UPSTREAM_TIMEOUT_MS = 15_000;

/** Starts the proxy that the plan selects. `onExit` is called when Caddy exits unexpectedly. */
export async function startProxy(plan: FleetPlan, onExit: () => void): Promise<RunningProxy> {
  if (plan.proxy === "built-in") return startBuiltIn(plan);
  const caddy = await startCaddyProxy(plan, onExit);
  if (caddy === undefined) throw new Error("caddy not found on the PATH: install it, or use the built-in proxy");
  return caddy;
}

async function startBuiltIn(plan: FleetPlan): Promise<RunningProxy> {
  const random = seededRandom(seedOf("proxy", plan.seed));
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const logs = new Map(plan.gateways.map((gateway) => [gateway.name, openAccessLog(paths.accessLog(plan, gateway.name))]));
  let shares = sharesAt(plan.gateways, 0);
  const stopWatching = watchDesiredState(
    paths.rollout(plan),
    () => readDesiredRollout(plan),
    (rollout) => {
      shares = sharesAt(plan.gateways, rollout.weight);
    },
  );

  const forward = (gateway: FleetGateway) => (incoming: IncomingMessage, outgoing: ServerResponse) =>
    forwardRequest(incoming, outgoing, { host: plan.host, port: gateway.port, agent }, logs.get(gateway.name));
  const forwardByWeight = (incoming: IncomingMessage, outgoing: ServerResponse): void =>
    forward(pick(shares, random()))(incoming, outgoing);

  const servers: Server[] = [];
  for (const gateway of plan.gateways) servers.push(await listen(forward(gateway), plan.host, gateway.proxyPort));
  servers.push(await listen(forwardByWeight, plan.host, plan.vipPort));
  return {
    kind: "built-in",
    stop: async () => {
      stopWatching();
      for (const server of servers) server.closeAllConnections();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
      agent.destroy();
      for (const log of logs.values()) log.close();
    },
  };
}

async function listen(
  handler: (incoming: IncomingMessage, outgoing: ServerResponse) => void,
  host: string,
  port: number,
): Promise<Server> {
  const server = createServer(handler);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return server;
}

/** Forwards one request and logs it once, when its response is sent or the client disconnects. */
function forwardRequest(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  upstream: { host: string; port: number; agent: Agent },
  log: AccessLog | undefined,
): void {
  const startedAtMs = performance.now();
  const { connection: _hop, ...headers } = incoming.headers;
  let isCutOff = false;
  let contentType = "";
  const respondWithError = (status: number): void => {
    if (outgoing.headersSent) {
      isCutOff = true;
      outgoing.destroy();
    } else outgoing.writeHead(status, { "content-type": "text/plain" }).end();
  };
  const forwarded = request(
    { ...upstream, method: incoming.method, path: incoming.url, headers, timeout: UPSTREAM_TIMEOUT_MS },
    (response) => {
      const { connection: _responseHop, "keep-alive": _keepAlive, "transfer-encoding": _encoding, ...kept } = response.headers;
      contentType = response.headers["content-type"] ?? "";
      outgoing.writeHead(response.statusCode ?? 502, kept);
      response.on("error", () => respondWithError(502));
      response.pipe(outgoing);
    },
  );
  forwarded.on("timeout", () => {
    respondWithError(504);
    forwarded.destroy();
  });
  forwarded.on("error", () => respondWithError(502));
  incoming.pipe(forwarded);
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) forwarded.destroy();
    log?.write({
      ts: new Date().toISOString(),
      // 499: the client disconnected before the end of the response, as in nginx.
      status: outgoing.writableFinished || isCutOff ? outgoing.statusCode : 499,
      duration_ms: Math.round((performance.now() - startedAtMs) * 1000) / 1000,
      method: incoming.method ?? "GET",
      uri: incoming.url ?? "/",
      host: incoming.headers.host ?? "",
      user_agent: incoming.headers["user-agent"] ?? "",
      content_type: contentType,
      complete: !isCutOff,
    });
  });
}
