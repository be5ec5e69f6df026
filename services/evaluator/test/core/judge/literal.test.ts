/** The threshold rule: two consecutive windows over the ceiling fail, per metric. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { JudgeOutcome } from "../../../src/core/judge/outcome.ts";
import { inForce } from "../../../src/core/judge/outcome.ts";
import { canary, cell, closed, evenly, judgeRun, stable } from "./windows.ts";

/** Kinds of windows, each with 1,000 requests on the canary and 9,000 on stable unless stated otherwise. */
const KINDS: Readonly<Record<string, (k: number) => ClosedWindow>> = {
  good: (k) => closed(k, [canary(1000, 0), stable(9000, 0)]),
  at: (k) => closed(k, [canary(1000, 5), stable(9000, 0)]),
  over: (k) => closed(k, [canary(1000, 6), stable(9000, 0)]),
  shared: (k) => closed(k, [canary(1000, 20), stable(9000, 90)]),
  slow: (k) => closed(k, [slow("canary", 1000, 250), stable(9000, 0)]),
  slowBoth: (k) => closed(k, [slow("canary", 1000, 250), slow("stable", 9000, 240)]),
  none: (k) => closed(k, [canary(0, 0), stable(9000, 0)]),
  absent: (k) => closed(k, [stable(9000, 0)]),
  gap: (k) => closed(k, [canary(1000, 0), stable(9000, 0)], { complete: false, gaps: ["mac-a1: no signal for 40 s"] }),
  gapOver: (k) => closed(k, [canary(1000, 60), stable(9000, 0)], { complete: false, gaps: ["mac-a1: no signal for 40 s"] }),
};

function slow(slice: "canary" | "stable", n: number, ms: number) {
  return cell({ slice, requests: evenly(n), latency: (_, requests) => [[ms, requests]] });
}

const run = (kinds: string) => judgeRun(kinds.split(" ").map((kind, k) => KINDS[kind]!(k)));
const short = (outcomes: readonly JudgeOutcome[]) =>
  outcomes.map((outcome) => `${outcome.literal.verdict}${outcome.consecutiveOver}`).join(" ");

describe("literal rule", () => {
  const table: readonly (readonly [kinds: string, expected: string, why: string])[] = [
    ["good good", "pass0 pass0", "good windows pass"],
    ["at at", "pass0 pass0", "a rate equal to the ceiling is not over it"],
    ["over good over", "hold1 pass0 hold1", "one window over is a hold, a good one resets the count"],
    ["good over over over", "pass0 hold1 fail2 fail3", "two consecutive windows fail"],
    ["over none over", "hold1 hold1 fail2", "a window without requests neither resets nor increments the count"],
    ["over absent over", "hold1 hold1 fail2", "nor does a window without a canary cell"],
    ["over gap over", "hold1 hold1 fail2", "an incomplete window does not reset the count"],
    ["over gapOver good", "hold1 hold1 pass0", "nor increment it, even if it is over"],
    ["gapOver gapOver gapOver", "hold0 hold0 hold0", "incomplete windows alone never fail"],
    ["shared shared shared", "hold0 hold0 hold0", "5xx over the ceiling on both slices is the environment"],
    ["over shared over", "hold1 hold1 fail2", "a shared window neither resets nor increments the count"],
    ["slowBoth slowBoth", "hold0 hold0", "p99 over the ceiling on both slices is the environment"],
    ["slow slow", "hold1 fail2", "p99 over its ceiling on the canary alone fails"],
    ["over slow over slow", "hold1 hold1 hold1 hold1", "each metric has its own count"],
    ["none none", "hold0 hold0", "no requests are a hold"],
  ];
  for (const [kinds, expected, why] of table) {
    it(`${kinds}: ${why}`, () => assert.equal(short(run(kinds)), expected));
  }

  it("states what is over, by how much, and what follows", () => {
    const [first, second] = run("over over");
    assert.deepEqual(first!.literal.reasons[0], {
      code: "over_5xx",
      metric: "5xx_rate",
      value: 0.006,
      limit: 0.005,
      unit: "1",
      text: "6 of 1,000 requests failed in this window (0.6%, ceiling 0.5%); a second consecutive window fails the run.",
    });
    assert.match(second!.literal.reasons[0]?.text ?? "", /; second consecutive window over the limit: the run fails\.$/);
    assert.deepEqual(second!.literal.concerns, { errors: "fail", latency: "pass", queue: "pass" });
  });

  it("names the cause of a hold", () => {
    const code = (kinds: string) => run(kinds)[0]!.literal.reasons.map((reason) => reason.code);
    assert.deepEqual(code("none"), ["low_traffic"]);
    assert.deepEqual(code("shared"), ["environment"]);
    assert.deepEqual(code("gap"), ["gap"]);
    assert.deepEqual(code("gapOver"), ["gap", "over_5xx"]);
    assert.equal(run("gap")[0]!.literal.reasons[0]?.text, "Incomplete window: mac-a1: no signal for 40 s.");
  });

  it("is promotable on every pass, and only on a pass", () => {
    const outcomes = run("good over good none");
    assert.deepEqual(
      outcomes.map(({ literal }) => literal.promotable),
      [true, false, true, false],
    );
  });

  it("an AZ over its limit within a good whole is a warning with its name", () => {
    const cells = [
      cell({ az: "az-a", requests: evenly(9000) }),
      cell({ az: "az-b", requests: evenly(100), errors: [2, 0, 0, 0, 0] }),
      stable(9000, 0),
    ];
    const [outcome] = judgeRun([closed(0, cells)]);
    assert.equal(outcome!.literal.verdict, "pass");
    assert.deepEqual(
      outcome!.literal.warnings.map(({ code, az, text }) => [code, az, text]),
      [["over_5xx", "az-b", "az-b: 2 of 100 requests failed in this window (2%, limit 0.5%)."]],
    );
  });

  it("decides if the policy selects it", () => {
    const [, second] = run("over over");
    assert.equal(inForce(second!, "literal"), second!.literal);
    assert.equal(inForce(second!, "two-key"), second!.twoKey);
  });
});
