/**
 * A smoke test of how often the rule errs and how soon it finds: 12 windows of a simulated hour, fixed seeds. The bounds leave room
 * for the size of the sample.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { judge } from "../../src/core/judge/judge.ts";
import type { JudgeMemory } from "../../src/core/judge/outcome.ts";
import { closed, oneBucket, POLICY } from "./windows.ts";

const WINDOWS = 12;

/** Uniform numbers from 0 to 1: mulberry32, 32 bits of state. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A binomial count by jumps from success to success, each jump geometric. */
function binomial(next: () => number, n: number, p: number): number {
  let x = 0;
  for (let at = Math.log(next()) / Math.log1p(-p); at < n; at += 1 + Math.log(next()) / Math.log1p(-p)) x++;
  return Math.min(x, n);
}

function window(index: number, slotN: number, errors: readonly number[]): ClosedWindow {
  const latency = oneBucket(histogram.DEFAULT_SCALE, 360, slotN);
  const slots = errors.map((errors_5xx) => ({ requests: slotN, errors_5xx, latency }));
  return closed(index, [{ slice: "canary", az: "az-a", source: "access-log", slots, slotted: true, gateways: 2, expected: 2 }]);
}

/** Share of hours that fail, each hour a run of its own. */
function failedShare(hours: number, n: number, p: number, seed: number): { twoKey: number; literal: number } {
  const next = uniform(seed);
  let twoKey = 0;
  let literal = 0;
  for (let hour = 0; hour < hours; hour++) {
    const windows: ClosedWindow[] = [];
    const failed = { twoKey: false, literal: false };
    let memory: JudgeMemory | null = null;
    for (let t = 0; t < WINDOWS && !(failed.twoKey && failed.literal); t++) {
      windows.push(
        window(
          t,
          n / 5,
          Array.from({ length: 5 }, () => binomial(next, n / 5, p)),
        ),
      );
      const outcome = judge(windows, POLICY, { judged: t, memory, reference: null, hasStable: false });
      memory = outcome.memory;
      failed.twoKey ||= outcome.twoKey.verdict === "fail";
      failed.literal ||= outcome.literal.verdict === "fail";
    }
    twoKey += failed.twoKey ? 1 : 0;
    literal += failed.literal ? 1 : 0;
  }
  return { twoKey: twoKey / hours, literal: literal / hours };
}

describe("operating characteristics", () => {
  for (const [n, seed] of [
    [50, 11],
    [1000, 12],
  ] as const) {
    it(`a healthy canary (0.3 %) of ${n} requests a window fails in at most 1 % of hours; literally, far more often`, () => {
      const { twoKey, literal } = failedShare(1000, n, 0.003, seed);
      assert.ok(twoKey <= 0.01, `two-key ${twoKey}`);
      assert.ok(literal >= 0.03 && literal > twoKey, `literal ${literal}`);
    });
  }

  it("a fault of 2 % at 50 requests a window is found within the hour in at least 90 % of hours", () => {
    const { twoKey } = failedShare(1000, 50, 0.02, 13);
    assert.ok(twoKey >= 0.9, `${twoKey}`);
  });

  it("a fault of 1 % at 300 requests a window is found within the hour in at least 95 % of hours", () => {
    const { twoKey } = failedShare(400, 300, 0.01, 14);
    assert.ok(twoKey >= 0.95, `${twoKey}`);
  });
});
