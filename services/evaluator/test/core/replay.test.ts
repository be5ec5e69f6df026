import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Effect } from "../../src/core/effects.ts";
import type { Input } from "../../src/core/inputs.ts";
import { reduce } from "../../src/core/reducer.ts";
import { createState } from "../../src/core/state.ts";
import { createSimulatedFleet, NEW_PACK, reduceLog, restoredFromCheckpoint, START_MS } from "./simulated-fleet.ts";

/** A log with many events: a run that passes windows, a fault, a failure, a restore, the next revision, a restarted collector. */
function eventfulLog() {
  const fleet = createSimulatedFleet({ azs: ["az-a", "az-b"] });
  fleet.advance(20);
  fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v2" });
  fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v2" });
  fleet.advance(100);
  fleet.gateway("stable-b").boot = 2;
  fleet.gateway("stable-b").seq = 0;
  fleet.advance(40);
  for (const gateway of fleet.slice("canary")) gateway.errors = 9;
  fleet.queue.depth = 30;
  fleet.advance(70);
  for (const gateway of fleet.slice("canary")) gateway.errors = 0;
  fleet.gateway("canary-a").silent = true;
  fleet.advance(40);
  fleet.gateway("canary-a").silent = false;
  fleet.gateway("canary-b").diskUsedRatio = 0.95;
  fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v3", skill_hash: NEW_PACK });
  fleet.advance(40);
  return fleet;
}

const bytes = (effects: readonly Effect[]): string => JSON.stringify(effects.filter((effect) => effect.kind !== "checkpoint"));

test("the same log yields the same bytes after a crash at any message, continued from a checkpoint", () => {
  const fleet = eventfulLog();
  const whole = reduceLog(fleet.config, fleet.log, fleet.now() + 100);
  assert.ok(whole.verdicts.length > 10);
  assert.deepEqual(new Set(whole.verdicts.map(({ body }) => body.verdict)), new Set(["hold", "pass", "fail"]));
  const expected = bytes(whole.effects);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: fleet.log.length }), (cut) => {
      const before = reduceLog(fleet.config, fleet.log.slice(0, cut));
      const after = reduceLog(
        fleet.config,
        fleet.log.slice(cut),
        fleet.now() + 100,
        restoredFromCheckpoint(fleet.config, before.state),
      );
      assert.equal(bytes([...before.effects, ...after.effects]), expected);
    }),
    { numRuns: 60 },
  );
});

test("the same log yields the same bytes live, with clock ticks at any time in between", () => {
  const fleet = eventfulLog();
  const expected = bytes(reduceLog(fleet.config, fleet.log, fleet.now() + 100).effects);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: fleet.now() - START_MS }), { maxLength: 200 }), (offsets) => {
      const clocks = offsets.map((offset) => START_MS + offset);
      const live: Input[] = [];
      for (const input of fleet.log) {
        const storedAtMs = (input as { storedAtMs: number }).storedAtMs;
        for (const at of clocks.filter((clock) => clock <= storedAtMs).sort((a, b) => a - b))
          live.push({ kind: "clock", atMs: at });
        clocks.splice(0, clocks.length, ...clocks.filter((clock) => clock > storedAtMs));
        live.push(input);
      }
      assert.equal(bytes(reduceLog(fleet.config, live, fleet.now() + 100).effects), expected);
    }),
    { numRuns: 40 },
  );
});

test("a message that the broker stored twice changes no verdict", () => {
  const fleet = eventfulLog();
  const expected = reduceLog(fleet.config, fleet.log, fleet.now() + 100).verdicts.map(({ body }) => ({
    ...body,
    id: "",
    run: body.run && { ...body.run, id: "", latched_by: null },
  }));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: fleet.log.length - 1 }), { minLength: 1, maxLength: 100 }), (twice) => {
      const repeats = new Set(twice);
      const log: Input[] = [];
      for (const [index, input] of fleet.log.entries()) {
        log.push({ ...input, sequence: log.length + 1 } as Input);
        if (repeats.has(index) && input.kind === "signal") log.push({ ...input, sequence: log.length + 1 } as Input);
      }
      const reducedTwice = reduceLog(fleet.config, log, fleet.now() + 100).verdicts.map(({ body }) => ({
        ...body,
        id: "",
        run: body.run && { ...body.run, id: "", latched_by: null },
      }));
      const strip = (list: typeof expected) => JSON.stringify(list).replaceAll(/verdict [0-9a-f]{16}/g, "verdict");
      assert.equal(strip(reducedTwice), strip(expected));
    }),
    { numRuns: 25 },
  );
});

test("a message that was applied before is not applied again", () => {
  const fleet = createSimulatedFleet();
  fleet.advance(60);
  const { state } = reduceLog(fleet.config, fleet.log);
  for (const input of fleet.log.slice(-40)) assert.deepEqual(reduce(state, input).effects, []);
});

test("the earliest deadline is always after those that fired, so the reducer cannot loop", () => {
  const fleet = eventfulLog();
  let state = createState(fleet.config);
  for (const input of fleet.log) {
    state = reduce(state, input).state;
    assert.ok(
      state.nextDeadlineMs >= (input as { storedAtMs: number }).storedAtMs,
      "a deadline before the last input did not fire",
    );
  }
  const day = 24 * 3_600_000;
  const { effects } = reduce(state, { kind: "clock", atMs: fleet.now() + day });
  const windows = effects.filter((effect) => effect.kind === "verdict").length;
  assert.ok(windows >= day / 30_000, "an idle fleet gets one verdict per window");
});
