/** Every fault can be injected and healed without residue. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readDesiredFleet, readDesiredGateway, readDesiredRollout } from "../src/desired-state.ts";
import { FAULT_NAMES, heal, injectFault, release, resetFleet, setWeight, stableVersion } from "../src/faults.ts";
import { type FleetPlan, paths } from "../src/layout.ts";
import { testPlan } from "./plan.ts";

/** The content of every file of the fleet, by path. */
function snapshotOf(plan: FleetPlan): Record<string, string> {
  const files = readdirSync(plan.directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path, readFileSync(path, "utf8")] as const;
    }),
  );
}

describe("faults", () => {
  for (const name of FAULT_NAMES) {
    it(`${name} changes the fleet's files, and heal restores them`, async () => {
      using plan = await testPlan();
      resetFleet(plan, 20);
      const before = snapshotOf(plan);
      const affected = injectFault(plan, name);
      assert.equal(
        affected.length === 0,
        name === "queue",
        "a fault returns the gateways it affects; the queue fault affects none",
      );
      assert.notDeepEqual(snapshotOf(plan), before);
      heal(plan);
      assert.deepEqual(snapshotOf(plan), before);
    });
  }

  it("affect only the selected gateways", async () => {
    using plan = await testPlan();
    resetFleet(plan, 20);
    assert.deepEqual(injectFault(plan, "5xx"), ["mac-a1", "mac-b1", "mac-c1"]);
    assert.deepEqual(injectFault(plan, "5xx", { az: "az-c", slice: "stable" }), ["mac-c2"]);
    assert.equal(readDesiredGateway(plan, "mac-c2").errorRatio, 0.2);
    assert.equal(readDesiredGateway(plan, "mac-b2").errorRatio, 0);
    injectFault(plan, "dead", { gateway: "mac-a2" });
    assert.deepEqual(injectFault(plan, "cut", { gateway: "mac-b1" }), ["mac-b1", "mac-b2"], "an AZ is cut as a whole");
    assert.deepEqual(readDesiredFleet(plan), { dead: ["mac-a2"], cut: ["az-b"], clockOffsetMs: {}, laneDepth: null });
  });

  it("are rejected with the valid names when the fault or target is unknown", async () => {
    using plan = await testPlan();
    assert.throws(() => injectFault(plan, "flood"), /choose one of 5xx, slow/);
    assert.throws(
      () => injectFault(plan, "5xx", { az: "az-z" }),
      /no gateway matches --az az-z; the fleet has: mac-a1 \(az-a, canary\)/,
    );
    assert.throws(() => setWeight(plan, 101), /0 to 100/);
    assert.throws(() => release(plan, "canary", "../../etc"), /invalid version/);
  });

  it("do not change releases or weight, and a release changes only its slice", async () => {
    using plan = await testPlan();
    resetFleet(plan, 20);
    release(plan, "canary", "2026.9.7");
    setWeight(plan, 50);
    injectFault(plan, "skills");
    const pack = (name: string): Record<string, string> =>
      Object.fromEntries(
        Object.entries(snapshotOf(plan))
          .filter(([path]) => path.startsWith(`${paths.skills(plan, name)}/`))
          .map(([path, text]) => [path.slice(paths.skills(plan, name).length), text]),
      );
    assert.notDeepEqual(pack("mac-b1"), pack("mac-a1"), "an edited pack differs");
    heal(plan);
    assert.equal(readDesiredGateway(plan, "mac-b1").version, "2026.9.7");
    assert.equal(readDesiredRollout(plan).weight, 50);
    assert.equal(stableVersion(plan), plan.stableVersion);
    assert.deepEqual(pack("mac-b1"), pack("mac-a1"), "one release has the same bytes on every gateway");
    assert.notDeepEqual(pack("mac-a1"), pack("mac-a2"), "two releases differ");
  });
});
