/** A real nats-server with our streams, for one benchmark. */
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { LOCAL_MAX_BYTES, topology } from "@aviary/shared/bus/streams.ts";
import { applyStreams } from "@aviary/shared/bus/streams-apply.ts";
import { type RunningNats, startNats } from "@aviary/shared/testing/servers.ts";

export interface Broker {
  readonly url: string;
  /** For example `nats-server 2.15.1`. */
  readonly version: string;
}

/** Starts the newest server of this machine, one instance, streams on disk; it ends when the stack is disposed. */
export async function startBroker(cleanup: AsyncDisposableStack, lanes: readonly string[] = []): Promise<Broker> {
  const server: RunningNats = await startNats();
  cleanup.defer(() => server.stop());
  await using bus = await connectNats({ servers: server.url, name: "bench-setup" });
  await applyStreams(bus.connection, topology({ maxBytes: LOCAL_MAX_BYTES, lanes }));
  return { url: server.url, version: bus.server };
}
