import assert from "node:assert/strict";
import { test } from "node:test";
import { EXCLUSIONS, type SliceAccount } from "@aviary/shared/contract/window.ts";
import type { Input } from "../../src/core/inputs.ts";
import { createSimulatedFleet, reduceFleet, reduceLog, type SimulatedFleet, timeline } from "./simulated-fleet.ts";

const PERIOD_MS = 5_000;

/** Windows of the run by index, as the verdicts contain them. */
function windowsOf(fleet: SimulatedFleet, log: readonly Input[] = fleet.log) {
  const { verdicts } = reduceLog(fleet.config, log, fleet.now() + 2_100);
  return new Map(
    verdicts.flatMap(({ body, evidence }) =>
      evidence.closed !== null && body.run !== null ? [[evidence.closed.window.index, evidence.closed] as const] : [],
    ),
  );
}

function measured(policy = {}): SimulatedFleet {
  const fleet = createSimulatedFleet({ policy });
  fleet.advance(30);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  return fleet;
}

const excludedSum = ({ excluded }: SliceAccount): number => EXCLUSIONS.reduce((sum, why) => sum + (excluded[why] ?? 0), 0);

test("every reported request is merged or excluded with its cause, and complete windows exclude at most 5%", () => {
  const fleet = measured();
  fleet.advance(60);
  fleet.gateway("canary-b").warm = false;
  fleet.advance(25);
  fleet.gateway("canary-b").warm = true;
  fleet.publishControl({ verb: "maintenance", caller: "operator", on: true, mute: true, gateway: "stable-a", reason: "disk" });
  fleet.advance(30);
  fleet.publishControl({ verb: "maintenance", caller: "operator", on: false, mute: true, gateway: "stable-a", reason: "disk" });
  fleet.gateway("stable-b").unread = 7;
  fleet.advance(95);
  const named = new Set<string>();
  for (const { window, accounts, complete } of windowsOf(fleet).values()) {
    for (const account of accounts!) {
      assert.equal(account.seen, account.merged + excludedSum(account));
      const expected = 3 * 6 * 100 + (account.excluded.unread ?? 0);
      assert.equal(account.seen, expected, `window ${window.index} ${account.slice}`);
      if (complete) assert.ok(excludedSum(account) <= 0.05 * account.seen);
      for (const why of Object.keys(account.excluded)) named.add(why);
    }
  }
  assert.deepEqual([...named].sort(), ["maintenance", "unread", "warming"]);
});

test("a gateway that never warms up does not pass, and its requests are excluded as `warming`", () => {
  for (const mode of ["literal", "two-key"] as const) {
    const fleet = measured({ mode });
    fleet.gateway("canary-b").errors = 80;
    fleet.gateway("canary-b").warm = false;
    fleet.advance(600);
    const { verdicts } = reduceFleet(fleet);
    const judged = verdicts.filter(({ body }) => body.run?.state === "active");
    assert.ok(
      judged.every(({ body }) => body.verdict !== "pass" && body.run?.promotable === false),
      timeline(verdicts).join("\n"),
    );
    const { complete, accounts, gaps } = [...windowsOf(fleet).values()].at(-1)!;
    assert.equal(complete, false);
    assert.equal(accounts!.find(({ slice }) => slice === "canary")!.excluded.warming, 600);
    assert.match(gaps.join(), /canary-b \(az-b\): no traffic reports count \(warming\)/);
  }
});

test("a window in which two gateways report no traffic for four of five minutes is incomplete", () => {
  const fleet = measured({ window: "5m", grace: "10s", mode: "two-key" });
  fleet.advance(310);
  fleet.advance(15);
  for (const name of ["canary-b", "canary-c"]) fleet.gateway(name).reportsTraffic = false;
  fleet.advance(240);
  for (const name of ["canary-b", "canary-c"]) fleet.gateway(name).reportsTraffic = true;
  fleet.advance(60);
  const closed = windowsOf(fleet).get(1)!;
  assert.equal(closed.complete, false);
  assert.match(closed.gaps.join("\n"), /canary-b \(az-b\): its traffic reports cover 20% of the window/);
});

test("the warm-up of a run makes its first window a `warming` hold that is not degraded, and the next window passes", () => {
  const fleet = measured();
  fleet.advance(70);
  const closed = reduceFleet(fleet).verdicts.filter(({ body }) => body.window !== null && body.run?.state === "active");
  const [first, second] = closed.map(({ body }) => body);
  assert.deepEqual([first!.window!.index, first!.verdict, first!.degraded], [0, "hold", false]);
  assert.deepEqual(
    first!.reasons.map(({ code }) => code),
    ["warming"],
  );
  assert.deepEqual([second!.window!.index, second!.verdict], [1, "pass"]);
  const { complete, warm_up, accounts } = windowsOf(fleet).get(0)!;
  assert.deepEqual([complete, warm_up], [false, true]);
  assert.deepEqual(accounts!.find(({ slice }) => slice === "canary")!.excluded, { warming: 600 });
});

test("the run's warm-up does not excuse a gateway that restarts during it", () => {
  const fleet = measured();
  fleet.gateway("canary-a").warm = false;
  fleet.advance(35);
  const { warm_up, complete } = windowsOf(fleet).get(0)!;
  assert.deepEqual([complete, warm_up], [false, undefined]);
});

test("requests for a window that has closed are late, and those with an implausible timestamp are lost", () => {
  const fleet = measured();
  fleet.advance(65);
  fleet.gateway("canary-a").clockOffsetMs = -40_000;
  fleet.advance(5);
  fleet.gateway("canary-a").clockOffsetMs = 60_000;
  fleet.advance(5);
  fleet.gateway("canary-a").clockOffsetMs = 0;
  fleet.advance(30);
  const canary = windowsOf(fleet)
    .get(2)!
    .accounts!.find(({ slice }) => slice === "canary")!;
  assert.deepEqual(canary.excluded, { late: 100, lost: 100 });
});

test("a report that covers more than a window is not merged into one", () => {
  const fleet = measured();
  fleet.advance(35);
  const canary = fleet.gateway("canary-a");
  canary.reportsTraffic = false;
  fleet.advance(10);
  const latency = { scale: 6, zero: 0, offset: 0, counts: [] };
  fleet.send(canary, "http", { source: "access-log", requests: 900, errors_5xx: 9, latency }, 45_000);
  canary.reportsTraffic = true;
  fleet.advance(30);
  const closed = windowsOf(fleet).get(1)!;
  assert.equal(closed.accounts!.find(({ slice }) => slice === "canary")!.excluded.unslotted, 900);
  assert.equal(closed.complete, false);
  assert.ok(PERIOD_MS < 45_000);
});

test("an uplink that delays every signal never yields a complete window, because the last signals of each window arrive after the grace", () => {
  const fleet = measured({ mode: "two-key" });
  const from = fleet.log.length;
  fleet.advance(300);
  const log = fleet.log.map((input, index) =>
    index >= from && input.kind === "signal" ? { ...input, storedAtMs: input.storedAtMs + 8_000 } : input,
  );
  const { verdicts } = reduceLog(fleet.config, log, fleet.now() + 10_100);
  const closed = verdicts.flatMap(({ body, evidence }) =>
    body.run !== null && evidence.closed !== null ? [evidence.closed] : [],
  );
  assert.ok(closed.length > 5 && closed.every(({ complete }) => !complete));
  assert.ok(closed.some(({ accounts }) => accounts!.every(({ excluded }) => (excluded.late ?? 0) > 0)));
  assert.ok(verdicts.every(({ body }) => body.verdict !== "pass"));
});
