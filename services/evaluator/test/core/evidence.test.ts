import assert from "node:assert/strict";
import { test } from "node:test";
import { REASON_CODES } from "@aviary/shared/contract/reasons.ts";
import fc from "fast-check";
import type { Input } from "../../src/core/inputs.ts";
import {
  createMeasuredFleet,
  createSimulatedFleet,
  type GatewayPlan,
  newestBody,
  reduceFleet,
  reduceLog,
  type SimulatedFleet,
  timeline,
} from "./simulated-fleet.ts";

const codes = (fleet: SimulatedFleet): string[] => newestBody(fleet).reasons.map((reason) => reason.code);

test("a healthy canary passes", () => {
  assert.equal(
    newestBody(createMeasuredFleet()).verdict,
    "pass",
    timeline(reduceFleet(createMeasuredFleet()).verdicts).join("\n"),
  );
});

test("a gateway that stops reporting puts the verdict on hold within two periods plus the grace, and is named", () => {
  const fleet = createMeasuredFleet();
  const before = fleet.now();
  fleet.gateway("stable-c").silent = true;
  fleet.advance(20);
  const { verdicts } = reduceFleet(fleet);
  const first = verdicts.find(
    ({ body: verdict }) =>
      verdict.reasons.some((reason) => reason.code === "stale" && reason.gateway === "stable-c") &&
      Date.parse(verdict.at) > before,
  );
  assert.ok(first, timeline(verdicts).join("\n"));
  assert.equal(first.body.verdict, "hold");
  assert.equal(first.body.degraded, true);
  assert.equal(first.body.reasons[0]!.gateway, "stable-c");
  assert.ok(Date.parse(first.body.at) <= before + 2 * 5_000 + 2_000, "decided at the deadline");
  assert.equal(newestBody(fleet).gateway.fresh, 5);
});

test("a gateway that has never reported puts the verdict on hold with `not_reporting`, unlike one that has stopped", () => {
  const fleet = createSimulatedFleet();
  fleet.gateway("stable-c").silent = true;
  fleet.advance(30);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(95);
  const reasons = newestBody(fleet).reasons.filter((reason) => reason.gateway === "stable-c");
  assert.deepEqual(
    reasons.map(({ code, text }) => [code, text]),
    [["not_reporting", "stable-c (az-c) has never reported"]],
  );
  assert.equal(newestBody(fleet).degraded, true);
});

test("a gap in a gateway's sequence puts its window on hold; a gap that is filled in time does not", () => {
  const fleet = createMeasuredFleet();
  fleet.advance(5);
  const lostAt = fleet.log.length - 8;
  const lost = fleet.log[lostAt]!;
  fleet.advance(60);
  const resequenced = (log: Input[]): Input[] => log.map((input, index) => ({ ...input, sequence: index + 1 }) as Input);
  const without = resequenced(fleet.log.filter((_, index) => index !== lostAt));
  const holed = reduceLog(fleet.config, without, fleet.now() + 100).verdicts;
  assert.ok(
    holed.some(({ body: verdict }) => verdict.reasons.some((reason) => reason.code === "gap")),
    timeline(holed).join("\n"),
  );
  const reordered = fleet.log.filter((_, index) => index !== lostAt);
  const storedAtMs = (fleet.log[lostAt + 5] as { storedAtMs: number }).storedAtMs;
  reordered.splice(lostAt + 5, 0, { ...lost, storedAtMs } as Input);
  const filled = reduceLog(fleet.config, resequenced(reordered), fleet.now() + 100).verdicts;
  assert.ok(
    !filled.some(({ body: verdict }) => verdict.reasons.some((reason) => reason.code === "gap")),
    timeline(filled).join("\n"),
  );
});

test("a collector restart puts its window on hold, and the next window counts again", () => {
  const fleet = createMeasuredFleet();
  Object.assign(fleet.gateway("canary-a"), { boot: 2, seq: 0 });
  fleet.advance(35);
  assert.ok(
    reduceFleet(fleet).verdicts.some(({ body: verdict }) =>
      verdict.reasons.some((reason) => reason.code === "gap" && reason.text.includes("restarted")),
    ),
  );
  fleet.advance(65);
  assert.equal(newestBody(fleet).verdict, "pass", timeline(reduceFleet(fleet).verdicts).join("\n"));
});

