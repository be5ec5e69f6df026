import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { LOCAL_MAX_BYTES, topology } from "@aviary/shared/bus/streams.ts";
import { applyStreams } from "@aviary/shared/bus/streams-apply.ts";
import { missingServer, startNats, type TestServer } from "@aviary/shared/testing/servers.ts";
import { ensureDemand, setDemand } from "../../src/io/demand.ts";

const LANE = "build-az-a";

async function followsDepth(bus: Bus): Promise<void> {
  await ensureDemand(bus, LANE);
  for (const depth of [20, 12, 30, 0, 5, 100, 3, 0, 8, 2_600, 24, 0]) {
    assert.equal(await setDemand(bus, LANE, depth), depth, `to ${depth}`);
    const { pending, ackPending } = await bus.durableState("DEMAND", LANE);
    assert.deepEqual({ pending, ackPending }, { pending: depth, ackPending: 0 });
  }
}

test("memory: the durable of a lane follows its depth", () => followsDepth(createMemoryBus()));

for (const version of ["nats-2.9", "nats-current"] as const satisfies readonly TestServer[]) {
  test(`${version}: the durable of a lane follows its depth at once, however far it falls`, {
    skip: missingServer(version) ?? false,
  }, async () => {
    const server = await startNats({ version });
    after(() => server.stop());
    const bus = await connectNats({ servers: server.url, name: "test" });
    after(() => bus[Symbol.asyncDispose]());
    await applyStreams(bus.connection, topology({ maxBytes: LOCAL_MAX_BYTES }));
    await followsDepth(bus);
  });
}
