import assert from "node:assert/strict";
import { test } from "node:test";
import { createSimulatedFleet, type GatewayPlan, reduceFleet, STABLE_PACK, timeline } from "./simulated-fleet.ts";

/** A collector that has just started: its first signals are sent before the probes have read the gateway. */
function forget(gateway: GatewayPlan): void {
  Object.assign(gateway, { version: null, pack: null });
}

test("a part that was unknown when the release was pinned may be completed later without counting as a change", () => {
  const fleet = createSimulatedFleet();
  for (const gateway of fleet.gateways) forget(gateway);
  fleet.advance(5);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  for (const gateway of fleet.gateways) gateway.version = "2026.9.6";
  fleet.advance(5);
  for (const gateway of fleet.gateways) gateway.pack = STABLE_PACK;
  fleet.advance(90);
  const { verdicts } = reduceFleet(fleet);
  assert.equal(verdicts.at(-1)?.body.verdict, "pass", timeline(verdicts).join("\n"));
  assert.ok(verdicts.every(({ body }) => body.reasons.every(({ code }) => code !== "release_changed")));

  for (const gateway of fleet.slice("canary")) gateway.version = "2026.9.8";
  fleet.advance(10);
  const changed = reduceFleet(fleet).verdicts.at(-1)!.body;
  assert.equal(changed.reasons[0]?.code, "release_changed", "a change of a known part is a change");
});

test("no run starts while the release is incompletely known; an announced run stays pending", () => {
  for (const controller of ["flagger", false] as const) {
    const fleet = createSimulatedFleet({ controller });
    for (const gateway of fleet.slice("canary")) forget(gateway);
    fleet.advance(10);
    if (controller) fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v2" });
    fleet.advance(60);
    const states = new Set(reduceFleet(fleet).verdicts.map(({ body }) => body.run?.state));
    assert.deepEqual([...states], controller ? [undefined, "pending"] : [undefined]);
  }
});