test("signals that arrive after their window closed are counted in the next record and never merged", () => {
  const fleet = createMeasuredFleet();
  const canary = fleet.gateway("canary-b");
  const held: Input[] = [];
  const start = fleet.log.length;
  fleet.advance(30);
  for (const [index, input] of fleet.log.entries()) {
    if (index >= start && input.kind === "signal" && input.signal.gateway === canary.name && input.signal.kind === "http")
      held.push(input);
  }
  fleet.advance(15);
  const storedAtMs = (fleet.log[fleet.log.length - 1] as { storedAtMs: number }).storedAtMs;
  const log = [
    ...fleet.log.filter((input) => !held.includes(input)),
    ...held.map((input) => ({ ...input, storedAtMs }) as Input),
  ].map((input, index) => ({ ...input, sequence: index + 1 }) as Input);
  const rest = fleet.log.length;
  fleet.advance(60);
  const tail = fleet.log.slice(rest).map((input, index) => ({ ...input, sequence: log.length + index + 1 }) as Input);
  const { verdicts } = reduceLog(fleet.config, [...log, ...tail], fleet.now() + 100);
  const windows = new Map(
    verdicts.flatMap(({ evidence }) => (evidence.closed ? [[evidence.closed.window.start, evidence.closed] as const] : [])),
  );
  const late = [...windows.values()].reduce((sum, window) => sum + window.late, 0);
  assert.ok(late > 0 && late <= held.length);
  const incomplete = [...windows.values()].filter((window) => !window.complete);
  assert.ok(incomplete.length > 0);
});

function setAll(gateways: GatewayPlan[], plan: Partial<GatewayPlan>): void {
  for (const gateway of gateways) Object.assign(gateway, plan);
}

test("each unmet condition is a hold with its own code", () => {
  const cases: [string, (fleet: SimulatedFleet) => void][] = [
    ["gateway_down", (fleet) => setAll([fleet.gateway("canary-a")], { health: "timeout" })],
    ["slice_mismatch", (fleet) => setAll([fleet.gateway("canary-a")], { claims: "stable" })],
    ["version_skew", (fleet) => setAll([fleet.gateway("canary-a")], { version: "2026.9.9" })],
    ["clock_skew", (fleet) => setAll([fleet.gateway("canary-a")], { clockOffsetMs: 60_000 })],
    ["release_changed", (fleet) => setAll(fleet.slice("canary"), { version: "2026.9.9" })],
    ["environment", (fleet) => setAll(fleet.gateways, { errors: 20 })],
    ["low_traffic", (fleet) => setAll(fleet.gateways, { requests: 0 })],
  ];
  for (const [code, spoil] of cases) {
    const fleet = createMeasuredFleet();
    spoil(fleet);
    fleet.advance(70);
    const verdict = newestBody(fleet);
    assert.equal(verdict.verdict, "hold", `${code}: ${timeline(reduceFleet(fleet).verdicts).slice(-4).join(" | ")}`);
    assert.ok(codes(fleet).includes(code), `${code}: ${codes(fleet).join(" ")}`);
    assert.equal(verdict.degraded, code !== "low_traffic", code);
  }
});

test("the reasons of a hold list faults before suspicious traffic, and a wrong clock before the staleness it causes", () => {
  const down = createMeasuredFleet();
  setAll([down.gateway("canary-a")], { health: "timeout", errors: 2 });
  down.advance(40);
  const verdict = codes(down);
  assert.equal(newestBody(down).verdict, "hold");
  assert.ok(verdict.includes("over_5xx"), verdict.join(" "));
  assert.equal(verdict[0], "gateway_down", verdict.join(" "));

  const ahead = createMeasuredFleet();
  setAll([ahead.gateway("canary-a")], { clockOffsetMs: 60_000 });
  ahead.advance(70);
  assert.deepEqual(codes(ahead).slice(0, 2), ["clock_skew", "stale"]);
  assert.match(newestBody(ahead).reasons[1]!.text, /has sent no usable health signal since/);
});

