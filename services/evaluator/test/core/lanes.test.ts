import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { gatedDepth, type LaneTickFacts } from "../../src/core/lanes.ts";
import { createSimulatedFleet, reduceFleet } from "./simulated-fleet.ts";

const quiet: LaneTickFacts = {
  slice: "canary",
  perReplica: 8,
  min: 0,
  stableMax: 2,
  depthTrue: 100,
  replicasNow: 2,
  runOpen: true,
  runActive: false,
  failed: false,
  degradedTicks: 0,
  degradedBy: "stale",
  disk: "green",
  azUnderTest: true,
};

test("each fact caps a lane of depth 100 as documented", () => {
  const table: [string, Partial<LaneTickFacts>, { depth: number; replicas: number; allow: 0 | 1 }][] = [
    ["a pending run caps nothing", {}, { depth: 100, replicas: 13, allow: 1 }],
    ["growth starts at the ninth job", { depthTrue: 9, replicasNow: 1 }, { depth: 9, replicas: 2, allow: 1 }],
    ["eight jobs are one replica", { depthTrue: 8, replicasNow: 1 }, { depth: 8, replicas: 1, allow: 1 }],
    ["depth 0 scales to zero", { depthTrue: 0 }, { depth: 0, replicas: 0, allow: 1 }],
    ["an active run may take stable max + 1", { runActive: true }, { depth: 24, replicas: 3, allow: 0 }],
    [
      "an active run below its cap may grow",
      { runActive: true, depthTrue: 10, replicasNow: 1 },
      { depth: 10, replicas: 2, allow: 1 },
    ],
    ["one degraded tick caps nothing", { degradedTicks: 1 }, { depth: 100, replicas: 13, allow: 1 }],
    ["two degraded ticks freeze", { degradedTicks: 2 }, { depth: 16, replicas: 2, allow: 0 }],
    ["a frozen lane may still shrink", { degradedTicks: 2, depthTrue: 3 }, { depth: 3, replicas: 1, allow: 0 }],
    ["yellow on 1TB blocks growth", { disk: "yellow-1TB" }, { depth: 16, replicas: 2, allow: 0 }],
    ["yellow on 2TB leaves the stable lane only", { disk: "yellow-2TB" }, { depth: 0, replicas: 0, allow: 0 }],
    [
      "yellow on 2TB blocks growth of a stable lane",
      { disk: "yellow-2TB", slice: "stable", min: 1 },
      { depth: 16, replicas: 2, allow: 0 },
    ],
    ["a red disk scales to the minimum", { disk: "red", slice: "stable", min: 1 }, { depth: 8, replicas: 1, allow: 0 }],
    ["a failure scales the canary lane to 0", { failed: true }, { depth: 0, replicas: 0, allow: 0 }],
    ["a failure freezes a stable lane", { failed: true, slice: "stable", min: 1 }, { depth: 16, replicas: 2, allow: 0 }],
    ["a lane outside the AZ under test is scaled to its minimum", { azUnderTest: false }, { depth: 0, replicas: 0, allow: 0 }],
    ["an unknown depth keeps the current replicas", { depthTrue: null }, { depth: 16, replicas: 2, allow: 0 }],
    ["without a run nothing is capped", { runOpen: false }, { depth: 100, replicas: 13, allow: 1 }],
    [
      "without a run nothing is capped while degraded",
      { runOpen: false, degradedTicks: 9 },
      { depth: 100, replicas: 13, allow: 1 },
    ],
    [
      "without a run nothing is capped on a yellow disk",
      { runOpen: false, disk: "yellow-2TB" },
      { depth: 100, replicas: 13, allow: 1 },
    ],
    ["a restored failure caps nothing", { runOpen: false, failed: true }, { depth: 100, replicas: 13, allow: 1 }],
    [
      "without a run an unknown depth keeps the current replicas",
      { runOpen: false, depthTrue: null },
      { depth: 16, replicas: 2, allow: 1 },
    ],
    [
      "a red disk scales to the minimum without a run",
      { runOpen: false, disk: "red", min: 1 },
      { depth: 8, replicas: 1, allow: 0 },
    ],
  ];
  for (const [name, facts, expected] of table) {
    const { depth, replicas, allow } = gatedDepth({ ...quiet, ...facts });
    assert.deepEqual({ depth, replicas, allow }, expected, name);
  }
});

