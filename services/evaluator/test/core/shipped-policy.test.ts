/** The complete default policy, applied to a healthy and to a bad release. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createSimulatedFleet, NEW_PACK, reduceFleet, type SimulatedFleet, timeline } from "./simulated-fleet.ts";

const MINUTE = 60;

/** A Flagger rollout of a new pack that the Macs have, at 10%. */
function startRollout(): SimulatedFleet {
  const fleet = createSimulatedFleet({ policy: "shipped" });
  fleet.advance(30 * MINUTE);
  const gate = (name: string): void =>
    fleet.publishControl({ verb: "gate", caller: "flagger", gate: name, allowed: true, revision: "v2" });
  fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v2", gate: "confirm-rollout" });
  fleet.install("canary", NEW_PACK);
  fleet.advance(MINUTE);
  gate("pre-rollout");
  gate("confirm-traffic-increase");
  fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v2" });
  return fleet;
}

/** Flagger calls its hooks every minute. */
function pass(fleet: SimulatedFleet, minutes: number): void {
  for (let minute = 0; minute < minutes; minute++) {
    fleet.publishControl({ verb: "phase", caller: "flagger", phase: "Progressing", revision: "v2" });
    fleet.advance(MINUTE);
  }
}

test("a healthy release passes within two windows and is promotable within four, without Doctor reports", () => {
  const fleet = startRollout();
  pass(fleet, 20);
  const { verdicts } = reduceFleet(fleet);
  const story = timeline(verdicts).join("\n");
  const minutesUntil = (isReached: (body: (typeof verdicts)[number]["body"]) => boolean): number => {
    const first = verdicts.find(({ body }) => body.run !== null && isReached(body));
    assert.ok(first?.body.run, story);
    return (Date.parse(first.body.at) - Date.parse(first.body.run.since)) / 60_000;
  };
  assert.ok(minutesUntil(({ verdict }) => verdict === "pass") <= 10.5, story);
  assert.ok(minutesUntil(({ run }) => run?.promotable === true) <= 20.5, story);
  assert.equal(verdicts.at(-1)!.body.verdict, "pass", story);
});

test("a release that fails 10% of its requests fails within three windows", () => {
  const fleet = startRollout();
  for (const gateway of fleet.slice("canary")) gateway.errors = 10;
  pass(fleet, 16);
  const { verdicts } = reduceFleet(fleet);
  const last = verdicts.at(-1)!.body;
  assert.deepEqual([last.verdict, last.run?.state], ["fail", "failed"], timeline(verdicts).join("\n"));
});

test("a gateway whose collector sends Doctor reports must send one for the release; others need none", () => {
  const fleet = createSimulatedFleet({ policy: { doctorBeforeTraffic: "auto" } });
  for (const gateway of fleet.slice("canary").slice(0, 1)) gateway.sendsDoctor = true;
  fleet.advance(60);
  fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v2", gate: "confirm-rollout" });
  for (const gateway of fleet.slice("canary")) Object.assign(gateway, { pack: NEW_PACK, sendsDoctor: false });
  fleet.advance(20);
  const { verdicts } = reduceFleet(fleet);
  const asking = verdicts
    .at(-1)!
    .body.reasons.filter(({ code }) => code === "doctor_unknown")
    .map(({ gateway }) => gateway);
  assert.deepEqual(asking, ["canary-a"], timeline(verdicts).join("\n"));
});
