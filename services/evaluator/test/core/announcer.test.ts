/** A canary that Flux announces revisions for, and that no controller judges. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sha256Hex } from "@aviary/shared/contract/ids.ts";
import {
  createSimulatedFleet,
  type FleetOptions,
  NEW_PACK,
  newestRecord,
  type SimulatedFleet,
  STABLE_PACK,
} from "./simulated-fleet.ts";

const THIRD_PACK = sha256Hex("third pack");

function withFlux(policy: NonNullable<FleetOptions["policy"]> = { passAfterWindows: 3 }): SimulatedFleet {
  const fleet = createSimulatedFleet({ controller: "flux", policy });
  fleet.advance(60);
  return fleet;
}

function now(fleet: SimulatedFleet) {
  const record = newestRecord(fleet);
  return { ...record, named: record.revisions.map(({ name, attempt, state }) => `${name} ${attempt} ${state}`) };
}

const name = (fleet: SimulatedFleet, revision: string, skill_hash?: string): void =>
  fleet.publishControl({ verb: "announce", caller: "flux", revision, ...(skill_hash === undefined ? {} : { skill_hash }) });

function install(fleet: SimulatedFleet, pack: string, seconds = 15): void {
  fleet.install("canary", pack);
  fleet.advance(seconds);
}

/** Announces a revision, installs its pack and waits until it has passed. */
function roll(fleet: SimulatedFleet, revision: string, pack: string): void {
  name(fleet, revision);
  fleet.advance(10);
  install(fleet, pack, 180);
}

describe("a run that Flux announces without a judging caller", () => {
  it("passes by its windows like one without a controller", () => {
    const fleet = withFlux();
    name(fleet, "main@1");
    fleet.advance(10);
    assert.equal(now(fleet).run.state, "pending");
    install(fleet, NEW_PACK, 180);
    const { run, story } = now(fleet);
    assert.deepEqual([run.state, run.controller_revision, run.seat], ["passed", "main@1", null], story);
  });

  it("does not pass by its windows where a judging caller is configured", () => {
    const fleet = createSimulatedFleet({ policy: { passAfterWindows: 3 } });
    fleet.advance(60);
    roll(fleet, "main@1", NEW_PACK);
    assert.equal(now(fleet).run.state, "active");
  });

  it("opens each time when Flux goes from one revision to another and back", () => {
    const fleet = withFlux();
    roll(fleet, "main@1", NEW_PACK);
    fleet.install("stable", NEW_PACK);
    roll(fleet, "main@2", THIRD_PACK);
    assert.deepEqual(now(fleet).named, ["main@1 1 passed", "main@2 1 passed"], now(fleet).story);
    fleet.install("stable", THIRD_PACK);
    roll(fleet, "main@1", NEW_PACK);
    assert.deepEqual(now(fleet).named, ["main@2 1 passed", "main@1 2 passed"], now(fleet).story);
  });

  it("is opened once by an announcement that is repeated", () => {
    const fleet = withFlux();
    roll(fleet, "main@1", NEW_PACK);
    const { id } = now(fleet).run;
    name(fleet, "main@1");
    fleet.advance(10);
    assert.equal(now(fleet).run.id, id);
  });

  it("ends when Flux names a newer revision, which waits for its own release", () => {
    const fleet = withFlux();
    name(fleet, "main@1");
    fleet.advance(10);
    install(fleet, NEW_PACK, 60);
    name(fleet, "main@2");
    fleet.advance(30);
    const waiting = now(fleet);
    assert.deepEqual(waiting.named, ["main@1 1 superseded", "main@2 1 pending"], "the Macs still run the older release");
    install(fleet, THIRD_PACK, 180);
    const { run, story } = now(fleet);
    assert.deepEqual([run.controller_revision, run.state], ["main@2", "passed"], story);
  });

  it("ends when Flux names a newer revision whose pack it states", () => {
    const fleet = withFlux();
    name(fleet, "main@1", NEW_PACK);
    fleet.advance(10);
    name(fleet, "main@2", THIRD_PACK);
    fleet.advance(10);
    install(fleet, THIRD_PACK, 180);
    assert.deepEqual(now(fleet).named, ["main@1 1 superseded", "main@2 1 passed"], now(fleet).story);
  });

  it("follows the Macs if the newer announcement was lost", () => {
    const fleet = withFlux();
    name(fleet, "main@1");
    fleet.advance(10);
    install(fleet, NEW_PACK, 60);
    install(fleet, THIRD_PACK, 180);
    const { run, body, story } = now(fleet);
    assert.deepEqual([run.state, run.controller_revision, body.gateway.skill_hash], ["passed", null, THIRD_PACK], story);
  });

  it("is over at once when its release is removed", () => {
    const fleet = withFlux();
    name(fleet, "main@1");
    fleet.advance(10);
    install(fleet, NEW_PACK, 60);
    install(fleet, STABLE_PACK);
    assert.equal(now(fleet).run.state, "superseded", now(fleet).story);
  });

  it("is the observed one if the Macs changed before the announcement arrived", () => {
    const fleet = withFlux();
    install(fleet, NEW_PACK, 30);
    const observed = now(fleet).run;
    assert.equal(observed.state, "active", now(fleet).story);
    name(fleet, "main@1");
    fleet.advance(10);
    const { run } = now(fleet);
    assert.deepEqual([run.id, run.controller_revision], [observed.id, "main@1"]);
  });

  it("interrupts no failure: the next revision is analyzed once the Macs are restored and run it", () => {
    const fleet = withFlux();
    name(fleet, "main@1");
    fleet.advance(10);
    for (const gateway of fleet.slice("canary")) gateway.errors = 50;
    install(fleet, NEW_PACK, 120);
    assert.equal(now(fleet).body.verdict, "fail", now(fleet).story);
    name(fleet, "main@2");
    fleet.advance(10);
    assert.deepEqual([now(fleet).body.verdict, now(fleet).run.canary_active], ["fail", true]);
    for (const gateway of fleet.slice("canary")) gateway.errors = 0;
    install(fleet, STABLE_PACK);
    assert.equal(now(fleet).run.canary_active, false);
    install(fleet, THIRD_PACK, 180);
    assert.deepEqual([now(fleet).run.state, now(fleet).body.gateway.skill_hash], ["passed", THIRD_PACK], now(fleet).story);
  });

  it("ends no run of an operator", () => {
    const fleet = withFlux();
    fleet.publishControl({ verb: "start", caller: "operator", revision: "by hand" });
    name(fleet, "main@1");
    fleet.advance(10);
    assert.equal(now(fleet).run.controller_revision, "by hand");
  });
});
