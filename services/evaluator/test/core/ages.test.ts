import assert from "node:assert/strict";
import { test } from "node:test";
import { fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import { type PolicyFile, policySchema } from "@aviary/shared/contract/policy.ts";
import { resolveConfig } from "../../src/core/resolved-config.ts";
import {
  createMeasuredFleet,
  createSimulatedFleet,
  newestBody,
  reduceFleet,
  reduceLog,
  type SimulatedFleet,
  TEST_POLICY,
  timeline,
} from "./simulated-fleet.ts";

const DEPS_PERIOD_MS = 10_000;

const staleOf = (reasons: readonly { code: string; metric?: string | undefined; gateway?: string | undefined }[]) =>
  reasons.flatMap(({ code, gateway, metric }) => (code === "stale" ? [`${gateway} ${metric}`] : []));

test("a skills probe that fails makes the pack unknown, although every other signal repeats its hash", () => {
  const fleet = createMeasuredFleet();
  assert.equal(newestBody(fleet).gateway.skill_hash, fleet.gateway("canary-a").pack);
  fleet.gateway("canary-a").readsSkills = false;
  fleet.advance(60);
  const body = newestBody(fleet);
  assert.equal(body.verdict, "hold");
  assert.deepEqual(staleOf(body.reasons), ["canary-a skills"]);
  assert.equal(body.gateway.skill_hash, null);
  assert.equal(body.concerns.parity, "hold");
});

test("a collector that no longer reports a part of the release makes it unknown at once; one that has just started does not", () => {
  const fleet = createMeasuredFleet();
  const canary = fleet.gateway("canary-a");
  const pack = canary.pack;
  Object.assign(canary, { boot: 2, seq: 0, pack: null });
  fleet.advance(5);
  assert.equal(newestBody(fleet).gateway.skill_hash, pack, "a new boot has not read it yet");
  canary.pack = pack;
  fleet.advance(5);
  Object.assign(canary, { pack: null });
  fleet.advance(5);
  assert.equal(newestBody(fleet).gateway.skill_hash, null, "the same boot can no longer read it");
});

test("a dependency probe that stops raises a warning, which ends when the collector restarts without the probe", () => {
  const fleet = createMeasuredFleet();
  const canary = fleet.gateway("canary-a");
  fleet.send(canary, "deps", [{ name: "registry", ok: true, latency_ms: 3 }], DEPS_PERIOD_MS);
  fleet.advance(15);
  assert.deepEqual([newestBody(fleet).verdict, newestBody(fleet).gateway.deps_ok], ["pass", true]);
  fleet.advance(30);
  const stopped = newestBody(fleet);
  assert.deepEqual([stopped.verdict, staleOf(stopped.warnings)], ["pass", ["canary-a deps"]]);
  assert.equal(stopped.gateway.deps_ok, false, "unknown is not reachable");
  Object.assign(canary, { boot: 2, seq: 0 });
  fleet.advance(95);
  const restarted = newestBody(fleet);
  assert.deepEqual([restarted.verdict, staleOf(restarted.warnings)], ["pass", []]);
  assert.equal(restarted.gateway.deps_ok, true);
});

test("a dependency that was down when its probe stopped does not stay down indefinitely", () => {
  const fleet = createMeasuredFleet();
  fleet.send(fleet.gateway("canary-a"), "deps", [{ name: "registry", ok: false, latency_ms: null }], DEPS_PERIOD_MS);
  fleet.advance(5);
  assert.equal(newestBody(fleet).reasons[0]?.code, "dep_down");
  fleet.advance(60);
  assert.deepEqual([newestBody(fleet).verdict, staleOf(newestBody(fleet).warnings)], ["pass", ["canary-a deps"]]);
});

test("a required Doctor report that is too old causes a `stale` hold", () => {
  const fleet = createSimulatedFleet({ policy: { doctorBeforeTraffic: true } });
  for (const gateway of fleet.slice("canary")) gateway.sendsDoctor = true;
  fleet.advance(30);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(95);
  assert.equal(newestBody(fleet).verdict, "pass", timeline(reduceFleet(fleet).verdicts).join("\n"));
  fleet.gateway("canary-b").sendsDoctor = false;
  fleet.advance(35);
  assert.equal(newestBody(fleet).verdict, "pass", "two periods have not passed");
  fleet.advance(60);
  assert.deepEqual(staleOf(newestBody(fleet).reasons), ["canary-b doctor"]);
  assert.equal(newestBody(fleet).gateway.doctor_ok, false);
});

test("a claimed period longer than the window does not keep a fact fresh", () => {
  const fleet = createMeasuredFleet();
  const canary = fleet.gateway("canary-a");
  fleet.send(canary, "health", healthy, 86_400_000);
  canary.silent = true;
  fleet.advance(2 * 30 + 10);
  assert.ok(staleOf(newestBody(fleet).reasons).includes("canary-a health"), JSON.stringify(newestBody(fleet).reasons));
});

const healthy = {
  state: "up" as const,
  failing: [],
  suppressed: [],
  uptime_ms: 600_000,
  warm: true,
  worker_reachable: true,
};

/** The fleet's gateways under two canaries with their own policies, in this order. */
function twoCanaries(fleet: SimulatedFleet, policies: readonly (readonly [name: string, policy: PolicyFile])[]) {
  const gateways = fleet.gateways.map(({ az, name, slice }) => ({ az, name, slice, tier: "2TB" }));
  const canaries = policies.map(([name]) => [`prod/${name}`, { fleet: "payments", policy: name, callers: { flagger: {} } }]);
  const file = fleetFileSchema.parse({ fleets: { payments: { gateways } }, canaries: Object.fromEntries(canaries), lanes: {} });
  const parsed = policies.map(([name, policy]) => [`prod/${name}`, policySchema.parse({ ...TEST_POLICY, ...policy })] as const);
  return resolveConfig(file, new Map(parsed), "policy-1");
}

test("each canary of a fleet compares a disk with its own marks, in any order of the file", () => {
  const fleet = createSimulatedFleet({ lane: false });
  for (const gateway of fleet.gateways) gateway.diskUsedRatio = 0.6;
  fleet.advance(60);
  const strict = ["strict", { disk: { "2TB": { yellow: 0.5, red: 0.9 } } }] as const;
  const loose = ["loose", { disk: { "2TB": { yellow: 0.8, red: 0.9 } } }] as const;
  for (const order of [
    [strict, loose],
    [loose, strict],
  ]) {
    const { verdicts } = reduceLog(twoCanaries(fleet, order), fleet.log, fleet.now() + 100);
    const diskOk = (name: string) => verdicts.filter(({ body }) => body.subject.name === name).at(-1)!.body.gateway.disk_ok;
    assert.deepEqual([diskOk("strict"), diskOk("loose")], [false, true]);
  }
});

test("each canary of a fleet has its own grace: a canary that was stale under the shorter one recovers with the next signal", () => {
  const fleet = createSimulatedFleet({ lane: false });
  fleet.advance(300);
  fleet.gateway("canary-a").silent = true;
  fleet.advance(25);
  fleet.gateway("canary-a").silent = false;
  fleet.advance(10);
  const config = twoCanaries(fleet, [
    ["slow", { window: "5m", grace: "60s" }],
    ["quick", { window: "5m", grace: "2s" }],
  ]);
  const { verdicts } = reduceLog(config, fleet.log, fleet.now() + 100);
  const quick = verdicts.filter(({ body }) => body.subject.name === "quick");
  assert.ok(
    quick.some(({ body }) => staleOf(body.reasons).length > 0),
    timeline(quick).join("\n"),
  );
  assert.deepEqual(staleOf(quick.at(-1)!.body.reasons), []);
});

test("a Doctor finding that a canary gateway had before the run is a hold, and a finding that began in the run fails it", () => {
  const fleet = createSimulatedFleet();
  for (const gateway of fleet.gateways) gateway.sendsDoctor = true;
  fleet.gateway("canary-a").doctorErrors = ["gateway.port"];
  fleet.advance(120);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(95);
  const before = newestBody(fleet);
  assert.deepEqual([before.verdict, before.reasons.map(({ code }) => code)], ["hold", ["doctor_error"]]);
  fleet.gateway("canary-a").doctorErrors = ["gateway.port", "state.integrity"];
  fleet.advance(35);
  const after = newestBody(fleet);
  assert.equal(after.verdict, "fail");
  assert.match(after.reasons[0]!.text, /state\.integrity/);
});

test("a Doctor finding in the first report of a gateway, or in the first after a long silence, is a hold", () => {
  for (const silentForS of [0, 200]) {
    const fleet = createSimulatedFleet();
    const canary = fleet.gateway("canary-a");
    canary.sendsDoctor = silentForS > 0;
    fleet.advance(60);
    canary.sendsDoctor = false;
    fleet.advance(silentForS);
    fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
    fleet.advance(30);
    Object.assign(canary, { sendsDoctor: true, doctorErrors: ["gateway.port"] });
    fleet.advance(60);
    assert.equal(newestBody(fleet).verdict, "hold", timeline(reduceFleet(fleet).verdicts).join("\n"));
    assert.ok(newestBody(fleet).reasons.some(({ code }) => code === "doctor_error"));
  }
});

test("a disk that is yellow in the first reading of a gateway within a run does not fail the run", () => {
  const fleet = createSimulatedFleet();
  Object.assign(fleet.gateway("stable-c"), { diskUsedRatio: 0.8, silent: true });
  fleet.advance(30);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(60);
  fleet.gateway("stable-c").silent = false;
  fleet.advance(60);
  assert.equal(newestBody(fleet).verdict, "hold", timeline(reduceFleet(fleet).verdicts).join("\n"));
  assert.ok(newestBody(fleet).reasons.some(({ code, gateway }) => code === "disk_yellow" && gateway === "stable-c"));
  fleet.gateway("stable-c").diskUsedRatio = 0.95;
  fleet.advance(15);
  assert.equal(newestBody(fleet).verdict, "fail", "it rose to red in the run");
});
