import assert from "node:assert/strict";
import { test } from "node:test";
import type { Input } from "../../src/core/inputs.ts";
import { reduce } from "../../src/core/reducer.ts";
import { createState } from "../../src/core/state.ts";
import {
  createMeasuredFleet,
  newestBody,
  reduceFleet,
  reduceLog,
  restoredFromCheckpoint,
  type SimulatedFleet,
  timeline,
} from "./simulated-fleet.ts";

const HOUR_MS = 3_600_000;

function skewIncidents(fleet: SimulatedFleet, log: readonly Input[] = fleet.log) {
  return reduceLog(fleet.config, log, fleet.now() + 100).effects.flatMap((effect) =>
    effect.kind === "incident" && effect.incident.code === "clock_skew" ? [effect.incident] : [],
  );
}

test("a clock that is behind or ahead is a hold that states the offset, and one incident, until it is right again", () => {
  for (const offsetMs of [-30_000, -HOUR_MS, 8_000, HOUR_MS]) {
    const fleet = createMeasuredFleet();
    fleet.gateway("canary-a").clockOffsetMs = offsetMs;
    fleet.advance(60);
    const body = newestBody(fleet);
    const [first] = body.reasons;
    assert.equal(body.verdict, "hold");
    assert.deepEqual([first!.code, first!.gateway, first!.unit], ["clock_skew", "canary-a", "ms"], JSON.stringify(body.reasons));
    assert.ok(Math.abs(first!.value! - offsetMs) <= 10, `${first!.value} ms instead of ${offsetMs}`);
    assert.match(first!.text, new RegExp(`${Math.abs(offsetMs) / 1000}(\\.\\d+)? s ${offsetMs > 0 ? "ahead" : "behind"}`));
    const incidents = skewIncidents(fleet);
    assert.deepEqual(
      incidents.map(({ gateway }) => gateway),
      ["canary-a"],
    );
    fleet.gateway("canary-a").clockOffsetMs = 0;
    fleet.advance(95);
    assert.equal(newestBody(fleet).verdict, "pass", timeline(reduceFleet(fleet).verdicts).join("\n"));
  }
});

test("a spool that is published after an outage does not look like a wrong clock", () => {
  const fleet = createMeasuredFleet();
  const from = fleet.log.length;
  fleet.advance(120);
  const held = (input: Input) => input.kind === "signal" && input.signal.gateway === "canary-a";
  const outage = fleet.log.slice(from);
  let storedAtMs = fleet.now() + 3;
  // Ten times faster than it was observed.
  const spool = outage.filter(held).map((input, index) => ({ ...input, storedAtMs: storedAtMs + index * 150 }) as Input);
  storedAtMs += spool.length * 150;
  const log = [...fleet.log.slice(0, from), ...outage.filter((input) => !held(input)), ...spool].map(
    (input, index) => ({ ...input, sequence: index + 1 }) as Input,
  );
  const { verdicts } = reduceLog(fleet.config, log, storedAtMs);
  assert.ok(verdicts.some(({ body }) => body.reasons.some(({ code }) => code === "stale")));
  assert.ok(verdicts.every(({ body }) => body.reasons.every(({ code }) => code !== "clock_skew")));
  assert.deepEqual(skewIncidents(fleet, log), []);
});

/** The log as the broker stores it while its clock is set forward by `byMs` for the messages of `[from, to)`. */
function withStep(log: readonly Input[], from: number, to: number, byMs: number): Input[] {
  return log.map((input, index) =>
    "storedAtMs" in input && index >= from && index < to ? { ...input, storedAtMs: input.storedAtMs + byMs } : input,
  );
}

