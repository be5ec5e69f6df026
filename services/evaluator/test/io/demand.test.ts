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
    assert.equal(await setDemand(bus, LANE, depth, () => true), depth, `to ${depth}`);
    const { pending, ackPending } = await bus.durableState("DEMAND", LANE);
    assert.deepEqual({ pending, ackPending }, { pending: depth, ackPending: 0 });
  }
}

test("an evaluator that loses the lease during a change stops changing the queue", async () => {
  const bus = createMemoryBus();
  await ensureDemand(bus, LANE);
  let asked = 0;
  const lostAfterFirst = (): boolean => asked++ === 0;
  // 2,600 jobs take three rounds of publishing.
  await assert.rejects(setDemand(bus, LANE, 2_600, lostAfterFirst), { name: "Retryable", code: "not_leading" });
  assert.equal((await bus.durableState("DEMAND", LANE)).pending, 1_000);
  await assert.rejects(
    setDemand(bus, LANE, 0, () => false),
    { code: "not_leading" },
  );
  assert.equal((await bus.durableState("DEMAND", LANE)).pending, 1_000);
  assert.equal(await setDemand(bus, LANE, 1_000, () => false), 1_000, "a queue at the right depth needs no change");
});

test("memory: the durable of a lane follows its depth", () => followsDepth(createMemoryBus()));

for (const version of ["nats-2.9", "nats-current"] as const satisfies readonly TestServer[]) {
  test(`${version}: the durable of a lane follows its depth at once, including large drops`, {
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
