/** The publisher against a server that is killed three times while 60,000 messages are published. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connectNats } from "../../src/bus/nats.ts";
import { LOCAL_MAX_BYTES, topology } from "../../src/bus/streams.ts";
import { applyStreams } from "../../src/bus/streams-apply.ts";
import { faultCode } from "../../src/runtime/faults.ts";
import { requireServer, startNats } from "../../src/testing/servers.ts";
import { until } from "../../src/testing/until.ts";

const MESSAGES = 60_000;
const KILLS = 3;

for (const version of ["nats-2.9", "nats-current"] as const) {
  describe(`publishing to ${version}`, () => {
    test(`${MESSAGES} messages and ${KILLS} kills: exactly ${MESSAGES} are stored`, async (t) => {
      if (!requireServer(t, version)) return;
      const server = await startNats({ version });
      const bus = await connectNats({ servers: server.url, name: "chaos", publisher: { timeoutMs: 120_000 } });
      try {
        await applyStreams(bus.connection, topology({ maxBytes: LOCAL_MAX_BYTES }));
        let stored = 0;
        const sequences = new Set<number>();
        const publishing = Promise.all(
          Array.from({ length: MESSAGES }, async (_, index) => {
            const answer = await bus.publish({
              subject: `signals.az-a.chaos.mac-${index % 10}.http`,
              data: `${index}`,
              id: `chaos-${index}`,
            });
            sequences.add(answer.sequence);
            stored += 1;
          }),
        );
        for (let kill = 1; kill <= KILLS; kill += 1) {
          await until(`part ${kill} is stored`, () => stored >= (MESSAGES * kill) / (KILLS + 1), {
            deadlineMs: 120_000,
            describe: () => `${stored} stored`,
          });
          assert.ok(stored < MESSAGES, "the server is killed while messages are published");
          await server.kill9();
          await server.restart();
        }
        await publishing;
        assert.equal(sequences.size, MESSAGES);
        assert.partialDeepStrictEqual(await bus.streamState("INPUTS"), {
          messages: MESSAGES,
          firstSequence: 1,
          lastSequence: MESSAGES,
        });

        const seen = new Set<string>();
        const follower = await bus.follow({
          stream: "INPUTS",
          from: "all",
          onMessage: (message) => seen.add(Buffer.from(message.data).toString()),
        });
        await follower.caughtUp;
        assert.equal(seen.size, MESSAGES);
      } finally {
        await bus[Symbol.asyncDispose]();
        await server.stop();
      }
    });

    test("without a broker or a stream, publishing is a retryable fault after bounded time and attempts", async (t) => {
      if (!requireServer(t, version)) return;
      const server = await startNats({ version });
      const publisher = { timeoutMs: 1500, ackTimeoutMs: 200, maxWaiting: 10, window: 5 };
      const bus = await connectNats({ servers: server.url, name: "bounds", publisher });
      try {
        const noStream = Array.from({ length: 20 }, (_, index) =>
          bus.publish({ subject: "signals.a.b.c.http", data: "", id: `n${index}` }).catch(faultCode),
        );
        const codes = (await Promise.all(noStream)).map(String);
        assert.deepEqual(codes.slice(0, 15), new Array(15).fill("publish_timeout"));
        assert.deepEqual(codes.slice(15), new Array(5).fill("publish_overload"));
        await server.kill9();
        await until("the loss is noticed", () => bus.status === "reconnecting");
        await assert.rejects(
          bus.publish({ subject: "signals.a.b.c.http", data: "", id: "x" }),
          (error) => faultCode(error) === "publish_timeout",
        );
      } finally {
        await bus[Symbol.asyncDispose]();
        await server.stop();
      }
    });
  });
}
