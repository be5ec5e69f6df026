/**
 * Server-sent events: the state of every canary, then every change. One event is one canary in the API's form. A browser that
 * reconnects receives the full state again, so no event is stored. A stream ends within a second when its token is revoked,
 * expires or gets access to other canaries.
 */
import type { ServerResponse } from "node:http";
import { LIMITS } from "../limits.ts";
import { visibleTo } from "../response/canary-answer.ts";
import { problem } from "../response/reply.ts";
import type { Call, HandlerResult, Route, ShimContext } from "../route.ts";
import type { Canary } from "../view.ts";
import { canaryJson } from "./canaries.ts";

interface Client {
  readonly response: ServerResponse;
  readonly callerNow: Call["callerNow"];
  readonly visibleKeys: ReadonlySet<string>;
}

/** All open streams of one shim. */
export interface Streams extends Disposable {
  readonly size: number;
  open(call: Call): HandlerResult;
}

/** Creates the streams and the timers that they share. */
export function createStreams(context: ShimContext): Streams {
  const clients = new Set<Client>();
  const lastStale = new Map<string, boolean>();
  const timers: (() => void)[] = [];
  let disposed = false;

  const write = (client: Client, chunk: string): void => {
    if (client.response.writableLength > LIMITS.streamBufferBytes) {
      clients.delete(client);
      client.response.destroy();
    } else client.response.write(chunk);
  };
  const broadcast = (canary: Canary): void => {
    if (clients.size === 0) return;
    const event = eventOf(canary, context);
    for (const client of clients) if (client.visibleKeys.has(canary.key)) write(client, event);
  };
  const every = (ms: number, action: () => void): void => {
    const index = timers.length;
    const again = (): void => {
      if (disposed) return;
      action();
      timers[index] = context.clock.setTimer(ms, again, { background: true });
    };
    timers.push(context.clock.setTimer(ms, again, { background: true }));
  };
  every(LIMITS.heartbeatMs, () => {
    for (const client of clients) write(client, ": heartbeat\n\n");
  });
  const isStillAllowed = ({ callerNow, visibleKeys }: Client): boolean => {
    const caller = callerNow();
    if (caller === undefined) return false;
    const visible = visibleTo(caller, context);
    return visible.length === visibleKeys.size && visible.every(({ key }) => visibleKeys.has(key));
  };
  // No message announces that a token was revoked or that a verdict became stale, so both are polled.
  every(1_000, () => {
    for (const client of clients) {
      if (isStillAllowed(client)) continue;
      clients.delete(client);
      client.response.end();
    }
    for (const canary of context.view.canaries.values()) {
      const { stale } = context.view.prepared(canary).answer;
      if (lastStale.get(canary.key) === stale) continue;
      lastStale.set(canary.key, stale);
      broadcast(canary);
    }
  });
  const unlisten = context.view.onVerdict((key) => {
    const canary = context.view.canaries.get(key);
    if (canary !== undefined) broadcast(canary);
  });

  return {
    get size() {
      return clients.size;
    },
    open(call) {
      if (clients.size >= LIMITS.eventStreams)
        return problem(503, "busy", `the limit of ${LIMITS.eventStreams} open streams is reached`);
      const visible = visibleTo(call.caller, context);
      const client: Client = {
        response: call.response,
        callerNow: call.callerNow,
        visibleKeys: new Set(visible.map(({ key }) => key)),
      };
      call.response.writeHead(200, [
        "Content-Type",
        "text/event-stream",
        "Cache-Control",
        "no-store",
        "X-Accel-Buffering",
        "no",
        "Connection",
        "close",
      ]);
      call.response.write("retry: 2000\n\n");
      clients.add(client);
      call.response.on("close", () => clients.delete(client));
      for (const canary of visible) write(client, eventOf(canary, context));
      return undefined;
    },
    [Symbol.dispose]() {
      disposed = true;
      unlisten();
      for (const cancel of timers) cancel();
      for (const { response } of clients) response.end();
      clients.clear();
    },
  };
}

function eventOf(canary: Canary, context: ShimContext): string {
  return `event: verdict\ndata: ${JSON.stringify(canaryJson(canary, context))}\n\n`;
}

/** The route of the streams. */
export function streamRoute(streams: Streams | undefined): Route {
  return {
    path: "/api/v1/stream",
    methods: ["GET"],
    summary: "Server-sent events: the state of every canary, then every change",
    responseKind: "stream",
    handle: (call) => streams?.open(call) ?? undefined,
  };
}
