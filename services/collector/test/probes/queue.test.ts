/** Against a real Redis, with keys written by plain commands in the layouts of a list and of BullMQ. */
import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import { locateTestServer, missingServer, type RunningServer, startRedis } from "@aviary/shared/testing/servers.ts";
import { Redis } from "ioredis";
import { queue } from "../../src/probes/queue.ts";
import { openProbe, testWorld } from "../world.ts";

const missing = missingServer("redis");

describe("queue", { skip: missing ?? false }, () => {
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

  const open = (test: TestContext, lanes: object, world = testWorld(test)) =>
    openProbe(test, queue, { lanes, period: "100ms" }, world);

  it("a list: its length; one that does not exist: 0", async (test) => {
    await redis.del("jobs");
    const probe = open(test, { "build-az-a": { redis: server.url, list: "jobs" } });
    assert.deepEqual((await probe.read()).bodies, [{ lane: "build-az-a", role: "build", depth: 0 }]);
    await redis.rpush("jobs", "a", "b", "c");
    assert.deepEqual((await probe.read()).bodies, [{ lane: "build-az-a", role: "build", depth: 3 }]);
  });

  it("a BullMQ queue: jobs that may run now, in its three keys; delayed jobs only if configured", async (test) => {
    await redis.rpush("bull:builds:wait", "1", "2");
    await redis.rpush("bull:builds:paused", "3");
    await redis.zadd("bull:builds:prioritized", 1, "4", 2, "5");
    await redis.zadd("bull:builds:delayed", 1, "6");
    await redis.rpush("bull:builds:active", "7", "8");
    await redis.zadd("bull:builds:waiting-children", 1, "9");
    const probe = open(test, {
      plain: { redis: server.url, bullmq: { queue: "builds" } },
      delayed: { redis: server.url, bullmq: { queue: "builds", countDelayed: true }, role: "gateway" },
      other: { redis: server.url, bullmq: { queue: "builds", prefix: "else" } },
    });
    assert.deepEqual((await probe.read()).bodies, [
      { lane: "plain", role: "build", depth: 5 },
      { lane: "delayed", role: "gateway", depth: 6 },
      { lane: "other", role: "build", depth: 0 },
    ]);
  });

  it("a key of another type is reported", async (test) => {
    await redis.set("text", "x");
    const probe = open(test, { l: { redis: server.url, list: "text" } });
    await assert.rejects(probe.read(), { code: "wrong_type", message: /text is not a list/ });
  });

  it("an unreachable Redis does not affect the lanes of others", async (test) => {
    await redis.del("mine");
    await redis.rpush("mine", "a");
    const world = testWorld(test);
    const probe = open(
      test,
      { here: { redis: server.url, list: "mine" }, away: { redis: "redis://127.0.0.1:1", list: "x" } },
      world,
    );
    assert.deepEqual((await probe.read()).bodies, [{ lane: "here", role: "build", depth: 1 }]);
    assert.equal(world.counted.get("lanes_unread"), 1);
    const alone = open(test, { away: { redis: "redis://127.0.0.1:1", list: "x" } });
    await assert.rejects(alone.read(), { code: "redis_unavailable" });
    await assert.rejects(alone.read(), { code: "backing_off" });
  });

  it("a killed Redis is read again once it is back", async (test) => {
    let nowMs = 0;
    const world = testWorld(test);
    const probe = open(test, { l: { redis: server.url, list: "jobs" } }, {
      ...world,
      clock: { ...world.clock, monotonicMs: () => nowMs },
    } as typeof world);
    await probe.read();
    await server.kill9();
    await assert.rejects(probe.read(), { code: "redis_unavailable" });
    await server.restart();
    nowMs += 60_000;
    assert.deepEqual((await probe.read()).bodies, [{ lane: "l", role: "build", depth: 0 }]);
  });
});