test("a broker's clock that is set forward and back again is a named hold for at most one window", () => {
  const fleet = createMeasuredFleet();
  const from = fleet.log.length;
  fleet.advance(5);
  const to = fleet.log.length;
  const backAtMs = fleet.now() + 5_000;
  fleet.advance(100);
  const log = withStep(fleet.log, from, to, HOUR_MS);
  const { verdicts, state } = reduceLog(fleet.config, log, fleet.now() + 100);
  const firstBack = verdicts.findLastIndex(({ body }) => Date.parse(body.at) > backAtMs + HOUR_MS / 2) + 1;
  const after = verdicts.slice(firstBack);
  assert.match(after[0]!.body.reasons.find(({ metric }) => metric === "broker")!.text, /clock was set back by 3\d{3} s/);
  const windows = after.filter(({ evidence }) => evidence.closed !== null).map(({ body }) => body);
  assert.ok(windows.length > 0);
  const named = after.filter(({ body }) => body.reasons.some(({ metric }) => metric === "broker"));
  const untilMs = Math.max(...named.map(({ body }) => Date.parse(body.at)));
  assert.ok(untilMs <= backAtMs + 30_000 + 2_000, timeline(after).join("\n"));
  assert.equal(windows.at(-1)!.verdict, "pass", timeline(after).join("\n"));
  assert.ok(state.nextDeadlineMs < fleet.now() + 60_000, "no deadline waits for the clock to catch up");
  assert.equal(skewIncidents(fleet, log).filter(({ facts }) => facts.sender === "broker").length, 1);
});

test("a canary that turns bad after the broker's clock was set back fails as soon as without it", () => {
  const fleet = createMeasuredFleet();
  const from = fleet.log.length;
  fleet.advance(5);
  const to = fleet.log.length;
  for (const gateway of fleet.slice("canary")) gateway.errors = 50;
  fleet.advance(100);
  const { verdicts } = reduceLog(fleet.config, withStep(fleet.log, from, to, HOUR_MS), fleet.now() + 100);
  assert.equal(verdicts.at(-1)!.body.verdict, "fail", timeline(verdicts).slice(-8).join("\n"));
});

test("a step of the broker's clock yields the same bytes after a crash at any message", () => {
  const fleet = createMeasuredFleet();
  const from = fleet.log.length;
  fleet.advance(5);
  const to = fleet.log.length;
  fleet.gateway("canary-b").clockOffsetMs = -20_000;
  fleet.advance(60);
  const log = withStep(fleet.log, from, to, 600_000);
  const effectsOf = (cut: number) => {
    let state = createState(fleet.config);
    return log.flatMap((input, index) => {
      if (index === cut) state = restoredFromCheckpoint(fleet.config, state);
      const reduced = reduce(state, input);
      return reduced.effects.filter(({ kind }) => kind !== "checkpoint");
    });
  };
  const whole = JSON.stringify(effectsOf(-1));
  for (let cut = from - 5; cut < to + 40; cut += 3) assert.equal(JSON.stringify(effectsOf(cut)), whole, `cut at ${cut}`);
});

test("messages of a log that replaced another one may precede the state, which is a gap and not a step of the broker's clock", () => {
  const fleet = createMeasuredFleet();
  const { state } = reduceLog(fleet.config, fleet.log, fleet.now() + 60_000);
  const from = fleet.log.length;
  fleet.advance(60);
  state.sequence = -1;
  const gap = { kind: "log-gap", sequence: 0, storedAtMs: state.nowMs } as const;
  const replaced = fleet.log.slice(from).map((input, index) => ({ ...input, sequence: index + 1 }) as Input);
  const { effects, verdicts } = reduceLog(fleet.config, [gap, ...replaced], fleet.now() + 2_100, state);
  const codes = effects.flatMap((effect) => (effect.kind === "incident" ? [effect.incident.code] : []));
  assert.deepEqual(codes, ["log_gap"]);
  assert.ok(
    verdicts.some(({ body }) => body.reasons.some(({ code }) => code === "gap")),
    timeline(verdicts).join("\n"),
  );
  assert.ok(verdicts.every(({ body }) => body.reasons.every(({ metric }) => metric !== "broker")));
  assert.ok(state.nextDeadlineMs <= fleet.now() + 30_000, "the state follows the new log");
});
