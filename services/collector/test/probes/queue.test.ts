/** The queue probe on a real Redis, with a plain list and the key layout of BullMQ. */
import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { locateTestServer, missingServer, type RunningServer, startRedis } from "@aviary/shared/testing/servers.ts";
import { Redis } from "ioredis";
import { queue } from "../../src/probes/queue.ts";
import { openProbe, probeContext } from "../probe-context.ts";

const missing = missingServer("redis");

describe("the queue probe", { skip: missing ?? false }, () => {
  let server: RunningServer & { url: string };
  let redis: Redis;
  before(async () => {
    server = await startRedis({ binary: locateTestServer("redis") as string });
    redis = new Redis(server.url);
    redis.on("error", () => {});
  });
  after(async () => {
    redis.disconnect();
    await server.stop();
  });

  const open = (test: TestContext, lanes: object, context = probeContext(test)) =>
    openProbe(test, queue, { lanes, period: "100ms" }, context);

  it("reads a list's length, and 0 for a missing list", async (test) => {
    await redis.del("jobs");
    const probe = open(test, { "build-az-a": { redis: server.url, list: "jobs" } });
    assert.deepEqual((await probe.read()).bodies, [{ lane: "build-az-a", role: "build", depth: 0 }]);
    await redis.rpush("jobs", "a", "b", "c");
    assert.deepEqual((await probe.read()).bodies, [{ lane: "build-az-a", role: "build", depth: 3 }]);
  });

  /** A queue with these keys, in BullMQ's layout. */
  const queueOf = async (name: string, fill: (key: (state: string) => string) => Promise<unknown>): Promise<void> => {
    await redis.hset(`bull:${name}:meta`, "opts.maxLenEvents", "10000", "version", "bullmq:5.81.5");
    await fill((state) => `bull:${name}:${state}`);
  };
  const depthOf = async (test: TestContext, queueName: string, settings: object = {}): Promise<number> => {
    const probe = open(test, { lane: { redis: server.url, bullmq: { queue: queueName, ...settings } } });
    return ((await probe.read()).bodies[0] as SignalBody<"queue">).depth;
  };
  const score = (atMs: number, counter: number): number => atMs * 4_096 + counter;
  const fill = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

  it("counts the jobs of a BullMQ queue that a worker can start", async (test) => {
    await queueOf("builds", async (key) => {
      await redis.rpush(key("wait"), "1", "2");
      await redis.zadd(key("prioritized"), 1, "4", 2, "5");
      await redis.rpush(key("active"), "7", "8");
      await redis.zadd(key("waiting-children"), 1, "9");
      await redis.zadd(key("completed"), 1, "10");
    });
    assert.equal(await depthOf(test, "builds"), 4);
    assert.equal(await depthOf(test, "builds", { countActive: true }), 6);
  });

  it("counts delayed jobs once they are due, because without a worker they stay delayed", async (test) => {
    await queueOf("delayed", async (key) => {
      for (const index of [0, 1, 2]) await redis.zadd(key("delayed"), score(Date.now() - 600_000, index), `due-${index}`);
      for (const index of [0, 1]) await redis.zadd(key("delayed"), score(Date.now() + 3_600_000, index), `later-${index}`);
    });
    assert.equal(await depthOf(test, "delayed"), 3);
    assert.equal(await depthOf(test, "delayed", { countDelayed: true }), 5);
  });

  it("counts only jobs in progress of a paused queue, wherever the BullMQ version keeps the others", async (test) => {
    for (const [name, list] of [
      ["paused5", "paused"],
      ["paused6", "wait"],
    ] as const) {
      await queueOf(name, async (key) => {
        await redis.hset(key("meta"), "paused", "1");
        await redis.rpush(key(list), ...fill(40));
        await redis.zadd(key("delayed"), score(Date.now() - 600_000, 0), "due");
        await redis.rpush(key("active"), "a");
      });
      assert.equal(await depthOf(test, name), 0, name);
      assert.equal(await depthOf(test, name, { countActive: true }), 1, name);
      await redis.hdel(`bull:${name}:meta`, "paused");
    }
    assert.equal(await depthOf(test, "paused6"), 41);
  });

  it("does not count the marker that older versions keep among the waiting jobs", async (test) => {
    await queueOf("marked", (key) => redis.rpush(key("wait"), `0:${Date.now() + 3_600_000}`));
    assert.equal(await depthOf(test, "marked"), 0);
    await redis.lpush("bull:marked:wait", "1", "2");
    assert.equal(await depthOf(test, "marked"), 2);
  });

  it("counts an empty queue as 0, and fails for a queue that does not exist", async (test) => {
    await queueOf("empty", async () => {});
    assert.equal(await depthOf(test, "empty"), 0);
    for (const settings of [{ queue: "emty" }, { queue: "empty", prefix: "else" }]) {
      const probe = open(test, { lane: { redis: server.url, bullmq: settings } });
      await assert.rejects(probe.read(), {
        code: "no_such_queue",
        message: /there is no BullMQ queue .*check "queue" and "prefix"/,
      });
    }
  });

  it("reads the other lanes of a server while one lane's keys are wrong, and logs that once", async (test) => {
    await queueOf("fine", (key) => redis.rpush(key("wait"), "1"));
    await redis.set("not-a-list", "x");
    const warnings: unknown[] = [];
    const context = probeContext(test);
    const lanes = {
      missing: { redis: server.url, bullmq: { queue: "missing" } },
      wrong: { redis: server.url, list: "not-a-list" },
      fine: { redis: server.url, bullmq: { queue: "fine" }, role: "gateway" },
    };
    const probe = open(test, lanes, {
      ...context,
      log: { ...context.log, warn: (fields: { lane?: string }) => void warnings.push(fields.lane) } as typeof context.log,
    });
    for (let reading = 0; reading < 2; reading += 1)
      assert.deepEqual((await probe.read()).bodies, [{ lane: "fine", role: "gateway", depth: 1 }]);
    assert.deepEqual(warnings, ["missing", "wrong"]);
    assert.equal(context.counted.get("lanes_unread"), 4);
  });

  it("names a key of the wrong type", async (test) => {
    await redis.set("text", "x");
    const probe = open(test, { l: { redis: server.url, list: "text" } });
    await assert.rejects(probe.read(), { code: "wrong_type", message: /text is not a list/ });
  });

  it("reads the other lanes while one Redis is unreachable", async (test) => {
    await redis.del("mine");
    await redis.rpush("mine", "a");
    const context = probeContext(test);
    const probe = open(
      test,
      { here: { redis: server.url, list: "mine" }, away: { redis: "redis://127.0.0.1:1", list: "x" } },
      context,
    );
    assert.deepEqual((await probe.read()).bodies, [{ lane: "here", role: "build", depth: 1 }]);
    assert.equal(context.counted.get("lanes_unread"), 1);
    const alone = open(test, { away: { redis: "redis://127.0.0.1:1", list: "x" } });
    await assert.rejects(alone.read(), { code: "redis_unavailable" });
    await assert.rejects(alone.read(), { code: "backing_off" });
  });

  it("names the server that it cannot read, without its password, and the setting to check", async (test) => {
    const closed = open(test, { l: { redis: "redis://user:hunter2@127.0.0.1:1", list: "x" } });
    await assert.rejects(closed.read(), {
      message:
        /^Redis at 127\.0\.0\.1:1: connect ECONNREFUSED .*; check that it runs and that the lane's "redis" is its address$/,
    });
    const { port } = new URL(server.url);
    const denied = open(test, { l: { redis: `redis://user:hunter2@127.0.0.1:${port}`, list: "x" } });
    await assert.rejects(denied.read(), (error: Error) => {
      assert.match(
        error.message,
        new RegExp(`^Redis at 127\\.0\\.0\\.1:${port}: WRONGPASS .*; check user and password in the lane's "redis"$`),
      );
      assert.doesNotMatch(error.message, /hunter2/);
      return true;
    });
  });

  it("reads a restarted Redis again", async (test) => {
    let nowMs = 0;
    const context = probeContext(test);
    const probe = open(test, { l: { redis: server.url, list: "jobs" } }, {
      ...context,
      clock: { ...context.clock, monotonicMs: () => nowMs },
    } as typeof context);
    await probe.read();
    await server.kill9();
    await assert.rejects(probe.read(), { code: "redis_unavailable" });
    await server.restart();
    nowMs += 60_000;
    assert.deepEqual((await probe.read()).bodies, [{ lane: "l", role: "build", depth: 0 }]);
  });
});