test("a delayed signal does not prove that the clock is correct again", () => {
  const fleet = createMeasuredFleet();
  fleet.advance(5);
  const isOfCanaryA = (input: Input) => input.kind === "signal" && input.signal.gateway === "canary-a";
  const heldUpAt = fleet.log.findLastIndex(isOfCanaryA);
  const heldUp = fleet.log[heldUpAt]!;
  fleet.gateway("canary-a").clockOffsetMs = 7_000;
  fleet.advance(5);
  const storedAtMs = Math.max(...fleet.log.map((input) => ("storedAtMs" in input ? input.storedAtMs : 0))) + 1;
  const log = [...fleet.log.toSpliced(heldUpAt, 1), { ...heldUp, storedAtMs } as Input];
  const { verdicts } = reduceLog(
    fleet.config,
    log.map((input, index) => ({ ...input, sequence: index + 1 })),
    fleet.now() + 100,
  );
  const last = verdicts.at(-1)!.body;
  assert.equal(last.verdict, "hold", timeline(verdicts).slice(-4).join("\n"));
  assert.ok(last.reasons.some(({ code, gateway }) => code === "clock_skew" && gateway === "canary-a"));
});

test("a disk mark crossed during a run fails it at once, a mark crossed before is a hold, and both clear two points below", () => {
  const crossed = createMeasuredFleet();
  crossed.gateway("stable-a").diskUsedRatio = 0.78;
  crossed.advance(10);
  assert.equal(newestBody(crossed).verdict, "fail");
  assert.equal(codes(crossed)[0], "disk_yellow");
  assert.equal(newestBody(crossed).concerns.disk, "fail");

  const before = createSimulatedFleet();
  before.gateway("stable-a").diskUsedRatio = 0.8;
  before.advance(30);
  before.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  before.advance(95);
  assert.equal(newestBody(before).verdict, "hold");
  assert.ok(codes(before).includes("disk_yellow"));
  before.gateway("stable-a").diskUsedRatio = 0.77;
  before.advance(20);
  assert.ok(codes(before).includes("disk_yellow"), "one point below the mark is not clear");
  before.gateway("stable-a").diskUsedRatio = 0.75;
  before.advance(20);
  assert.equal(newestBody(before).verdict, "pass", timeline(reduceFleet(before).verdicts).slice(-5).join(" | "));
});

test("a new Doctor error fails the run on a canary gateway and is a hold on a stable one; a missing report is a hold if the policy requires it", () => {
  const fails = createSimulatedFleet();
  for (const gateway of fails.gateways) gateway.sendsDoctor = true;
  fails.advance(30);
  fails.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fails.advance(60);
  fails.gateway("canary-a").doctorErrors = ["core/doctor/state-integrity"];
  fails.advance(35);
  assert.equal(newestBody(fails).verdict, "fail");
  assert.equal(codes(fails)[0], "doctor_error");

  const holds = createSimulatedFleet();
  for (const gateway of holds.gateways) gateway.sendsDoctor = true;
  holds.gateway("stable-a").doctorErrors = ["core/doctor/state-integrity"];
  holds.advance(30);
  holds.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  holds.advance(95);
  assert.equal(newestBody(holds).verdict, "hold");

  const asks = createMeasuredFleet({ policy: { doctorBeforeTraffic: true } });
  assert.ok(codes(asks).includes("doctor_unknown"));
});

