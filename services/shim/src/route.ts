/** Routes: their shape, and the context that their handlers receive. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { CallerClass, FleetFile } from "@aviary/shared/contract/fleet.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { CallerRoles } from "./auth/caller-roles.ts";
import type { Caller } from "./auth/tokens.ts";
import type { ControlWriter } from "./control-writer.ts";
import type { Reply } from "./response/reply.ts";
import type { View } from "./view.ts";

export interface ShimContext {
  readonly bus: Bus;
  readonly fleet: FleetFile;
  readonly view: View;
  readonly controlWriter: ControlWriter;
  readonly roles: CallerRoles;
  readonly clock: Clock;
  /** When the shim started, by its monotonic clock. */
  readonly startedAtMs: number;
  readonly logger: Logger;
}

/** One authenticated request. */
export interface Call {
  readonly caller: Caller;
  /**
   * The current caller for the credentials of this request; undefined once they are revoked or expired. For long-lived
   * responses.
   */
  readonly callerNow: () => Caller | undefined;
  readonly method: string;
  readonly query: URLSearchParams;
  /** The body as text; empty for GET. */
  readonly body: string;
  /** Values of the path's `{…}` segments, in order. */
  readonly params: readonly string[];
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** An authenticated caller without the permission: a 403, a log line and an incident. */
export interface Forbidden {
  readonly forbidden: string;
}

/** The result of a handler; `undefined` if it writes the response itself (a stream). */
export type HandlerResult = Reply | Forbidden | undefined;

export interface Route {
  /** `{…}` matches one segment. */
  readonly path: string;
  readonly methods: readonly ("GET" | "POST")[];
  /**
   * Classes that may call; all by default. A controller on another controller's measurement route is served and marked, not
   * rejected.
   */
  readonly callers?: readonly CallerClass[];
  /** One line for the API description. */
  readonly summary: string;
  /** The kind of response, for the API description. */
  readonly responseKind: "verdict" | "prometheus" | "gate" | "report" | "json" | "stream" | "page";
  readonly handle: (call: Call, context: ShimContext) => HandlerResult | Promise<HandlerResult>;
}
