import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bullQueries, listQueries, totalDepth } from "../../src/core/redis-depth.ts";

describe("queue depths", () => {
  it("of BullMQ count due jobs, and delayed ones only with countDelayed", () => {
    const queue = { queue: "builds", prefix: "bull", countDelayed: false };
    assert.deepEqual(
      bullQueries(queue).map(({ command, key }) => `${command} ${key}`),
      ["llen bull:builds:wait", "llen bull:builds:paused", "zcard bull:builds:prioritized"],
    );
    assert.equal(bullQueries({ ...queue, countDelayed: true }).at(-1)?.key, "bull:builds:delayed");
    assert.deepEqual(listQueries("jobs"), [{ command: "llen", key: "jobs" }]);
    assert.equal(totalDepth([1, 2, 3]), 6);
  });
});
