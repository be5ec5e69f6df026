import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bullPlan, highestDueScore, listPlan } from "../../src/core/redis-depth.ts";

describe("queue depths", () => {
  const queue = { queue: "builds", prefix: "bull", countDelayed: false, countActive: false };

  it("of a list are its length", () => {
    const plan = listPlan("jobs");
    assert.deepEqual(plan.queries, [{ command: "llen", key: "jobs" }]);
    assert.equal(plan.depth([7]), 7);
  });

  it("of BullMQ are read from the keys of the queue alone", () => {
    for (const { key } of bullPlan(queue).queries) assert.match(key, /^bull:builds:[a-z]+$/);
    const commandFor = (countDelayed: boolean) =>
      bullPlan({ ...queue, countDelayed }).queries.find(({ key, command }) => key.endsWith(":delayed") && command !== "exists")
        ?.command;
    assert.deepEqual([commandFor(false), commandFor(true)], ["zcount_due", "zcard"]);
  });

  it("of BullMQ do not count a marker at either end of the list", () => {
    const depth = (waiting: number, first: string | null, last: string | null) =>
      bullPlan(queue).depth([waiting, first, last, 0, 0, 9, 0, 1, ...Array(8).fill(0)]);
    assert.deepEqual(
      [
        depth(0, null, null),
        depth(1, "0:0", "0:0"),
        depth(3, "0:1795680000000", "2"),
        depth(3, "1", "0:0"),
        depth(3, "10:1", "x0:1"),
      ],
      [0, 0, 2, 2, 3],
    );
  });

  it("of a queue without any key are an error", () => {
    const replies = [0, null, null, 0, 0, 0, 0, ...Array(9).fill(0)];
    assert.match(JSON.stringify(bullPlan(queue).depth(replies)), /there is no BullMQ queue bull:builds/);
  });

  it("compare the score of a delayed job in milliseconds times 4096", () => {
    const atMs = Date.UTC(2026, 10, 26);
    assert.ok(highestDueScore(atMs) >= atMs * 4_096 + 4_095);
    assert.ok(highestDueScore(atMs) < (atMs + 1) * 4_096);
    assert.ok(Number.isSafeInteger(highestDueScore(atMs)));
  });
});
