/** Pure functions: the schedule grid, the envelope, restarts, queue depths, skill packs. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hashLines } from "@aviary/shared/contract/ids.ts";
import { parseSignal } from "@aviary/shared/contract/signal.ts";
import fc from "fast-check";
import { collectorBoot, makeSignal } from "../../src/core/envelope.ts";
import { bullQueries, listQueries, totalDepth } from "../../src/core/redis-depth.ts";
import { applySample, NO_RESTARTS, type ProcessSample } from "../../src/core/restarts.ts";
import { gridAfter, gridBefore, phaseMs, tickAt } from "../../src/core/schedule.ts";
import { skillPack } from "../../src/core/skill-pack.ts";

describe("the schedule grid", () => {
  it("consists of whole periods, offset by whole seconds", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2e12 }),
        fc.integer({ min: 100, max: 3_600_000 }),
        fc.string(),
        (now, period, name) => {
          const phase = phaseMs(name, period);
          const [before, after] = [gridBefore(now, period, phase), gridAfter(now, period, phase)];
          assert.ok(before <= now && now < after && after - before === period);
          assert.ok(phase >= 0 && phase < period && phase % 1_000 === 0);
          assert.equal(gridBefore(before, period, phase), before, "a grid instant is its own last instant");
        },
      ),
    );
  });
  it("spreads gateways across the seconds of a period", () => {
    const phases = new Set(Array.from({ length: 100 }, (_, n) => phaseMs(`mac-a${n}`, 5_000)));
    assert.deepEqual([...phases].sort(), [0, 1_000, 2_000, 3_000, 4_000]);
  });
  it("covers the time between two readings, but only one period after a sleep or a clock change", () => {
    assert.deepEqual(tickAt(10_000, 5_000, 5_000), { atMs: 10_000, periodMs: 5_000 });
    assert.deepEqual(tickAt(20_000, 5_000, 5_000), { atMs: 20_000, periodMs: 15_000 });
    assert.deepEqual(tickAt(10_000, 8_765, 5_000), { atMs: 10_000, periodMs: 1_235 });
    assert.equal(tickAt(3_600_000, 5_000, 5_000).periodMs, 5_000);
    assert.equal(tickAt(5_000, 3_600_000, 5_000).periodMs, 5_000);
  });
});

describe("the envelope", () => {
  it("conforms to the signal contract", () => {
    const gateway = { az: "az-a", fleet: "payments", gateway: "mac-a1" };
    const boot = collectorBoot(1_795_238_930_250, "0123456789abcdef");
    const sender = { gateway, slice: "canary", boot, fragmentHash: "c".repeat(64) } as const;
    const release = { gatewayVersion: null, skillHash: null };
    const signal = makeSignal(
      sender,
      release,
      7,
      "queue",
      { atMs: 1_795_238_930_250, periodMs: 5_000 },
      { lane: "l", role: "build", depth: 3 },
    );
    assert.ok(parseSignal(signal).success);
    assert.equal(signal.id, `az-a.payments.mac-a1.${boot}.7`);
    assert.equal(signal.observed_at, "2026-11-21T05:28:50.250Z");
  });
  it("has boot ids that sort by start time", () => {
    assert.ok(collectorBoot(1_795_238_930_250, "f".repeat(16)) < collectorBoot(1_795_238_930_251, "0".repeat(16)));
  });
});

describe("restarts", () => {
  const live = (signs: readonly (readonly [number | null, number | null])[]) =>
    signs.reduce(
      (lives, [uptimeMs, pid], n) => applySample(lives, { uptimeMs, pid } satisfies ProcessSample, 1_000_000 + n * 10_000),
      NO_RESTARTS,
    );
  it("are detected by a lower uptime, even within one process", () => {
    assert.equal(
      live([
        [50_000, 7],
        [60_000, 7],
        [3_000, 7],
        [13_000, 7],
      ]).restarts,
      1,
    );
  });
  it("are detected by a new process id, and counted once when its uptime follows", () => {
    assert.equal(
      live([
        [50_000, 7],
        [null, 8],
        [3_000, 8],
        [13_000, 8],
      ]).restarts,
      1,
    );
    assert.equal(
      live([
        [50_000, 7],
        [60_000, 8],
        [3_000, 8],
      ]).restarts,
      1,
    );
  });
  it("are not counted for missing responses or a sleeping machine", () => {
    assert.equal(
      live([
        [50_000, 7],
        [null, null],
        [null, 7],
        [80_000, 7],
        [80_001, 7],
      ]).restarts,
      0,
    );
  });
  it("give each run a stable, distinct boot id", () => {
    const [a, b, c] = [
      live([[50_000, null]]),
      live([
        [50_000, null],
        [60_007, null],
      ]),
      live([
        [50_000, null],
        [5, null],
      ]),
    ];
    assert.equal(a.boot, b.boot);
    assert.notEqual(a.boot, c.boot);
    assert.equal(live([[null, 7]]).boot, null);
  });
});

describe("queue depths", () => {
  it("of BullMQ count due jobs, and delayed ones only with countDelayed", () => {
    const queue = { queue: "builds", prefix: "bull", countDelayed: false };
    assert.deepEqual(
      bullQueries(queue).map(({ command, key }) => `${command} ${key}`),
      ["llen bull:builds:wait", "llen bull:builds:paused", "zcard bull:builds:prioritized"],
    );
    assert.equal(bullQueries({ ...queue, countDelayed: true }).at(-1)?.key, "bull:builds:delayed");
    assert.deepEqual(listQueries("jobs"), [{ command: "llen", key: "jobs" }]);
    assert.equal(totalDepth([1, 2, 3]), 6);
  });
});

describe("skill packs", () => {
  const sha = (digit: string): string => digit.repeat(64);
  const root = (name: string, lines: readonly string[]) => ({ name, hash: hashLines(lines), lines });
  const before = [
    `f mail/SKILL.md ${sha("1")}`,
    `x mail/run ${sha("2")}`,
    `f web/SKILL.md ${sha("3")}`,
    "d empty",
    "l alias web",
  ];
  it("with one root have its hash, and count directories with a SKILL.md", () => {
    const { body } = skillPack([root("managed", before)], null);
    assert.deepEqual(body, { pack_hash: hashLines(before), count: 2, changed: [] });
  });
  it("list changed, added and removed skills", () => {
    const { state } = skillPack([root("managed", before)], null);
    const after = [
      `f mail/SKILL.md ${sha("1")}`,
      `f mail/run ${sha("2")}`,
      `f new skill/SKILL.md ${sha("4")}`,
      "d empty",
      "l alias mail",
    ];
    assert.deepEqual(skillPack([root("managed", after)], state).body.changed, ["alias", "mail", "new skill", "web"]);
  });
  it("with several roots have one hash, independent of their order", () => {
    const roots = [root("a", before), root("b", [`f web/SKILL.md ${sha("5")}`])];
    const { body } = skillPack(roots, null);
    assert.equal(body.pack_hash, skillPack([...roots].reverse(), null).body.pack_hash);
    assert.equal(body.count, 3);
    assert.notEqual(body.pack_hash, skillPack([root("b", before), root("a", roots[1]!.lines)], null).body.pack_hash);
  });
});
