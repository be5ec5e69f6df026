/** The queue probe on a real Redis, with a plain list and the key layout of BullMQ. */
import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
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

  it("counts the due jobs of a BullMQ queue, and delayed ones only with countDelayed", async (test) => {
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