test("no sequence of messages yields a pass without fresh evidence free of gaps", () => {
  const spoil = fc.record({
    at: fc.integer({ min: 1, max: 40 }),
    gateway: fc.integer({ min: 0, max: 5 }),
    what: fc.constantFrom("silent", "speaks", "restart", "errors", "healthy", "no-requests", "skew", "ahead", "present", "skip"),
  });
  let passes = 0;
  fc.assert(
    fc.property(fc.array(spoil, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 20 }), (plan, dropped) => {
      const fleet = createSimulatedFleet();
      for (let tick = 1; tick <= 45; tick++) {
        if (tick === 4) fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
        for (const { gateway, what } of plan.filter((entry) => entry.at === tick)) {
          const target = fleet.gateways[gateway]!;
          if (what === "silent") target.silent = true;
          if (what === "speaks") target.silent = false;
          if (what === "restart") Object.assign(target, { boot: target.boot + 1, seq: 0 });
          if (what === "errors") target.errors = target.requests;
          if (what === "healthy") Object.assign(target, { errors: 0, requests: 100 });
          if (what === "no-requests") Object.assign(target, { errors: 0, requests: 0 });
          if (what === "skew") target.pack = "f".repeat(64);
          if (what === "ahead") target.clockOffsetMs = 60_000;
          if (what === "present") target.clockOffsetMs = 0;
          if (what === "skip") target.seq += 3;
        }
        fleet.advance(5);
      }
      const gone = new Set(dropped.map((pick) => pick % fleet.log.length));
      const log = fleet.log.filter((input, index) => input.kind !== "signal" || !gone.has(index));
      const { verdicts } = reduceLog(fleet.config, log, fleet.now() + 60_000);
      for (const { body: verdict, evidence } of verdicts) {
        for (const reason of verdict.reasons) assert.ok(REASON_CODES.includes(reason.code));
        if (verdict.verdict !== "pass") continue;
        passes += 1;
        assert.equal(verdict.reasons.length, 0);
        assert.equal(verdict.gateway.fresh, verdict.gateway.expected);
        const window = evidence.closed;
        assert.ok(window?.complete, "a pass is based on a complete window");
        const startMs = Date.parse(window.window.start);
        const endMs = Date.parse(window.window.end);
        for (const gateway of fleet.gateways) {
          const own = log.flatMap((input) =>
            input.kind === "signal" &&
            input.signal.gateway === gateway.name &&
            input.storedAtMs <= Date.parse(verdict.at) &&
            Date.parse(input.signal.observed_at) - input.storedAtMs <= 5_000
              ? [input.signal]
              : [],
          );
          const inside = own.filter(
            (signal) => Date.parse(signal.observed_at) >= startMs && Date.parse(signal.observed_at) < endMs,
          );
          assert.ok(
            inside.some((signal) => signal.kind === "http"),
            `${gateway.name} reported no traffic in the window`,
          );
          assert.equal(new Set(inside.map((signal) => signal.collector_boot)).size, 1, "a pass over a restart");
          const numbers = inside.map((signal) => signal.seq).sort((a, b) => a - b);
          assert.equal(numbers[numbers.length - 1]! - numbers[0]! + 1, new Set(numbers).size, "a pass over a gap");
        }
        const requests = window.cells
          .filter((cell) => cell.slice === "canary")
          .flatMap((cell) => cell.slots)
          .reduce((sum, slot) => sum + slot.requests, 0);
        assert.ok(requests > 0, "a pass without a request");
      }
    }),
    { numRuns: 60 },
  );
  assert.ok(passes > 0, "the property generated no pass, so it proves nothing");
});

test("a delayed signal of another kind does not restore an earlier release", () => {
  const fleet = createMeasuredFleet();
  fleet.gateway("canary-a").sendsDoctor = true;
  fleet.advance(30);
  const isDelayed = (input: Input) =>
    input.kind === "signal" && input.signal.gateway === "canary-a" && input.signal.kind === "doctor";
  const delayedAt = fleet.log.findLastIndex(isDelayed);
  const delayed = fleet.log[delayedAt]!;
  fleet.install("canary", "e".repeat(64));
  fleet.advance(5);
  assert.ok(fleet.log.findLastIndex(isDelayed) === delayedAt, "its successor of the same kind has not been sent yet");
  const storedAtMs = fleet.now() + 1;
  const log = [...fleet.log.toSpliced(delayedAt, 1), { ...delayed, storedAtMs } as Input];
  const { verdicts } = reduceLog(
    fleet.config,
    log.map((input, index) => ({ ...input, sequence: index + 1 })),
    storedAtMs + 100,
  );
  const last = verdicts.at(-1)!.body;
  assert.ok(
    last.reasons.every(({ code }) => code !== "skill_skew"),
    timeline(verdicts).slice(-4).join("\n"),
  );
});
