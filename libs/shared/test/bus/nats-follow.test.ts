/** The requests a follower sends, without a broker: a test cannot wait for messages that never arrive. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConsumerInfo, JetStreamManager, StreamInfo } from "@nats-io/jetstream";
import type { Msg, NatsConnection, SubscriptionOptions } from "@nats-io/nats-core";
import { followStream } from "../../src/bus/nats-follow.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";

interface Pull {
  readonly batch: number;
  readonly expires: number;
}

/** A broker with one stream that sends only the messages a test requests. */
function silentBroker() {
  const pulls: Pull[] = [];
  let deliver: NonNullable<SubscriptionOptions["callback"]> = () => undefined;
  const connection = {
    subscribe: (_: string, options: SubscriptionOptions) => {
      deliver = options.callback!;
      return { unsubscribe: () => undefined };
    },
    publish: (_: string, body: string) => void pulls.push(JSON.parse(body) as Pull),
    closed: () => new Promise(() => undefined),
    isClosed: () => false,
  } as unknown as NatsConnection;
  const manager = {
    streams: { info: async () => ({ state: { last_seq: 0 } }) as StreamInfo },
    consumers: {
      add: async () => ({ name: "c", num_pending: 0 }) as ConsumerInfo,
      delete: async () => true,
    },
  } as unknown as JetStreamManager;
  const send = (message: Partial<Msg>): void => void deliver(null, message as Msg);
  const sendStatus = (code: number, pending: number): void =>
    send({
      subject: "inbox",
      reply: "",
      headers: { code, get: () => String(pending) } as unknown as NonNullable<Msg["headers"]>,
    });
  let delivered = 0;
  return {
    pulls,
    connection,
    manager,
    sendMessages(count: number) {
      for (let left = count; left > 0; left--) {
        delivered += 1;
        send({ subject: "signals.a", reply: `$JS.ACK.INPUTS.c.1.${delivered}.${delivered}.1.0`, data: new Uint8Array() });
      }
    },
    sendExpired: (pending: number) => sendStatus(408, pending),
    sendHeartbeat: () => sendStatus(100, 0),
  };
}

test("a follower requests again when all its requests have expired, even if the broker reported only one", async () => {
  const clock = manualClock();
  const broker = silentBroker();
  let taken = 0;
  const follower = await followStream(
    {
      connection: broker.connection,
      manager: broker.manager,
      clock,
      onReconnect: () => () => undefined,
      severalFilters: () => true,
    },
    {
      stream: "INPUTS",
      from: "new",
      onMessage: () => {
        taken += 1;
      },
    },
  );
  assert.deepEqual(
    broker.pulls.map((pull) => pull.batch),
    [1024],
  );
  const expiresMs = broker.pulls[0]!.expires / 1e6;
  const live = (ms: number): void => {
    for (let restMs = ms; restMs > 0; restMs -= 1_000) {
      clock.advance(Math.min(1_000, restMs));
      broker.sendHeartbeat();
    }
  };
  // Half of it arrived, so the follower requests as much again; then both requests expire together, and the broker reports only
  // the first.
  live(expiresMs - 10);
  broker.sendMessages(512);
  assert.equal(taken, 512);
  assert.deepEqual(
    broker.pulls.map((pull) => pull.batch),
    [1024, 512],
  );
  clock.advance(10);
  broker.sendExpired(100);
  assert.equal(broker.pulls.length, 2, "924 messages are still outstanding");
  live(expiresMs - 10);
  clock.advance(1_000);
  assert.deepEqual(
    broker.pulls.map((pull) => pull.batch),
    [1024, 512, 1024],
    "nothing is outstanding after the expiry",
  );
  await follower.stop();
  assert.equal(clock.timers, 0, "a stopped follower leaves no timer");
});
