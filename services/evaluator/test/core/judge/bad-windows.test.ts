/**
 * Incidents before a run are left out of its reference. The smallest numbers of errors that are bad were computed with mpmath (40
 * digits) from the formula of the p-value: the mid-p tail of a negative binomial with mean 0.3% and relative variance
 * (phi - 1) / mean + (0.005 / 4) n / mean, at most 1/4,000.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { badWindows, isBadWindow } from "../../../src/core/judge/bad-windows.ts";
import type { Counts } from "../../../src/core/judge/counts.ts";
import { NOTHING } from "../../../src/core/judge/counts.ts";
import { explainJudgment } from "../../../src/core/judge/explain.ts";
import { referenceFrom } from "../../../src/core/judge/learn-reference.ts";
import { canary, cell, closed, evenly, judgeRun, POLICY, stable } from "./windows.ts";

const squares = (values: readonly number[]) => values.reduce((sum, value) => sum + value * value, 0);
const counts = (requests: number, slots: readonly number[]): Counts => ({
  ...NOTHING,
  requests,
  bad: slots.reduce((sum, x) => sum + x, 0),
  badSquares: squares(slots),
  requestSquares: requests ** 2 / 5,
});

describe("a window of the reference", () => {
  for (const [requests, bad] of [
    [450, 11],
    [2_700, 44],
    [9_000, 136],
  ] as const) {
    it(`of ${requests} requests is bad from ${bad} errors on`, () => {
      assert.equal(isBadWindow(counts(requests, evenly(bad)), 0.005), true);
      assert.equal(isBadWindow(counts(requests, evenly(bad - 1)), 0.005), false);
    });
  }

  it("with all its errors in one sub-window is one event, and not bad", () => {
    assert.equal(isBadWindow(counts(2_700, [44, 0, 0, 0, 0]), 0.005), false);
  });

  it("that an incident covers only in part is bad, however much it looks like one burst", () => {
    assert.equal(isBadWindow(counts(6_621, [684, 524, 1, 2, 1]), 0.005), true);
    assert.equal(isBadWindow(counts(6_649, [0, 0, 113, 900, 1_069]), 0.005), true);
  });

  it("is never bad with fewer than three errors, or without requests", () => {
    assert.equal(isBadWindow(counts(3, [1, 1, 0, 0, 0]), 0.005), false);
    assert.equal(isBadWindow(NOTHING, 0.005), false);
  });
});

describe("the reference", () => {
  const good = counts(2_700, [2, 1, 2, 1, 2]);
  const bad = counts(2_700, evenly(1_350));

  it("leaves out a quarter of its windows, and none if more are bad", () => {
    assert.deepEqual([...badWindows([good, bad, good, NOTHING, good], 0.005)], [1]);
    assert.deepEqual([...badWindows([good, bad, good, NOTHING, good, bad], 0.005)], []);
  });

  const quiet = Array.from({ length: 48 }, (_, k) => stable(2_700, 6 + (k % 3)));
  const outage = quiet.map((healthy, k) =>
    k === 20 ? cell({ slice: "stable", requests: evenly(2_700), errors: evenly(1_350) }) : healthy,
  );

  it("learns the same errors with and without an outage, and records the number of windows left out", () => {
    const learned = (cells: typeof quiet) =>
      referenceFrom(
        cells.map((one, k) => closed(k, [one])),
        POLICY,
        "stable",
      );
    const { figures } = learned(outage);
    assert.equal(figures["errors.left_out"], 1);
    assert.equal(figures["errors.rho"], 1e-6);
    assert.equal(figures["errors.rho"], learned(quiet).figures["errors.rho"]);
    assert.equal(learned(quiet).figures["errors.left_out"], undefined);
  });

  it("learns no bursts from an incident that straddles two windows", () => {
    const straddled = quiet.map((healthy, k) => {
      const errors = { 20: [1, 2, 110, 270, 270], 21: [270, 200, 1, 2, 1] }[k];
      return errors === undefined ? healthy : cell({ slice: "stable", requests: evenly(2_700), errors });
    });
    const learned = (cells: typeof quiet) =>
      referenceFrom(
        cells.map((one, k) => closed(k, [one])),
        POLICY,
        "stable",
      ).figures;
    const [incident, calm] = [learned(straddled), learned(quiet)];
    assert.equal(incident["errors.left_out"], 2);
    assert.ok(Math.abs(incident["errors.phi"]! / calm["errors.phi"]! - 1) < 0.02, `${incident["errors.phi"]}`);
  });

  it("keeps its p99 threshold and its noise through a slow spell in the hour before the run", () => {
    const latency = (slow: boolean) => (_: number, n: number) =>
      [
        [slow ? 400 : 50, n - 20],
        [slow ? 900 : 120, 20],
      ] as const;
    const learned = (spell: number) =>
      referenceFrom(
        Array.from({ length: 48 }, (_, k) =>
          closed(k, [cell({ slice: "stable", requests: evenly(2_700), latency: latency(k === spell) })]),
        ),
        POLICY,
        "stable",
      ).figures;
    const [spell, calm] = [learned(40), learned(-1)];
    assert.equal(spell["regression.left_out"], 1);
    assert.equal(spell["regression.limit_ms"], calm["regression.limit_ms"]);
    assert.ok(Math.abs(spell["regression.rho"]! / calm["regression.rho"]! - 1) < 0.001, "47 windows instead of 48");
    assert.equal(spell["ceiling.left_out"], 1);
  });
});

describe("an explanation", () => {
  it("names the bad windows before the run, and those of the run that stable accounts for", () => {
    const history = Array.from({ length: 48 }, (_, k) =>
      closed(k, [cell({ slice: "stable", requests: evenly(2_700), errors: evenly(k === 20 ? 1_350 : 6 + (k % 3)) })]),
    );
    const reference = referenceFrom(history, POLICY, "stable");
    const windows = [0, 150, 0].map((errors, k) => closed(k, [canary(300, errors), stableOf(errors)]));
    const memory = judgeRun(windows.slice(0, 2), { reference })[1]!.memory;
    const text = explainJudgment(windows, POLICY, { judged: 2, memory, reference, hasStable: true }).join("\n");
    assert.match(text, /estimated from 48 windows of stable, without one bad window/);
    assert.match(text, /left out +1 of the last windows: stable accounts for them/);
  });

  const stableOf = (errors: number) => cell({ slice: "stable", requests: evenly(2_700), errors: evenly(9 * errors) });
});
