/**
 * The shim: a read model of the bus behind an HTTP server. It serves holds until the verdicts are read, with or without an
 * evaluator. It writes only control messages from its callers, and incidents.
 */
import type { AddressInfo } from "node:net";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { FleetFile } from "@aviary/shared/contract/fleet.ts";
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { listen } from "@aviary/shared/runtime/listen.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Registry } from "@aviary/shared/runtime/metrics.ts";
import { createStreams, type Streams } from "./api/event-stream.ts";
import { type AuthFailures, createAuthFailures } from "./auth/auth-failures.ts";
import { createCallerRoles } from "./auth/caller-roles.ts";
import type { Authenticator } from "./auth/connection-cache.ts";
import { createControlWriter } from "./control-writer.ts";
import { LIMITS } from "./limits.ts";
import type { ShimContext } from "./route.ts";
import { createDispatcher } from "./router.ts";
import { routesOf } from "./routes.ts";
import { createShimServer, type ServerCounts, type ServerTimeouts } from "./server.ts";
import { followView, type View } from "./view.ts";

export interface ShimOptions {
  readonly bus: Bus;
  readonly fleet: FleetFile;
  /** Policies by canary, for the thresholds that are shown before the first verdict. */
  readonly policies?: ReadonlyMap<string, Policy>;
  readonly tokens: Authenticator;
  /** The address to bind; 127.0.0.1 by default. */
  readonly host?: string;
  /** 0 picks a free port. */
  readonly port: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Registry;
  /** Timeouts for a client's headers and for its whole request; 10 s and 15 s by default. */
  readonly timeouts?: ServerTimeouts;
}

export interface Shim extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** For a readiness check: why the shim is not ready, or undefined. */
  notReady(): string | undefined;
}

/**
 * Starts the shim.
 * @throws Terminal `port_in_use` or `cannot_listen`; any error of the bus on subscription.
 */
export async function startShim(options: ShimOptions): Promise<Shim> {
  const { bus, fleet, tokens, clock, metrics, host = "127.0.0.1", timeouts = LIMITS } = options;
  const logger = options.logger.child("shim");
  const view = await followView({ bus, fleet, policies: options.policies ?? new Map(), clock, logger });
  const controlWriter = createControlWriter(bus, clock, logger);
  const startedAtMs = clock.monotonicMs();
  const context: ShimContext = { bus, fleet, view, controlWriter, roles: createCallerRoles(), clock, startedAtMs, logger };
  const streams = createStreams(context);
  const authFailures = createAuthFailures(context, clock, logger);
  const dispatcher = createDispatcher(routesOf(streams), context, tokens, authFailures);
  const { server, counts } = createShimServer(dispatcher.handle, clock, timeouts);
  if (metrics !== undefined) registerMetrics(metrics, { counts, controlWriter, authFailures, streams, view });
  try {
    await listen(server, { host, port: options.port, who: "the shim", variables: "AVIARY_SHIM_HOST and AVIARY_SHIM_PORT" });
  } catch (error) {
    streams[Symbol.dispose]();
    controlWriter.stop();
    await view[Symbol.asyncDispose]();
    throw error;
  }
  const { port } = server.address() as AddressInfo;
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const listensSinceMs = clock.monotonicMs();
  logger.info({ event: "shim.listening", url, canaries: view.canaries.size }, "shim listening");
  return {
    url,
    port,
    // An unreachable broker does not make a shim unready. It serves holds, and if every replica were unready, no request would be
    // answered.
    notReady: () => {
      const waitedMs = clock.monotonicMs() - listensSinceMs;
      return view.isCaughtUp || waitedMs >= LIMITS.catchUpLimitMs ? undefined : "the stored verdicts have not been read yet";
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      streams[Symbol.dispose]();
      server.closeIdleConnections();
      const cancel = clock.setTimer(2_000, () => server.closeAllConnections(), { background: true });
      await closed.finally(cancel);
      controlWriter.stop();
      await view[Symbol.asyncDispose]();
    },
  };
}

interface MetricSources {
  readonly counts: ServerCounts;
  readonly controlWriter: { readonly counts: { readonly stored: number; readonly failed: number; readonly overLimit: number } };
  readonly authFailures: AuthFailures;
  readonly streams: Streams;
  readonly view: View;
}

function registerMetrics(registry: Registry, { counts, controlWriter, authFailures, streams, view }: MetricSources): void {
  const read = (type: "counter" | "gauge", name: string, help: string, value: () => number): void =>
    registry.read(type, `aviary_shim_${name}`, help, value);
  read("counter", "requests_total", "Requests that reached the shim.", () => counts.requests);
  read("gauge", "connections", "Open connections.", () => counts.connections);
  read(
    "counter",
    "connections_refused_total",
    "Connections rejected because their source had too many open.",
    () => counts.rejectedConnections,
  );
  read(
    "counter",
    "refused_total",
    "Requests rejected for a missing or invalid token, or for a missing permission.",
    () => authFailures.count,
  );
  read("counter", "messages_stored_total", "Control messages and incidents stored.", () => controlWriter.counts.stored);
  read(
    "counter",
    "messages_failed_total",
    "Control messages and incidents that could not be stored.",
    () => controlWriter.counts.failed,
  );
  read(
    "counter",
    "messages_over_limit_total",
    "Control messages dropped because their canary exceeded its rate limit.",
    () => controlWriter.counts.overLimit,
  );
  read("gauge", "streams", "Open event streams.", () => streams.size);
  read("counter", "unreadable_total", "Verdicts and lane records that could not be read.", () => view.unreadable);
  read("gauge", "lease_age_seconds", "Seconds since the evaluator's lease was last renewed; -1 before one has been read.", () => {
    const ageMs = view.leaseAgeMs();
    return Number.isFinite(ageMs) ? ageMs / 1000 : -1;
  });
}
