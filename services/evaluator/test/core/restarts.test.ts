import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createRestartTrack, restartsSince, trackHealth, trackProcess } from "../../src/core/restarts.ts";
import {
  createMeasuredFleet,
  type GatewayPlan,
  NEW_PACK,
  newestBody,
  reduceFleet,
  type SimulatedFleet,
  timeline,
} from "./simulated-fleet.ts";

const codes = (fleet: SimulatedFleet): string[] => newestBody(fleet).reasons.map(({ code }) => code);
const story = (fleet: SimulatedFleet): string => timeline(reduceFleet(fleet).verdicts).join("\n");

/** Restarts gateways: their uptime starts again, and they are in their warm-up for the next `seconds`. */
function restart(fleet: SimulatedFleet, gateways: readonly GatewayPlan[], seconds = 10): void {
  for (const gateway of gateways) Object.assign(gateway, { uptimeMs: 1_000, warm: false });
  fleet.advance(seconds);
  for (const gateway of gateways) Object.assign(gateway, { uptimeMs: 600_000, warm: true });
  fleet.advance(5);
}

const AT = { isContinuous: true, isPlanned: false };

describe("the restarts of a gateway", () => {
  test("are detected by a lower uptime or a higher process count, and count once if both report them", () => {
    const track = createRestartTrack();
    const health = { failing: [], suppressed: [], warm: true, worker_reachable: true };
    const up = (uptime_ms: number | null, observedAtMs: number) =>
      trackHealth(track, { ...health, state: "up", uptime_ms }, { ...AT, observedAtMs });
    const process = (restarts: number, observedAtMs: number, isSameBoot = true) =>
      trackProcess(track, { gateway_boot: null, restarts, rss_bytes: null }, { ...AT, observedAtMs, isSameBoot });
    assert.equal(up(50_000, 1), false);
    assert.equal(up(null, 2), false, "an unknown uptime is not a restart");
    assert.equal(up(55_000, 3), false);
    assert.equal(process(7, 3), false, "the first report is the starting point");
    assert.equal(up(2_000, 4), true);
    assert.equal(process(8, 5), true);
    assert.equal(restartsSince(track, 0), 1);
    assert.equal(process(0, 6, false), false, "another collector counts from its own start");
    assert.equal(process(2, 7), true);
    assert.equal(restartsSince(track, 0), 3);
    assert.equal(restartsSince(track, 6), 2);
  });

  test("are bounded", () => {
    const track = createRestartTrack();
    trackProcess(track, { gateway_boot: null, restarts: 0, rss_bytes: null }, { ...AT, observedAtMs: 1, isSameBoot: true });
    trackProcess(track, { gateway_boot: null, restarts: 1e9, rss_bytes: null }, { ...AT, observedAtMs: 2, isSameBoot: true });
    assert.equal(restartsSince(track, 0), 100);
  });
});

test("a canary gateway that restarts in a run causes a `restarting` hold with its name until one window has passed", () => {
  const fleet = createMeasuredFleet();
  restart(fleet, [fleet.gateway("canary-a")]);
  const { verdict, reasons } = newestBody(fleet);
  assert.deepEqual([verdict, reasons[0]!.code, reasons[0]!.gateway, reasons[0]!.value], ["hold", "restarting", "canary-a", 1]);
  fleet.advance(95);
  assert.equal(newestBody(fleet).verdict, "pass", story(fleet));
});

test("a canary that crash-loops fails with the window of its third restart, if stable does not restart", () => {
  for (const mode of ["literal", "two-key"] as const) {
    const fleet = createMeasuredFleet({ policy: { mode } });
    for (let crash = 1; crash <= 3; crash++) {
      assert.notEqual(newestBody(fleet).verdict, "fail", `before restart ${crash}`);
      restart(fleet, [fleet.gateway("canary-b")], 35);
    }
    fleet.advance(30);
    const body = newestBody(fleet);
    assert.equal(body.verdict, "fail", story(fleet));
    assert.deepEqual([body.reasons[0]!.code, body.reasons[0]!.gateway, body.reasons[0]!.value], ["restarting", "canary-b", 3]);
  }
});

