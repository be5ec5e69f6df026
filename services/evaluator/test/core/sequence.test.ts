import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "@aviary/shared/testing/random.ts";
import { createSequenceTrack, isNewest, missingIn, recordArrival } from "../../src/core/sequence.ts";
import { createSimulatedFleet, reduceFleet, timeline } from "./simulated-fleet.ts";

const DAY_MS = 86_400_000;

test("a boot is newer than every boot seen before it, regardless of the time in its name", () => {
  const track = createSequenceTrack();
  assert.equal(recordArrival(track, `${(30 * DAY_MS).toString(36)}-a`, 1, 1_000), "new");
  assert.equal(recordArrival(track, "1-b", 1, 2_000), "new");
  assert.ok(isNewest(track, "1-b", 1));
  assert.equal(missingIn(track, 1_500, 1_600), "the collector restarted");
  assert.equal(recordArrival(track, `${(30 * DAY_MS).toString(36)}-a`, 2, 1_100), "new", "the spool of the older boot");
  assert.ok(isNewest(track, "1-b", 1));
});

test("a gateway whose clock was wrong when its collector booted is measured again after the clock was repaired", () => {
  for (const bootedAtMs of [DAY_MS, -30 * DAY_MS]) {
    const fleet = createSimulatedFleet();
    fleet.advance(30);
    Object.assign(fleet.gateway("canary-a"), { boot: bootedAtMs, seq: 0 });
    fleet.advance(60);
    Object.assign(fleet.gateway("canary-a"), { boot: 60_000, seq: 0 });
    fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
    fleet.advance(95);
    const { verdicts } = reduceFleet(fleet);
    assert.equal(verdicts.at(-1)!.body.verdict, "pass", timeline(verdicts).join("\n"));
  }
});

test("signals sent before the first to arrive count when they arrive, and are missing from no window until then", () => {
  const track = createSequenceTrack();
  assert.equal(recordArrival(track, "a", 3, 3_000), "new");
  assert.equal(missingIn(track, 0, 10_000), undefined);
  const restored = JSON.parse(JSON.stringify(track)) as typeof track;
  assert.equal(missingIn(restored, 0, 10_000), undefined, "also from a checkpoint");
  assert.equal(recordArrival(track, "a", 1, 1_000), "new");
  assert.equal(recordArrival(track, "a", 1, 1_000), "duplicate");
  assert.equal(recordArrival(track, "a", 2, 2_000), "new");
  assert.ok(isNewest(track, "a", 3));
});

test("signals of a dropped boot do not count twice, and their time is lost", () => {
  const track = createSequenceTrack();
  for (const boot of ["a", "b", "c", "d", "e"]) recordArrival(track, boot, 1, 1_000);
  assert.equal(recordArrival(track, "a", 1, 50_000), "unknown-boot");
  assert.equal(missingIn(track, 49_000, 60_000), "signals of a forgotten collector boot");
  for (let index = 0; index < 1_000; index++) recordArrival(track, `boot-${index}`, 1, 1_000);
  assert.ok(track.boots.length <= 4 && track.dropped.length <= 32 && track.lost.length <= 64);
});

test("the number of gaps is bounded, and the time of a dropped gap stays lost", () => {
  const random = seededRandom(7);
  const track = createSequenceTrack();
  recordArrival(track, "a", 1, 1_000);
  recordArrival(track, "a", 100_000_000, 2_000);
  let seq = 1;
  for (let index = 0; index < 100_000; index++) {
    seq += 2 + Math.floor(random() * 900);
    recordArrival(track, "a", seq, 2_000);
    assert.ok(track.boots[0]!.holes.length <= 64 && track.lost.length <= 64);
  }
  for (let index = 0; index < 1_000; index++) recordArrival(track, "a", 200_000_000 + index * 2, 3_000);
  assert.ok(track.boots[0]!.holes.length <= 64);
  assert.equal(missingIn(track, 1_500, 1_600), "signals missing");
});
