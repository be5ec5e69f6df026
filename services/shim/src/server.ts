/**
 * The shim's HTTP server: bare `node:http` over a view of the bus. It answers from the first moment (hold, until the verdicts are read), whether an evaluator
 * exists or not, and writes nothing but what callers tell it.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { FleetFile } from "@aviary/shared/contract/fleet.ts";
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { listen } from "@aviary/shared/runtime/listen.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Registry } from "@aviary/shared/runtime/metrics.ts";
import { createStreams, type Streams } from "./api/event-stream.ts";
import { type AuthFailures, createAuthFailures } from "./auth/auth-failures.ts";
import type { Authenticator } from "./auth/connection-cache.ts";
import { createSeats } from "./auth/seats.ts";
import { createControlWriter } from "./control-writer.ts";
import { LIMITS } from "./limits.ts";
import { problem } from "./response/reply.ts";
import type { Context } from "./route.ts";
import { createDispatcher } from "./router.ts";
import { routesOf } from "./routes.ts";
import { followView, type View } from "./view.ts";

export interface ShimOptions {
  readonly bus: Bus;
  readonly fleet: FleetFile;
  /** Policies by canary; only the thresholds shown before the first verdict come from here. */
  readonly policies?: ReadonlyMap<string, Policy>;
  readonly tokens: Authenticator;
  /** The address to bind; 127.0.0.1 unless told. */
  readonly host?: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Registry;
  /** How long a client may take for its headers and for its whole request; 10 s and 15 s unless told. */
  readonly patience?: { readonly headersMs: number; readonly requestMs: number };
}

export interface Shim extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** For a readiness check: why it is not ready, or undefined. */
  notReady(): string | undefined;
}

/**
 * Starts the shim.
 * @throws Terminal `port_in_use` or `cannot_listen`; whatever the bus throws when it cannot be followed.
 */
export async function startShim(options: ShimOptions): Promise<Shim> {
  const { bus, fleet, tokens, clock, metrics, host = "127.0.0.1", patience = LIMITS } = options;
  const logger = options.logger.child("shim");
  const view = await followView({ bus, fleet, policies: options.policies ?? new Map(), clock, logger });
  const outbox = createControlWriter(bus, clock, logger);
  const context: Context = { bus, fleet, view, outbox, seats: createSeats(), clock, logger };
  const streams = createStreams(context);
  const authFailures = createAuthFailures(context, clock, logger);
  const dispatcher = createDispatcher(routesOf(streams), context, tokens, authFailures);
  const counts = { requests: 0, connections: 0, turnedAway: 0 };
  const server = createServer(
    {
      maxHeaderSize: LIMITS.headerBytes,
      headersTimeout: patience.headersMs,
      requestTimeout: patience.requestMs,
      keepAliveTimeout: LIMITS.keepAliveMs,
      connectionsCheckingInterval: 1_000,
      noDelay: true,
    },
    (request, response) => {
      counts.requests += 1;
      dispatcher.handle(request, response);
    },
  );
  server.maxConnections = LIMITS.connections;
  const openedAtMs = limitSources(server, counts, clock);
  server.on("clientError", (error: NodeJS.ErrnoException, duplex) => {
    const socket = duplex as Socket;
    const ageMs = clock.monotonicMs() - (openedAtMs.get(socket) ?? Number.NEGATIVE_INFINITY);
    if (isSilent(error, socket)) closeWhenOld(socket, ageMs);
    else answerBadRequest(error, socket);
  });
  if (metrics !== undefined) registerMetrics(metrics, { counts, outbox, authFailures, streams, view });
  try {
    await listen(server, { host, port: options.port, who: "the shim", variables: "AVIARY_SHIM_HOST and AVIARY_SHIM_PORT" });
  } catch (error) {
    streams[Symbol.dispose]();
    await view[Symbol.asyncDispose]();
    throw error;
  }
  const { port } = server.address() as AddressInfo;
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const listensSinceMs = clock.monotonicMs();
  logger.info({ url, canaries: view.canaries.size }, "the shim listens");
  return {
    url,
    port,
    // A broker that is away makes no shim unready: answering hold is what it is there for, and where all are unready nobody answers.
    notReady: () => {
      const waitedMs = clock.monotonicMs() - listensSinceMs;
      return view.ready || waitedMs >= LIMITS.readyAnywayMs ? undefined : "the verdicts are not read yet";
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      streams[Symbol.dispose]();
      server.closeIdleConnections();
      const cancel = clock.setTimer(2_000, () => server.closeAllConnections(), { background: true });
      await closed.finally(cancel);
      await view[Symbol.asyncDispose]();
    },
  };
}

