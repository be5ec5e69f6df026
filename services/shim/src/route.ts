/** What a route may use, and what a route is. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { CallerClass, FleetFile } from "@aviary/shared/contract/fleet.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Seats } from "./auth/seats.ts";
import type { Caller } from "./auth/tokens.ts";
import type { ControlWriter } from "./control-writer.ts";
import type { Reply } from "./response/reply.ts";
import type { View } from "./view.ts";

export interface Context {
  readonly bus: Bus;
  readonly fleet: FleetFile;
  readonly view: View;
  readonly outbox: ControlWriter;
  readonly seats: Seats;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** One authenticated request. */
export interface Call {
  readonly caller: Caller;
  readonly method: string;
  readonly query: URLSearchParams;
  /** The body's text; empty for GET. */
  readonly body: string;
  /** What stands in the path where the route has `{…}`. */
  readonly params: readonly string[];
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** A caller that is known and has no right to what it asks: refused with 403, logged, and an incident. */
export interface Forbidden {
  readonly forbidden: string;
}

/** What a handler gives back; `undefined` when it answers by itself (a stream). */
export type HandlerResult = Reply | Forbidden | undefined;

export interface Route {
  /** `{…}` stands for one segment. */
  readonly path: string;
  readonly methods: readonly ("GET" | "POST")[];
  /** Classes that may call; undefined: all. A controller class on another controller's measuring route is answered and marked, not refused. */
  readonly callers?: readonly CallerClass[];
  /** One line for the API description. */
  readonly summary: string;
  /** What it answers with, for the API description. */
  readonly responseKind: "verdict" | "prometheus" | "gate" | "json" | "stream" | "page";
  readonly handle: (call: Call, context: Context) => HandlerResult | Promise<HandlerResult>;
}
