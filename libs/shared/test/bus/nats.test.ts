import { connectNats } from "../../src/bus/nats.ts";
import { LOCAL_MAX_BYTES, topology } from "../../src/bus/streams.ts";
import { applyStreams } from "../../src/bus/streams-apply.ts";
import { busContract } from "../../src/testing/bus-contract.ts";
import { missingServer, startNats, type TestServer } from "../../src/testing/servers.ts";

for (const version of ["nats-2.9", "nats-current"] as const satisfies readonly TestServer[]) {
  busContract(
    `NATS (${version})`,
    async () => {
      const server = await startNats({ version });
      const connect = (name: string) => connectNats({ servers: server.url, name });
      const bus = await connect("contract");
      await applyStreams(bus.connection, topology({ maxBytes: LOCAL_MAX_BYTES }));
      return {
        bus,
        another: () => connect("another"),
        async close() {
          await bus[Symbol.asyncDispose]();
          await server.stop();
        },
      };
    },
    missingServer(version) ?? false,
  );
}
