/** The build lane on a real Redis: jobs come and go, and a set depth is kept. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { locateTestServer, requireServer, startRedis } from "@aviary/shared/testing/servers.ts";
import { giveFault, heal, resetFleet } from "../src/faults.ts";
import { startLane } from "../src/lane.ts";
import { testPlan, until } from "./plan.ts";

describe("build lane", () => {
  it("keeps 40 jobs while the fault says so, and works them off after it", async (test) => {
    if (!requireServer(test, "redis")) return;
    const redis = await startRedis({ binary: locateTestServer("redis") ?? "" });
    using plan = await testPlan({ redisPort: redis.port });
    resetFleet(plan, 20);
    const lane = await startLane(plan);
    try {
      giveFault(plan, "queue");
      await until("40 jobs", async () => (await lane.depth()) >= 40);
      heal(plan);
      await until("the pile is gone", async () => (await lane.depth()) < 20);
    } finally {
      await lane.stop();
      await redis.stop();
    }
  });

  it("is refused without Redis", async () => {
    using plan = await testPlan();
    await assert.rejects(startLane(plan), /needs Redis/);
  });
});
