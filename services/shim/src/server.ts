/** The HTTP server of the shim: plain `node:http` with limits on connections, headers and time. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { LIMITS } from "./limits.ts";
import { problem } from "./response/reply.ts";

export interface ServerTimeouts {
  /** For a client's headers. */
  readonly headersMs: number;
  /** For its whole request. */
  readonly requestMs: number;
}

export interface ServerCounts {
  readonly requests: number;
  /** Number of open connections. */
  readonly connections: number;
  readonly rejectedConnections: number;
}

/** Creates a server that does not listen yet; its counts change while it runs. */
export function createShimServer(
  handle: RequestListener,
  clock: Clock,
  timeouts: ServerTimeouts,
): { readonly server: Server; readonly counts: ServerCounts } {
  const counts = { requests: 0, connections: 0, rejectedConnections: 0 };
  const server = createServer(
    {
      maxHeaderSize: LIMITS.headerBytes,
      headersTimeout: timeouts.headersMs,
      requestTimeout: timeouts.requestMs,
      keepAliveTimeout: LIMITS.keepAliveMs,
      connectionsCheckingInterval: 1_000,
      noDelay: true,
    },
    (request, response) => {
      counts.requests += 1;
      handle(request, response);
    },
  );
  server.maxConnections = LIMITS.connections;
  const openedAtMs = limitSources(server, counts, clock);
  server.on("clientError", (error: NodeJS.ErrnoException, duplex) => {
    const socket = duplex as Socket;
    const ageMs = clock.monotonicMs() - (openedAtMs.get(socket) ?? Number.NEGATIVE_INFINITY);
    if (isUnused(error, socket)) closeWhenOld(socket, ageMs);
    else answerBadRequest(error, socket);
  });
  return { server, counts };
}

/**
 * One source may hold at most a quarter of all connections, so that a slow or leaking one leaves room for others. Returns the
 * opening time of each connection.
 */
function limitSources(
  server: Server,
  counts: { connections: number; rejectedConnections: number },
  clock: Clock,
): WeakMap<Socket, number> {
  const open = new Map<string, number>();
  const openedAtMs = new WeakMap<Socket, number>();
  server.on("connection", (socket: Socket) => {
    const source = socket.remoteAddress ?? "";
    const openCount = (open.get(source) ?? 0) + 1;
    if (openCount > LIMITS.connectionsPerSource) {
      counts.rejectedConnections += 1;
      socket.destroy();
      return;
    }
    open.set(source, openCount);
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

/** A connection that a client opened in advance and has not used; node:http reports it as a request timeout. */
function isUnused(error: NodeJS.ErrnoException, socket: Socket): boolean {
  return error.code === "ERR_HTTP_REQUEST_TIMEOUT" && socket.bytesRead === 0;
}

/**
 * An unused connection may stay as long as an idle one. It closes without a response, because the client would read a 408 as the
 * answer to its next request.
 */
function closeWhenOld(socket: Socket, ageMs: number): void {
  if (ageMs >= LIMITS.keepAliveMs) socket.destroy();
}

/** Responds with JSON to a request that is not valid HTTP or too slow, and closes the connection. */
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
