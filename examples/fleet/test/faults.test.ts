/** Every fault is given and taken away again, and nothing is left behind. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readFleetControl, readGatewayControl, readRollout } from "../src/control.ts";
import { FAULT_NAMES, giveFault, heal, release, resetFleet, setWeight, stableVersion } from "../src/faults.ts";
import { type FleetPlan, places } from "../src/layout.ts";
import { testPlan } from "./plan.ts";

/** All that the fleet's files say, by path. */
function picture(plan: FleetPlan): Record<string, string> {
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
    it(`${name} changes something, and heal takes it away`, async () => {
      using plan = await testPlan();
      resetFleet(plan, 20);
      const before = picture(plan);
      const struck = giveFault(plan, name);
      assert.equal(struck.length === 0, name === "queue", "a fault says which gateways it strikes; the lane's is no gateway's");
      assert.notDeepEqual(picture(plan), before);
      heal(plan);
      assert.deepEqual(picture(plan), before);
    });
  }

  it("strike where they are told", async () => {
    using plan = await testPlan();
    resetFleet(plan, 20);
    assert.deepEqual(giveFault(plan, "5xx"), ["mac-a1", "mac-b1", "mac-c1"]);
    assert.deepEqual(giveFault(plan, "5xx", { az: "az-c", slice: "stable" }), ["mac-c2"]);
    assert.equal(readGatewayControl(plan, "mac-c2").errorRatio, 0.2);
    assert.equal(readGatewayControl(plan, "mac-b2").errorRatio, 0);
    giveFault(plan, "dead", { gateway: "mac-a2" });
    assert.deepEqual(giveFault(plan, "cut", { gateway: "mac-b1" }), ["mac-b1", "mac-b2"], "a zone is cut off as a whole");
    assert.deepEqual(readFleetControl(plan), { dead: ["mac-a2"], cut: ["az-b"], clockOffsetMs: {}, laneDepth: null });
  });

  it("are refused with the names that exist", async () => {
    using plan = await testPlan();
    assert.throws(() => giveFault(plan, "flood"), /choose one of 5xx, slow/);
    assert.throws(() => giveFault(plan, "5xx", { az: "az-z" }), /there are mac-a1 \(az-a, canary\)/);
    assert.throws(() => setWeight(plan, 101), /0 to 100/);
    assert.throws(() => release(plan, "canary", "../../etc"), /no version/);
  });

  it("leave releases and weight alone; a release goes to its slice only", async () => {
    using plan = await testPlan();
    resetFleet(plan, 20);
    release(plan, "canary", "2026.9.7");
    setWeight(plan, 50);
    giveFault(plan, "skills");
    const pack = (name: string): Record<string, string> =>
      Object.fromEntries(
        Object.entries(picture(plan))
          .filter(([path]) => path.startsWith(`${places.skills(plan, name)}/`))
          .map(([path, text]) => [path.slice(places.skills(plan, name).length), text]),
      );
    assert.notDeepEqual(pack("mac-b1"), pack("mac-a1"), "an edited pack differs");
    heal(plan);
    assert.equal(readGatewayControl(plan, "mac-b1").version, "2026.9.7");
    assert.equal(readRollout(plan).weight, 50);
    assert.equal(stableVersion(plan), plan.stableVersion);
    assert.deepEqual(pack("mac-b1"), pack("mac-a1"), "one release has the same bytes on every gateway");
    assert.notDeepEqual(pack("mac-a1"), pack("mac-a2"), "two releases differ");
  });
});
