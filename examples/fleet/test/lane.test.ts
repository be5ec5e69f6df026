/** The build lane on a real Redis: jobs arrive and finish, and a configured depth is maintained. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { locateTestServer, requireServer, startRedis } from "@aviary/shared/testing/servers.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { heal, injectFault, resetFleet } from "../src/faults.ts";
import { startLane } from "../src/lane.ts";
import { testPlan } from "./plan.ts";

describe("the build lane", () => {
  it("the queue fault keeps 40 jobs waiting, and heal drains them", async (test) => {
    if (!requireServer(test, "redis")) return;
    const redis = await startRedis({ binary: locateTestServer("redis") ?? "" });
    using plan = await testPlan({ redisPort: redis.port });
    resetFleet(plan, 20);
    const lane = await startLane(plan);
    try {
      injectFault(plan, "queue");
      await until("40 jobs wait", async () => (await lane.depth()) >= 40);
      heal(plan);
      await until("the backlog is drained", async () => (await lane.depth()) < 20);
    } finally {
      await lane.stop();
      await redis.stop();
    }
  });

  it("does not start without Redis", async () => {
    using plan = await testPlan();
    await assert.rejects(startLane(plan), /needs Redis/);
  });
});
