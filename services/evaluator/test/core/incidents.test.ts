import assert from "node:assert/strict";
import { test } from "node:test";
import { createMeasuredFleet, createSimulatedFleet, reduceFleet, type SimulatedFleet } from "./simulated-fleet.ts";

const incidents = (fleet: SimulatedFleet, code: string) =>
  reduceFleet(fleet).effects.flatMap((effect) =>
    effect.kind === "incident" && effect.incident.code === code ? [effect.incident] : [],
  );

test("a disk that crosses a mark is reported once, with its gateway, and again when it crosses it again", () => {
  const fleet = createMeasuredFleet();
  fleet.gateway("stable-b").diskUsedRatio = 0.8;
  fleet.advance(60);
  const [first, ...more] = incidents(fleet, "disk_yellow");
  assert.equal(first?.gateway, "stable-b");
  assert.equal(first?.az, "az-b");
  assert.equal(more.length, 0, "reported once");
  fleet.gateway("stable-b").diskUsedRatio = 0.5;
  fleet.advance(20);
  fleet.gateway("stable-b").diskUsedRatio = 0.8;
  fleet.advance(20);
  assert.equal(incidents(fleet, "disk_yellow").length, 2);
});

test("a shared incident and an unannounced release are reported once per run, regardless of their duration", () => {
  const shared = createMeasuredFleet();
  for (const gateway of shared.gateways) gateway.errors = 20;
  shared.advance(200);
  assert.equal(incidents(shared, "environment").length, 1);
  const changed = createMeasuredFleet();
  for (const gateway of changed.slice("canary")) gateway.version = "2026.9.9";
  changed.advance(200);
  assert.equal(incidents(changed, "release_changed").length, 1);
});

test("an exhausted hold budget is reported once and stays a hold; a failure is reported once", () => {
  const held = createSimulatedFleet({ policy: { holdBudget: "2m" } });
  held.advance(30);
  held.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  for (const gateway of held.slice("canary")) gateway.requests = 0;
  held.advance(400);
  assert.equal(incidents(held, "hold_expired").length, 1);
  const last = reduceFleet(held).verdicts.at(-1)!.body;
  assert.equal(last.verdict, "hold", "time alone fails nothing");
  assert.ok(last.reasons.some((reason) => reason.code === "hold_expired"));
  const failed = createMeasuredFleet();
  for (const gateway of failed.slice("canary")) gateway.errors = 90;
  failed.advance(300);
  assert.equal(incidents(failed, "verdict_failed").length, 1);
});
