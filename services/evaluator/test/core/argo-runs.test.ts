/** Runs that Argo Rollouts measures: how they end, and how the next attempt opens. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createSimulatedFleet, NEW_PACK, newestRecord, type SimulatedFleet, STABLE_PACK } from "./simulated-fleet.ts";

function withArgo(): SimulatedFleet {
  const fleet = createSimulatedFleet({ controller: "rollouts", policy: { passAfterWindows: 3 } });
  fleet.advance(60);
  return fleet;
}

const measure = (fleet: SimulatedFleet): void => fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "6d5f" });
const end = (fleet: SimulatedFleet, result: "succeeded" | "failed"): void =>
  fleet.publishControl({ verb: "end", caller: "rollouts", revision: "6d5f", result });

function install(fleet: SimulatedFleet, pack: string): void {
  fleet.install("canary", pack);
  fleet.advance(10);
}

/** Measures in intervals of a minute. */
function measureFor(fleet: SimulatedFleet, minutes: number): void {
  for (let minute = 0; minute < minutes; minute++) {
    measure(fleet);
    fleet.advance(60);
  }
}

describe("a run that Argo Rollouts measures", () => {
  it("does not end while it is measured, however often it passes", () => {
    const fleet = withArgo();
    install(fleet, NEW_PACK);
    measureFor(fleet, 8);
    const { body, run, story } = newestRecord(fleet);
    assert.deepEqual([body.verdict, run.state], ["pass", "active"], story);
    assert.ok(body.judge.consecutive_pass > 3);
  });

  it("ends as passed after enough passes once nothing has measured it for two intervals", () => {
    const fleet = withArgo();
    install(fleet, NEW_PACK);
    measureFor(fleet, 4);
    fleet.advance(60);
    assert.equal(newestRecord(fleet).run.state, "active", "one late measurement is no silence");
    fleet.advance(60);
    assert.equal(newestRecord(fleet).run.state, "passed", newestRecord(fleet).story);
  });

  it("that passed by itself is followed by the next attempt when it is measured again", () => {
    const fleet = withArgo();
    install(fleet, NEW_PACK);
    measureFor(fleet, 4);
    fleet.advance(120);
    measureFor(fleet, 3);
    const { run, body, story } = newestRecord(fleet);
    assert.deepEqual([run.attempt, run.state, body.verdict, run.promotable], [2, "active", "pass", true], story);
  });

  it("that failed is analyzed again after its end was reported and the Macs were restored", () => {
    for (const reported of [true, false]) {
      const fleet = withArgo();
      install(fleet, NEW_PACK);
      for (const gateway of fleet.slice("canary")) gateway.errors = 50;
      measureFor(fleet, 2);
      for (const gateway of fleet.slice("canary")) gateway.errors = 0;
      assert.equal(newestRecord(fleet).body.verdict, "fail", newestRecord(fleet).story);
      if (reported) end(fleet, "failed");
      install(fleet, STABLE_PACK);
      fleet.advance(120);
      measure(fleet);
      install(fleet, NEW_PACK);
      const { run, body } = newestRecord(fleet);
      assert.deepEqual([run.attempt, body.verdict], reported ? [2, "hold"] : [1, "fail"], newestRecord(fleet).story);
    }
  });

  it("ends as passed at a reported success if it was promotable, else as unjudged", () => {
    for (const [minutes, state] of [
      [4, "passed"],
      [1, "unjudged"],
    ] as const) {
      const fleet = withArgo();
      install(fleet, NEW_PACK);
      measureFor(fleet, minutes);
      end(fleet, "succeeded");
      fleet.advance(5);
      assert.equal(newestRecord(fleet).run.state, state, newestRecord(fleet).story);
    }
  });
});