test("restarts that stable's gateways share, that are part of maintenance, or that install a release do not fail a run", () => {
  const shared = createMeasuredFleet();
  for (let crash = 1; crash <= 4; crash++) restart(shared, shared.gateways);
  assert.ok(codes(shared).includes("restarting"));
  shared.advance(20);
  assert.equal(newestBody(shared).verdict, "hold", story(shared));

  const planned = createMeasuredFleet();
  planned.publishControl({ verb: "maintenance", caller: "operator", on: true, mute: true, gateway: "canary-a", reason: "disk" });
  for (let crash = 1; crash <= 4; crash++) restart(planned, [planned.gateway("canary-a")]);
  planned.advance(60);
  assert.equal(newestBody(planned).verdict, "hold");

  const installed = createMeasuredFleet();
  for (const gateway of installed.slice("canary")) {
    gateway.pack = NEW_PACK;
    restart(installed, [gateway], 5);
  }
  installed.advance(60);
  assert.notEqual(newestBody(installed).verdict, "fail", story(installed));
});

test("a canary slice that is down for a whole window fails if stable is up, and does not fail if stable is down too", () => {
  const alone = createMeasuredFleet();
  for (const gateway of alone.slice("canary")) Object.assign(gateway, { health: "refused", requests: 0 });
  alone.advance(25);
  assert.equal(newestBody(alone).verdict, "hold", "no whole window yet");
  alone.advance(45);
  assert.deepEqual([newestBody(alone).verdict, codes(alone)[0]], ["fail", "gateway_down"], story(alone));

  const together = createMeasuredFleet();
  for (const gateway of together.gateways) Object.assign(gateway, { health: "refused", requests: 0 });
  together.advance(100);
  assert.equal(newestBody(together).verdict, "hold");

  const silent = createMeasuredFleet();
  for (const gateway of silent.slice("canary")) gateway.silent = true;
  silent.advance(100);
  assert.equal(newestBody(silent).verdict, "hold", "silence does not prove that a gateway is down");

  const one = createMeasuredFleet();
  Object.assign(one.gateway("canary-a"), { health: "refused", requests: 0 });
  one.advance(100);
  assert.equal(newestBody(one).verdict, "hold");
});

test("nothing fails a run while it is paused or its canary gateways are in maintenance", () => {
  const suspend: ((fleet: SimulatedFleet) => void)[] = [
    (fleet) => fleet.publishControl({ verb: "pause", caller: "operator", reason: "looking" }),
    (fleet) => fleet.publishControl({ verb: "maintenance", caller: "operator", on: true, mute: true, reason: "network" }),
    (fleet) => {
      for (const { name } of fleet.slice("canary"))
        fleet.publishControl({ verb: "maintenance", caller: "operator", on: true, mute: true, gateway: name, reason: "power" });
    },
  ];
  for (const start of suspend) {
    const fleet = createMeasuredFleet();
    start(fleet);
    for (const gateway of fleet.slice("canary")) Object.assign(gateway, { errors: 50, diskUsedRatio: 0.95 });
    fleet.advance(40);
    for (let crash = 1; crash <= 4; crash++) restart(fleet, fleet.slice("canary"));
    fleet.advance(60);
    assert.equal(newestBody(fleet).verdict, "hold", story(fleet));
    assert.ok(codes(fleet).includes("maintenance"));
  }
});

test("evidence from before a pause still fails the run when it is resumed", () => {
  const fleet = createMeasuredFleet();
  fleet.gateway("canary-a").diskUsedRatio = 0.8;
  fleet.publishControl({ verb: "pause", caller: "operator", reason: "looking" });
  fleet.advance(40);
  assert.equal(newestBody(fleet).verdict, "hold");
  fleet.publishControl({ verb: "resume", caller: "operator", reason: "looked" });
  fleet.advance(5);
  assert.deepEqual([newestBody(fleet).verdict, codes(fleet)[0]], ["fail", "disk_yellow"], story(fleet));
});