test("the gated depth never exceeds the true one, replicas follow KEDA's arithmetic, and every cap has its reason", () => {
  const facts = fc.record({
    slice: fc.constantFrom("canary" as const, "stable" as const),
    perReplica: fc.integer({ min: 1, max: 20 }),
    min: fc.integer({ min: 0, max: 2 }),
    stableMax: fc.integer({ min: 2, max: 10 }),
    depthTrue: fc.integer({ min: 0, max: 2_000 }),
    replicasNow: fc.integer({ min: 0, max: 12 }),
    runOpen: fc.boolean(),
    runActive: fc.boolean(),
    failed: fc.boolean(),
    degradedTicks: fc.integer({ min: 0, max: 4 }),
    degradedBy: fc.constant("stale" as const),
    disk: fc.constantFrom("green" as const, "yellow-1TB" as const, "yellow-2TB" as const, "red" as const),
    azUnderTest: fc.boolean(),
  });
  fc.assert(
    fc.property(facts, (lane) => {
      const gated = gatedDepth(lane);
      assert.ok(gated.depth <= lane.depthTrue);
      assert.ok(gated.replicas <= Math.max(gated.maxReplicas, 0));
      assert.equal(Math.max(Math.min(lane.min, gated.maxReplicas), Math.ceil(gated.depth / lane.perReplica)), gated.replicas);
      if (gated.depth < lane.depthTrue && gated.maxReplicas < 100) assert.ok(gated.reasons.length > 0);
      if ((lane.runOpen && (lane.degradedTicks >= 2 || lane.failed)) || lane.disk === "red")
        assert.ok(gated.replicas <= Math.max(lane.replicasNow, lane.min) || gated.replicas <= lane.min);
    }),
  );
});

test("a failure is reported to people before its lane changes: incident, verdict, lane, demand, in this order", () => {
  const fleet = createSimulatedFleet();
  fleet.queue.depth = 20;
  fleet.advance(30);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(60);
  fleet.gateway("canary-a").diskUsedRatio = 0.95;
  fleet.advance(15);
  const { effects } = reduceFleet(fleet);
  const fail = effects.findIndex((effect) => effect.kind === "verdict" && effect.record.body.verdict === "fail");
  const incident = effects.findIndex((effect) => effect.kind === "incident" && effect.incident.code === "verdict_failed");
  const lane = effects.findIndex((effect, index) => index > fail && effect.kind === "lane");
  const demand = effects.findIndex((effect, index) => index > lane && effect.kind === "demand");
  const checkpoint = effects.findIndex((effect, index) => index > demand && effect.kind === "checkpoint");
  assert.ok(incident >= 0 && incident < fail && fail < lane && lane < demand && demand < checkpoint);
  const record = effects[lane];
  assert.ok(record?.kind === "lane" && record.record.depth === 0 && record.record.allow === 0);
});

test("a lane's tick sets its demand again although nothing has changed, so that a short queue is repaired", () => {
  const fleet = createSimulatedFleet();
  fleet.queue.depth = 20;
  fleet.advance(120);
  const { effects } = reduceFleet(fleet);
  const depths = effects.flatMap((effect) => (effect.kind === "demand" ? [effect.depth] : []));
  const records = effects.flatMap((effect) => (effect.kind === "lane" ? [effect.record.depth] : []));
  assert.deepEqual(depths, records);
  assert.deepEqual(depths.slice(-3), [20, 20, 20]);
});

test("a lane follows the end of a failed run, not its latch, and may grow while a gateway is silent", () => {
  const fleet = createSimulatedFleet();
  fleet.queue.depth = 40;
  const lane = () => {
    const records = reduceFleet(fleet).effects.flatMap((effect) => (effect.kind === "lane" ? [effect.record] : []));
    return records.at(-1)!;
  };
  const stablePack = fleet.gateway("canary-a").pack;
  fleet.advance(60);
  assert.deepEqual([lane().depth, lane().allow], [40, 1], "no run is open");
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.install("canary", "d".repeat(64));
  fleet.advance(60);
  for (const gateway of fleet.slice("canary")) gateway.errors = 100;
  fleet.advance(120);
  assert.deepEqual([lane().depth, lane().allow], [0, 0], "the run failed");

  for (const gateway of fleet.slice("canary")) Object.assign(gateway, { errors: 0, pack: stablePack });
  fleet.advance(60);
  assert.deepEqual([lane().depth, lane().allow], [40, 1], "the run is over");
  fleet.gateway("canary-b").silent = true;
  fleet.advance(120);
  assert.deepEqual([lane().depth, lane().allow], [40, 1], "a silent gateway");
});
