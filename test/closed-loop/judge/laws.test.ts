/** Every law on a handmade record: the record violates it, and a near miss does not. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FinishedWorld } from "../run-world.ts";
import type { WorldPlan } from "../world/plan.ts";
import type { ReleasePlan } from "../world/releases.ts";
import { createRecord, type Step, type TrafficSample, type WorldRecord } from "../world/samples.ts";
import { themedPlanOf } from "../world/themes.ts";
import { violationsOf } from "./laws.ts";

const W = 60_000;
const drawn = themedPlanOf(0, "low");
const HEALTHY: ReleasePlan = { ...drawn.releases[0]!, atMs: 10 * W };
const BAD: ReleasePlan = { ...HEALTHY, fault: "errors", size: 0.05 };

/** One sample per window of the canary slice, from window 10 on. */
function traffic(release: ReleasePlan, windows: number, requests: number): TrafficSample[] {
  const errorRate = release.fault === "errors" ? release.size : 0.0005;
  return Array.from({ length: windows }, (_, index) => ({
    atMs: (11 + index) * W,
    forMs: W,
    slice: "canary" as const,
    release,
    requests,
    errors: Math.round(requests * errorRate),
    overCeiling: 0,
    errorRate,
    slowShare: 0.004,
  }));
}

const step = (release: ReleasePlan, window: number, what: Step["what"], weight = 10): Step => ({
  atMs: window * W,
  release,
  what,
  weight,
});

function lawsOf(release: ReleasePlan, record: Partial<WorldRecord>, plan: Partial<WorldPlan> = {}): string[] {
  const world: FinishedWorld = {
    plan: { ...drawn, controller: "flagger", releases: [release], steps: [10, 50], endMs: 60 * W, intervalMs: 20_000, ...plan },
    advisor: "aviary",
    record: { ...createRecord(), ...record },
  };
  return violationsOf(world).map(({ law }) => law);
}

const ended = (release: ReleasePlan): Step[] => [step(release, 40, "rolled-back")];

describe("a bad release", () => {
  it("is not widened or promoted once two windows have revealed it and the second is readable", () => {
    const samples = traffic(BAD, 10, 1_000);
    const at = (window: number, what: Step["what"]) =>
      lawsOf(BAD, { traffic: samples, steps: [step(BAD, window, what), ...ended(BAD)] });
    assert.deepEqual(at(13, "widened"), []);
    assert.deepEqual(at(15, "widened"), ["bad-widened"]);
    assert.deepEqual(at(15, "promoted"), ["bad-promoted"]);
  });

  it("is not proven bad by traffic without bad requests", () => {
    const steps = [step(BAD, 15, "widened"), ...ended(BAD)];
    assert.deepEqual(lawsOf(BAD, { traffic: traffic(BAD, 10, 20), steps }), []);
  });

  it("is rolled back by the end of the world", () => {
    assert.deepEqual(lawsOf(BAD, { traffic: traffic(BAD, 40, 1_000), steps: [] }), ["stuck"]);
  });
});

describe("any release", () => {
  it("is not promoted unless canary Macs have served enough requests with it", () => {
    const promoted = [step(HEALTHY, 14, "promoted")];
    assert.deepEqual(lawsOf(HEALTHY, { traffic: [], steps: promoted }), ["unserved-promoted"]);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: traffic(HEALTHY, 10, 50), steps: promoted }), ["unproven-promoted"]);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: traffic(HEALTHY, 10, 100), steps: promoted }), []);
  });

  it("is not widened a second time before a gross fault is ruled out", () => {
    const steps = [step(HEALTHY, 12, "widened", 10), step(HEALTHY, 12.5, "widened", 50), step(HEALTHY, 40, "promoted")];
    assert.deepEqual(lawsOf(HEALTHY, { traffic: traffic(HEALTHY, 20, 25), steps }), ["unproven-widened"]);
  });

  it("is not installed on stable before its rollout succeeded", () => {
    const installations = [{ atMs: 15 * W, slice: "stable" as const, release: HEALTHY }];
    const samples = traffic(HEALTHY, 10, 1_000);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: samples, installations, steps: [step(HEALTHY, 14, "promoted")] }), []);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: samples, installations, steps: [step(HEALTHY, 16, "promoted")] }), [
      "unpassed-on-stable",
    ]);
  });

  it("is not advanced while a canary Mac is silent", () => {
    const mac = drawn.macs.find(({ slice }) => slice === "canary")!.name;
    const faults = [{ kind: "cut" as const, mac, atMs: 11 * W, forMs: 4 * W }];
    const steps = (window: number): Step[] => [step(HEALTHY, window, "widened"), step(HEALTHY, 40, "promoted")];
    const samples = traffic(HEALTHY, 30, 1_000);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: samples, steps: steps(14) }, { faults }), ["advanced-blind"]);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: samples, steps: steps(12.5) }, { faults }), []);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: samples, steps: steps(16) }, { faults }), []);
  });
});

describe("a healthy release", () => {
  it("passes within the stated time after the last fault; no law applies without traffic", () => {
    const samples = traffic(HEALTHY, 40, 500);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: samples, steps: [] }), ["healthy-late"]);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: samples, steps: [], faultsEndMs: 45 * W }), []);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: samples, steps: [] }, { requestsPerWindow: 200 }), []);
    assert.deepEqual(lawsOf(HEALTHY, { traffic: samples, steps: [step(HEALTHY, 20, "promoted")] }), []);
  });
});

describe("an advisor", () => {
  const views = (replicas: number, runOpen: boolean) =>
    Array.from({ length: 20 }, (_, index) => ({
      atMs: index * 30_000,
      jobs: 24,
      replicas,
      demandSinceMs: 0,
      isReported: true,
      runOpen,
    }));
  const calm = { traffic: traffic(HEALTHY, 10, 1_000), steps: [step(HEALTHY, 20, "promoted")] };

  it("keeps no lane below its demand while no run is open", () => {
    assert.deepEqual(lawsOf(HEALTHY, { ...calm, lane: views(2, false) }), ["lane-starved"]);
    assert.deepEqual(lawsOf(HEALTHY, { ...calm, lane: views(2, true) }), []);
    assert.deepEqual(lawsOf(HEALTHY, { ...calm, lane: views(3, false) }), []);
  });

  it("reports no lasting condition that the runbook does not name", () => {
    const condition = { sinceMs: 20 * W, untilMs: 40 * W, state: "active", code: "queue_high", text: "deep" };
    assert.deepEqual(lawsOf(HEALTHY, { ...calm, conditions: [{ ...condition, isNamed: false }] }), ["unnamed"]);
    assert.deepEqual(lawsOf(HEALTHY, { ...calm, conditions: [{ ...condition, isNamed: true }] }), []);
    assert.deepEqual(lawsOf(HEALTHY, { ...calm, conditions: [{ ...condition, untilMs: 25 * W, isNamed: false }] }), []);
  });
});
