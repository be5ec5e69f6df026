/** Followers, durables and buckets survive a server crash and restart, and differences of streams are reported. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import type { Follower, FollowOptions } from "../../src/bus/bus.ts";
import { connectNats, type NatsBus } from "../../src/bus/nats.ts";
import { LOCAL_MAX_BYTES, topology } from "../../src/bus/streams.ts";
import { applyStreams, verifyStreams } from "../../src/bus/streams-apply.ts";
import { faultCode } from "../../src/runtime/faults.ts";
import { adjustDemand, DEMAND_DEPTHS } from "../../src/testing/bus-contract-durables.ts";
import { type RunningNats, requireServer, startNats } from "../../src/testing/servers.ts";
import { until } from "../../src/testing/until.ts";

const WANTED = topology({ maxBytes: LOCAL_MAX_BYTES, lanes: ["build-az-a"] });
const subject = "signals.az-a.restart.mac-1.http";

async function setUp(
  t: TestContext,
  version: "nats-2.9" | "nats-current",
): Promise<{ server: RunningNats; bus: NatsBus } | undefined> {
  if (!requireServer(t, version)) return undefined;
  const server = await startNats({ version });
  const bus = await connectNats({ servers: server.url, name: "restart" });
  t.after(async () => {
    await bus[Symbol.asyncDispose]();
    await server.stop();
  });
  await applyStreams(bus.connection, WANTED);
  return { server, bus };
}

async function crashAndRestart(server: RunningNats, bus: NatsBus): Promise<void> {
  await server.kill9();
  await until("the client detects the disconnect", () => bus.status === "reconnecting");
  await server.restart();
  await until("the bus is connected again", () => bus.status === "connected");
}

for (const version of ["nats-2.9", "nats-current"] as const) {
  describe(`a restarted server (${version})`, () => {
    test("a follower continues after the last message, without duplicates or omissions", async (t) => {
      const up = await setUp(t, version);
      if (up === undefined) return;
      const { server, bus } = up;
      const total = 20_000;
      const seen: { sequence: number; data: string }[] = [];
      const follower = await bus.follow({
        stream: "INPUTS",
        subjects: ["signals.*.restart.>", "control.restart.>"],
        from: "all",
        onMessage: (message) => seen.push({ sequence: message.sequence, data: Buffer.from(message.data).toString() }),
      });
      let stored = 0;
      const publishing = Promise.all(
        Array.from({ length: total }, async (_, index) => {
          await bus.publish({ subject, data: String(index), id: `restart-${index}` });
          stored += 1;
        }),
      );
      for (const part of [1, 2]) {
        await until(`part ${part} is stored`, () => stored >= (total * part) / 3);
        await crashAndRestart(server, bus);
      }
      await publishing;
      await until("all messages were delivered", () => seen.length >= total, { describe: () => `${seen.length} of ${total}` });
      await follower.stop();
      assert.deepEqual(
        seen.map((message) => message.sequence),
        Array.from({ length: total }, (_, index) => index + 1),
      );
      assert.equal(new Set(seen.map((message) => message.data)).size, total);
    });

    test("a follower keeps its start position and its pause across a restart", async (t) => {
      const up = await setUp(t, version);
      if (up === undefined) return;
      const { server, bus } = up;
      for (const data of ["old-1", "old-2"]) await bus.publish({ subject, data, id: data });
      const last = await bus.last("INPUTS", subject);
      const startPositions: FollowOptions["from"][] = ["new", { time: (last?.storedAtMs ?? 0) + 1 }, "last-per-subject", "all"];
      const seen: string[][] = startPositions.map(() => []);
      const followers: Follower[] = [];
      for (const [index, from] of startPositions.entries()) {
        followers.push(
          await bus.follow({
            stream: "INPUTS",
            subjects: [subject],
            from,
            onMessage: (message) => seen[index]?.push(Buffer.from(message.data).toString()),
          }),
        );
      }
      const paused = followers[3] as Follower;
      await Promise.all(followers.map((follower) => follower.caughtUp));
      paused.pause();
      await crashAndRestart(server, bus);
      for (const data of ["new-1", "new-2"]) await bus.publish({ subject, data, id: data });
      await until("the new messages were delivered", () => seen.slice(0, 3).every((each) => each.at(-1) === "new-2"));
      assert.deepEqual(seen, [
        ["new-1", "new-2"],
        ["new-1", "new-2"],
        ["old-2", "new-1", "new-2"],
        ["old-1", "old-2"],
      ]);
      paused.resume();
      await until("the paused follower has continued", () => seen[3]?.at(-1) === "new-2");
      assert.deepEqual(seen[3], ["old-1", "old-2", "new-1", "new-2"]);
    });

    test("demand, leases and watches survive a server crash", async (t) => {
      const up = await setUp(t, version);
      if (up === undefined) return;
      const { server, bus } = up;
      await bus.ensureDurable({ stream: "DEMAND", name: "short", filter: "demand.short", ackWaitMs: 1000 });
      await adjustDemand(bus, "short", 20, "a");
      await adjustDemand(bus, "short", 12, "b");
      const bucket = await bus.bucket("lease");
      const revision = await bucket.update("leader", "a", 0);
      const changes: string[] = [];
      const watch = await bucket.watch((key, entry) => changes.push(`${key}@${entry?.revision ?? "deleted"}`));
      await watch.ready;
      await crashAndRestart(server, bus);
      // A killed server may have lost the last acknowledgements, and then counts messages that were removed. Later ticks correct
      // that.
      for (const [depth, tick] of [
        [12, "c"],
        [0, "e"],
        [8, "f"],
      ] as const) {
        let ticks = 0;
        await until(`demand is ${depth}`, async () => {
          await adjustDemand(bus, "short", depth, `${tick}-${ticks++}`);
          const { pending, ackPending } = await bus.durableState("DEMAND", "short");
          return pending + ackPending === depth;
        });
      }
      assert.deepEqual(await bus.durableState("DEMAND", "short"), { pending: 8, ackPending: 0 });
      const next = await bucket.update("leader", "b", revision);
      await until("the change was delivered", () => changes.length >= 2);
      assert.deepEqual(changes, [`leader@${revision}`, `leader@${next}`]);
      await watch.stop();
    });

    test("a deleted or recreated stream ends its followers with the reason", async (t) => {
      const up = await setUp(t, version);
      if (up === undefined) return;
      const { server, bus } = up;
      for (const data of ["1", "2", "3"]) await bus.publish({ subject, data });
      const ended = Promise.withResolvers<Error | undefined>();
      const follower = await bus.follow({ stream: "INPUTS", from: "all", onMessage: () => undefined, onEnd: ended.resolve });
      await follower.caughtUp;
      const manager = await jetstreamManager(bus.connection);
      await server.kill9();
      await server.restart();
      await until("the bus is connected again", () => bus.status === "connected");
      await manager.streams.delete("INPUTS");
      await applyStreams(bus.connection, WANTED);
      await bus.connection.reconnect();
      assert.equal(faultCode(await ended.promise), "stream_went_back");
    });
  });

  describe(`streams on ${version}`, () => {
    test("apply creates everything once, verify lists exactly the differences, and immutable properties are rejected", async (t) => {
      const up = await setUp(t, version);
      if (up === undefined) return;
      const { bus } = up;
      assert.deepEqual(await verifyStreams(bus.connection, WANTED), []);
      assert.deepEqual(await applyStreams(bus.connection, WANTED), []);

      const manager = await jetstreamManager(bus.connection);
      await manager.streams.update("VERDICTS", { max_age: 3600_000_000_000, description: "tampered" });
      await manager.streams.delete("KV_token");
      await manager.consumers.delete("DEMAND", "build-az-a");
      const texts = [
        "stream VERDICTS: max age is 1h, must be 30d",
        "bucket token does not exist",
        "durable DEMAND/build-az-a does not exist",
      ];
      const differences = await verifyStreams(bus.connection, WANTED);
      assert.deepEqual(
        differences.map((difference) => difference.text),
        texts,
      );
      assert.deepEqual(await applyStreams(bus.connection, WANTED), differences);
      assert.deepEqual(await verifyStreams(bus.connection, WANTED), []);

      await manager.streams.delete("DEMAND");
      await manager.streams.add({ name: "DEMAND", subjects: ["demand.>"] });
      const before = await verifyStreams(bus.connection, WANTED);
      await assert.rejects(applyStreams(bus.connection, WANTED), (error: Error) => {
        assert.equal(faultCode(error), "streams_differ");
        assert.match(error.message, /stream DEMAND: retention is limits, must be workqueue; this cannot be changed in place/);
        return true;
      });
      assert.deepEqual(await verifyStreams(bus.connection, WANTED), before);
    });

    test("KEDA reads the same depth from the monitoring endpoint", async (t) => {
      const up = await setUp(t, version);
      if (up === undefined) return;
      const { server, bus } = up;
      for (const [round, depth] of DEMAND_DEPTHS.entries()) {
        await adjustDemand(bus, "build-az-a", depth, `round-${round}`);
        // The server answers an acknowledgement before its monitoring page counts it; KEDA polls every half minute.
        await until(`KEDA reads ${depth}`, async () => (await kedaLag(server, "build-az-a")) === depth);
      }
    });

    test("a missing stream or bucket is a terminal fault with the remedy", async (t) => {
      if (!requireServer(t, version)) return;
      const server = await startNats({ version });
      const bus = await connectNats({ servers: server.url, name: "empty" });
      try {
        await assert.rejects(bus.follow({ stream: "INPUTS", from: "all", onMessage: () => undefined }), (error: Error) => {
          assert.equal(faultCode(error), "stream_missing");
          assert.match(error.message, /aviary streams apply/);
          return true;
        });
        await assert.rejects(bus.bucket("lease"), (error) => faultCode(error) === "bucket_missing");
      } finally {
        await bus[Symbol.asyncDispose]();
        await server.stop();
      }
    });
  });
}

test("no server at all is a retryable fault", async () => {
  await assert.rejects(
    connectNats({ servers: "nats://127.0.0.1:1", name: "nobody" }),
    (error) => faultCode(error) === "broker_unavailable",
  );
});

/** The value that the scaler reads: `num_pending + num_ack_pending` of the named consumer in `/jsz`. */
async function kedaLag(server: RunningNats, consumer: string): Promise<number> {
  const answer = await fetch(`${server.monitorUrl}/jsz?acc=$G&consumers=true&config=true`);
  const body = (await answer.json()) as {
    account_details: {
      stream_detail: { name: string; consumer_detail?: { name: string; num_pending: number; num_ack_pending: number }[] }[];
    }[];
  };
  const stream = body.account_details
    .flatMap((account) => account.stream_detail)
    .find((candidate) => candidate.name === "DEMAND");
  const found = stream?.consumer_detail?.find((candidate) => candidate.name === consumer);
  assert.ok(found, `the monitoring endpoint shows no consumer ${consumer}`);
  return found.num_pending + found.num_ack_pending;
}