/** One source may hold a quarter of all connections, so that a slow or leaking one leaves room for the others. Answers when each was opened. */
function limitSources(
  server: Server,
  counts: { connections: number; turnedAway: number },
  clock: Clock,
): WeakMap<Socket, number> {
  const open = new Map<string, number>();
  const openedAtMs = new WeakMap<Socket, number>();
  server.on("connection", (socket: Socket) => {
    const source = socket.remoteAddress ?? "";
    const held = (open.get(source) ?? 0) + 1;
    if (held > LIMITS.connectionsPerSource) {
      counts.turnedAway += 1;
      socket.destroy();
      return;
    }
    open.set(source, held);
    openedAtMs.set(socket, clock.monotonicMs());
    counts.connections += 1;
    socket.once("close", () => {
      counts.connections -= 1;
      const left = (open.get(source) ?? 1) - 1;
      if (left > 0) open.set(source, left);
      else open.delete(source);
    });
  });
  return openedAtMs;
}

/** A connection that somebody opened ahead and has not used yet: node:http counts it as a request that is late. */
function isSilent(error: NodeJS.ErrnoException, socket: Socket): boolean {
  return error.code === "ERR_HTTP_REQUEST_TIMEOUT" && socket.bytesRead === 0;
}

/** It may stay as long as an idle one, and goes without a word: a 408 would be taken for the answer to the request that comes next. */
function closeWhenOld(socket: Socket, ageMs: number): void {
  if (ageMs >= LIMITS.keepAliveMs) socket.destroy();
}

/** What cannot be parsed as HTTP, or comes too slowly, gets JSON as well, and its connection is closed. */
function answerBadRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, phrase] =
    error.code === "HPE_HEADER_OVERFLOW"
      ? [431, "Request Header Fields Too Large"]
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? [408, "Request Timeout"]
        : [400, "Bad Request"];
  const { body, type } = problem(status as number, "bad_request", String(phrase).toLowerCase());
  const head = `HTTP/1.1 ${status} ${phrase}\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
  socket.end(head + body);
}

interface Counted {
  readonly counts: { readonly requests: number; readonly connections: number; readonly turnedAway: number };
  readonly outbox: { readonly counts: { readonly stored: number; readonly failed: number; readonly refused: number } };
  readonly authFailures: AuthFailures;
  readonly streams: Streams;
  readonly view: View;
}

function registerMetrics(registry: Registry, { counts, outbox, authFailures, streams, view }: Counted): void {
  const read = (type: "counter" | "gauge", name: string, help: string, value: () => number): void =>
    registry.read(type, `aviary_shim_${name}`, help, value);
  read("counter", "requests_total", "Requests that reached the shim.", () => counts.requests);
  read("gauge", "connections", "Open connections.", () => counts.connections);
  read("counter", "connections_refused_total", "Connections beyond what one source may hold.", () => counts.turnedAway);
  read("counter", "refused_total", "Requests without a valid token or without the right.", () => authFailures.count);
  read("counter", "messages_stored_total", "Control messages and incidents stored.", () => outbox.counts.stored);
  read(
    "counter",
    "messages_failed_total",
    "Control messages and incidents that could not be stored.",
    () => outbox.counts.failed,
  );
  read("counter", "messages_over_limit_total", "Control messages beyond the limit of their canary.", () => outbox.counts.refused);
  read("gauge", "streams", "Open event streams.", () => streams.size);
  read("counter", "unreadable_total", "Verdicts and lane records that could not be read.", () => view.unreadable);
  read("gauge", "lease_age_seconds", "Seconds since the evaluator's lease last moved.", () => {
    const ageMs = view.leaseAgeMs();
    return Number.isFinite(ageMs) ? ageMs / 1000 : -1;
  });
}
