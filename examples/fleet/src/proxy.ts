/**
 * The reverse proxy in front of the gateways: one listener a gateway, which writes that gateway's access log, and one for users (the VIP), which
 * splits requests over the slices by weight. Caddy does this where it is found; otherwise the small proxy in this file.
 */

import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { seededRandom, seedOf } from "@aviary/shared/testing/random.ts";
import { type AccessLog, openAccessLog } from "./access-log.ts";
import { type RunningProxy, startCaddy } from "./caddy.ts";
import { readRollout, watchControl } from "./control.ts";
import { type FleetGateway, type FleetPlan, places } from "./layout.ts";
import { pick, sharesAt } from "./shares.ts";

/** An answer that takes longer is a 504. */
const UPSTREAM_TIMEOUT_MS = 15_000;

/** Starts the proxy that the plan names. `onExit` is called when Caddy ends by itself. */
export async function startProxy(plan: FleetPlan, onExit: () => void): Promise<RunningProxy> {
  if (plan.proxy === "built-in") return startBuiltIn(plan);
  const caddy = await startCaddy(plan, onExit);
  if (caddy === undefined) throw new Error("caddy is not on the PATH: install it, or use the built-in proxy");
  return caddy;
}

async function startBuiltIn(plan: FleetPlan): Promise<RunningProxy> {
  const random = seededRandom(seedOf("proxy", plan.seed));
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const logs = new Map(plan.gateways.map((gateway) => [gateway.name, openAccessLog(places.accessLog(plan, gateway.name))]));
  let shares = sharesAt(plan.gateways, 0);
  const stopWatching = watchControl(
    places.rollout(plan),
    () => readRollout(plan),
    (rollout) => {
      shares = sharesAt(plan.gateways, rollout.weight);
    },
  );

  const forward = (gateway: FleetGateway) => (incoming: IncomingMessage, outgoing: ServerResponse) =>
    pass(incoming, outgoing, { host: plan.host, port: gateway.port, agent }, logs.get(gateway.name));
  const toAny = (incoming: IncomingMessage, outgoing: ServerResponse): void =>
    forward(pick(shares, random()))(incoming, outgoing);

  const servers: Server[] = [];
  for (const gateway of plan.gateways) servers.push(await listen(forward(gateway), plan.host, gateway.proxyPort));
  servers.push(await listen(toAny, plan.host, plan.vipPort));
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

/** Passes one request on and records it once, when its answer has gone out (or the user has gone). */
function pass(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  upstream: { host: string; port: number; agent: Agent },
  log: AccessLog | undefined,
): void {
  const startedAt = performance.now();
  const { connection: _hop, ...headers } = incoming.headers;
  const refuse = (status: number): void => {
    if (outgoing.headersSent) outgoing.destroy();
    else outgoing.writeHead(status, { "content-type": "text/plain" }).end();
  };
  const passed = request(
    { ...upstream, method: incoming.method, path: incoming.url, headers, timeout: UPSTREAM_TIMEOUT_MS },
    (answer) => {
      const { connection: _answerHop, "keep-alive": _keepAlive, "transfer-encoding": _encoding, ...kept } = answer.headers;
      outgoing.writeHead(answer.statusCode ?? 502, kept);
      answer.on("error", () => outgoing.destroy());
      answer.pipe(outgoing);
    },
  );
  passed.on("timeout", () => {
    refuse(504);
    passed.destroy();
  });
  passed.on("error", () => refuse(502));
  incoming.pipe(passed);
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) passed.destroy();
    log?.write({
      ts: new Date().toISOString(),
      // 499: the user went away before there was an answer, as nginx writes it.
      status: outgoing.headersSent ? outgoing.statusCode : 499,
      duration_ms: Math.round((performance.now() - startedAt) * 1000) / 1000,
      method: incoming.method ?? "GET",
      uri: incoming.url ?? "/",
      user_agent: incoming.headers["user-agent"] ?? "",
    });
  });
}
