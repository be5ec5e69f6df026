/** A real nats-server with Aviary's streams, for one benchmark. */
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { LOCAL_MAX_BYTES, topology } from "@aviary/shared/bus/streams.ts";
import { applyStreams } from "@aviary/shared/bus/streams-apply.ts";
import { controlMessage } from "@aviary/shared/contract/control.ts";
import { type CanaryRef, controlSubject } from "@aviary/shared/contract/subjects.ts";
import { locateTestServer, startNats } from "@aviary/shared/testing/servers.ts";

export interface Broker {
  readonly url: string;
  /** For example `nats-server 2.15.1`. */
  readonly version: string;
}

/**
 * Starts a server of the recommended version if this machine has one, otherwise any; streams on disk. It ends when the stack is
 * disposed.
 */
export async function startBroker(cleanup: AsyncDisposableStack): Promise<Broker> {
  const server = await startNats({ version: locateTestServer("nats-current") === undefined ? "nats" : "nats-current" });
  cleanup.defer(() => server.stop());
  await using bus = await connectNats({ servers: server.url, name: "bench-config" });
  await applyStreams(bus.connection, topology({ maxBytes: LOCAL_MAX_BYTES }));
  return { url: server.url, version: bus.server };
}

/** Publishes a controller's messages at the start of a run: a new revision, and 10% of the traffic. */
export async function announceRun(url: string, fleet: string, canary: CanaryRef): Promise<void> {
  await using bus = await connectNats({ servers: url, name: "bench-controller" });
  for (const content of [
    { verb: "announce", caller: "flagger", revision: "bench-1" },
    { verb: "weight", caller: "flagger", weight: 10 },
  ] as const) {
    const control = controlMessage(canary, content, new Date().toISOString(), "bench");
    await bus.publish({ subject: controlSubject(fleet, canary, content.verb), data: JSON.stringify(control), id: control.id });
  }
}
