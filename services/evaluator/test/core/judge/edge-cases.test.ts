/** The edge cases of docs/judge.md, one test per row, and invalid numbers. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow, WindowSummary } from "@aviary/shared/contract/window.ts";
import { ConfigError, loadYamlFile } from "@aviary/shared/runtime/config.ts";
import { judge } from "../../../src/core/judge/judge.ts";
import type { JudgeOutcome } from "../../../src/core/judge/outcome.ts";
import type { KeptSeries } from "../../../src/core/judge/traffic-scope.ts";
import { canary, cell, closed, evenly, judgeRun, noise, oneBucket, POLICY, stable } from "./windows.ts";

const verdicts = (outcomes: readonly JudgeOutcome[]) => outcomes.map(({ twoKey }) => twoKey.verdict).join(" ");
const codes = (outcome: JudgeOutcome | undefined) => outcome!.twoKey.reasons.map(({ code }) => code);
const alone = (cells: readonly WindowSummary[]) =>
  judgeRun(
    cells.map((one, k) => closed(k, [one])),
    { hasStable: false },
  );

describe("little traffic", () => {
  it("no requests: hold in both modes, and no p-value", () => {
    const [outcome] = judgeRun([closed(0, [canary(0, 0), stable(900, 0)])]);
    for (const mode of [outcome!.literal, outcome!.twoKey]) {
      assert.equal(mode.verdict, "hold");
      assert.deepEqual(
        mode.reasons.map(({ code, text }) => [code, text]),
        [["low_traffic", "No requests in this window."]],
      );
      assert.deepEqual(mode.concerns, { errors: "hold", latency: "hold", queue: "pass" });
      assert.equal(mode.promotable, false);
    }
    assert.equal(outcome!.pValue, null);
  });

  it("one request, good or bad: hold; three bad ones in three windows: fail", () => {
    assert.equal(verdicts(alone([canary(1, 0)])), "hold");
    const bad = alone([canary(1, 1), canary(1, 1), canary(1, 1)]);
    assert.equal(verdicts(bad), "hold hold fail");
    assert.ok(Math.abs(bad[2]!.pValue! - 9e-8) < 1e-8, `${bad[2]!.pValue}`);
  });

  it("all errors: 30 fail in the first window; 2 hold, 4 of 4 fail", () => {
    assert.equal(verdicts(alone([canary(30, 30)])), "fail");
    assert.equal(verdicts(alone([canary(2, 2), canary(2, 2)])), "hold fail");
  });

  it("two bad windows around one without requests may fail together", () => {
    const outcomes = alone([canary(300, 7), canary(0, 0), canary(300, 6)]);
    assert.equal(verdicts(outcomes), "hold hold fail");
    assert.match(outcomes[2]!.twoKey.reasons[0]?.text ?? "", /^13 of 600 requests failed in the 3 windows since the start/);
  });

  it("the first pass is at the 63rd good request", () => {
    assert.equal(verdicts(alone([canary(62, 0)])), "hold");
    assert.equal(verdicts(alone([canary(63, 0)])), "pass");
    assert.equal(verdicts(alone([canary(50, 0), canary(50, 0)])), "hold pass");
  });
});

describe("stable", () => {
  it("no stable slice in the fleet: no regression, no environment key, and a warning", () => {
    const [outcome] = alone([canary(500, 0)]);
    assert.equal(outcome!.twoKey.verdict, "pass");
    assert.match(
      outcome!.twoKey.warnings.at(-1)?.text ?? "",
      /^Environment unknown: this fleet has no stable slice.*regression is not judged/,
    );
  });

  it("a stable slice without requests: hold, nothing to compare with, unless all weight is on the canary", () => {
    const [held] = judgeRun([closed(0, [canary(500, 0)])]);
    assert.equal(held!.twoKey.verdict, "hold");
    assert.match(held!.twoKey.reasons[0]?.text ?? "", /^Nothing to compare p99 with: stable had no requests/);
    const [full] = judgeRun([closed(0, [canary(500, 0)], { weight: 100 })]);
    assert.equal(full!.twoKey.verdict, "pass");
  });

  it("stable without requests in one window: key four skips it, and stable's earlier latencies stay", () => {
    const outcomes = judgeRun([closed(0, [canary(500, 0), stable(4500, 0)]), closed(1, [canary(500, 0)])]);
    assert.equal(outcomes[1]!.twoKey.verdict, "pass");
    assert.match(outcomes[1]!.twoKey.warnings.at(-1)?.text ?? "", /^Environment unknown: stable had no requests in this window/);
  });

  it("stable at 70% of the ceiling: only a canary significantly more than twice as bad fails", () => {
    const at = (errors: number) =>
      judgeRun(
        [0, 1].map((k) => closed(k, [canary(1000, errors), stable(9000, 32)])),
        { reference: noise(1e-5) },
      );
    assert.deepEqual(codes(at(10)[1]), ["environment"]);
    assert.equal(verdicts(at(22)), "hold fail");
  });

  it("shifting traffic is not a fault: each AZ is compared with its own stable", () => {
    // az-b is affected on both slices, and has most of the canary's traffic.
    const window = (k: number) =>
      closed(k, [
        cell({ az: "az-a", requests: evenly(100) }),
        cell({ az: "az-b", requests: evenly(900), errors: [4, 4, 4, 4, 4] }),
        stable(9000, 0, "az-a"),
        stable(900, 20, "az-b"),
      ]);
    const outcomes = judgeRun([window(0), window(1)]);
    assert.equal(outcomes[1]!.twoKey.verdict, "hold");
    assert.deepEqual(new Set(codes(outcomes[1])), new Set(["environment"]));
  });
});

describe("weight", () => {
  it("a weight change resets nothing: bad windows on both sides of it fail together", () => {
    const run = (weights: readonly number[]) =>
      judgeRun(
        weights.map((weight, k) => closed(k, [canary(300, k === 0 ? 1 : 6), stable(2700, 0)], { weight })),
        { hasStable: true },
      );
    const [steady, rising] = [run([10, 10, 10]), run([10, 20, 40])];
    assert.equal(verdicts(steady), "pass hold fail");
    assert.deepEqual(
      rising.map(({ twoKey }) => twoKey),
      steady.map(({ twoKey }) => twoKey),
    );
  });
});

describe("incomplete windows", () => {
  it("an incomplete window never passes; its counts are included", () => {
    const gap = { complete: false, gaps: ["mac-a1: sequence 5 to 9 is missing", "mac-a2: collector restarted"] };
    const outcomes = judgeRun([
      closed(0, [canary(300, 7), stable(2700, 0)], gap),
      closed(1, [canary(300, 6), stable(2700, 0)]),
      closed(2, [canary(300, 0), stable(2700, 0)], gap),
    ]);
    assert.equal(verdicts(outcomes), "hold fail fail");
    assert.deepEqual(codes(outcomes[0]), ["gap", "over_5xx"]);
    assert.equal(outcomes[0]!.twoKey.reasons[0]?.text, "Incomplete window: mac-a1: sequence 5 to 9 is missing, and 1 more.");
    const [clean] = judgeRun([closed(0, [canary(300, 0), stable(2700, 0)], gap)]);
    assert.deepEqual([clean!.twoKey.verdict, clean!.literal.verdict], ["hold", "hold"]);
    assert.deepEqual(clean!.twoKey.concerns, { errors: "hold", latency: "hold", queue: "pass" });
  });

  it("without sub-windows bursts are unknown, and the counts are judged per window", () => {
    const burst = (slotted: boolean) =>
      closed(1, [cell({ requests: evenly(300), errors: [25, 0, 0, 0, 0], slotted }), stable(2700, 0)]);
    const first = closed(0, [canary(300, 0), stable(2700, 0)]);
    assert.equal(verdicts(judgeRun([first, burst(true)])), "pass hold");
    assert.equal(verdicts(judgeRun([first, burst(false)])), "pass fail");
  });
});

describe("AZ scopes", () => {
  const bad = (k: number, errors: number) =>
    closed(k, [
      cell({ az: "az-a", requests: evenly(4000) }),
      cell({ az: "az-b", requests: evenly(200), errors: [errors, errors, errors, errors, errors] }),
      cell({ az: "az-c", requests: evenly(4000) }),
      ...["az-a", "az-b", "az-c"].map((az) => stable(9000, 0, az)),
    ]);

  it("a fault masked in the whole fails in its AZ, with its name", () => {
    const outcomes = judgeRun([bad(0, 1), bad(1, 1), bad(2, 1)]);
    const last = outcomes[2]!.twoKey;
    assert.equal(last.verdict, "fail");
    assert.deepEqual([last.reasons[0]?.code, last.reasons[0]?.az], ["over_5xx", "az-b"]);
    assert.match(last.reasons[0]?.text ?? "", /^az-b: 1[05] of [46]00 requests failed in the/);
    assert.equal(outcomes[2]!.literal.verdict, "pass");
  });

  it("a run with one AZ has no separate scope, so nothing is reported twice", () => {
    const outcomes = judgeRun([0, 1, 2].map((k) => closed(k, [canary(200, 5), stable(1800, 0)])));
    assert.equal(outcomes[2]!.twoKey.reasons.length, 1);
    assert.equal(outcomes[2]!.twoKey.reasons[0]?.az, undefined);
  });

  it("an AZ may have any name that a subject allows, including 1", () => {
    const cells = ["1", "az-b"].map((az) =>
      cell({ az, requests: evenly(500), errors: az === "1" ? [9, 9, 9, 9, 9] : [0, 0, 0, 0, 0] }),
    );
    const [outcome] = judgeRun([closed(0, cells)], { hasStable: false });
    assert.deepEqual(
      outcome!.twoKey.reasons.map(({ az }) => az),
      [undefined, "1"],
    );
    assert.match(outcome!.twoKey.reasons[0]?.text ?? "", /^45 of 1,000 requests failed/);
  });

  it("AZs beyond the limit are judged as one", () => {
    const cells = Array.from({ length: 20 }, (_, k) => cell({ az: `az-${String(k).padStart(2, "0")}`, requests: evenly(100) }));
    const [outcome] = judgeRun([closed(0, cells)], { hasStable: false });
    assert.equal(outcome!.twoKey.verdict, "pass");
    const scopes = Object.keys((outcome!.memory as { scopes: object }).scopes);
    assert.equal(scopes.length, 18);
    assert.ok(scopes.includes("others"));
  });
});

describe("several metrics", () => {
  it("are judged separately, and any fail is a fail", () => {
    const slow = cell({ requests: evenly(300), latency: (_, n) => [[300, n]] });
    const { concerns, verdict } = judgeRun([closed(0, [slow, stable(2700, 0)])])[0]!.twoKey;
    assert.deepEqual([verdict, concerns], ["fail", { errors: "pass", latency: "fail", queue: "pass" }]);
  });
});

describe("memory", () => {
  it("that is lost, or of another version, is rebuilt from the available windows", () => {
    const windows = Array.from({ length: 14 }, (_, k) => closed(k, [canary(300, k % 3), stable(2700, 4)]));
    const kept = judgeRun(windows);
    for (const memory of [null, { version: 1, scopes: "of another version" }]) {
      const learned = (upTo: number) =>
        judge(windows.slice(Math.max(0, upTo - 12), upTo), POLICY, {
          judged: upTo - 1,
          memory,
          reference: null,
          hasStable: true,
        });
      assert.deepEqual(learned(12), kept[11]);
      const requests = ({ memory }: JudgeOutcome) => {
        const { recent, older } = (memory.scopes as unknown as { "": { errors: KeptSeries } })[""].errors;
        return recent.reduce((sum, window) => sum + window.requests, older.requests);
      };
      assert.deepEqual([requests(kept[13]!), requests(learned(14))], [14 * 300, 12 * 300]);
      assert.equal(learned(14).twoKey.verdict, kept[13]!.twoKey.verdict);
    }
  });
});

describe("traffic", () => {
  const cells = [
    canary(300, 0),
    cell({ source: "prometheus", az: "az-b", requests: evenly(300) }),
    cell({ source: "synthetic", requests: evenly(100), errors: [10, 10, 10, 10, 10] }),
  ];
  const at = (traffic: "real" | "synthetic" | "both") =>
    judgeRun([closed(0, cells)], { hasStable: false, policy: { ...POLICY, traffic } })[0]!;

  it("is real, synthetic or both, and otherwise never mixed", () => {
    assert.equal(at("real").twoKey.verdict, "pass");
    assert.match(at("synthetic").twoKey.reasons[0]?.text ?? "", /^50 of 100 requests failed/);
    assert.match(at("both").twoKey.reasons[0]?.text ?? "", /50 of 700 requests failed/);
    assert.equal(judgeRun([closed(0, [cells[2]!])], { hasStable: false })[0]!.twoKey.reasons[0]?.code, "low_traffic");
  });
});

describe("invalid numbers", () => {
  const changed = (change: (cell: WindowSummary) => void): ClosedWindow => {
    const window = closed(1, [structuredClone(canary(300, 3)), stable(2700, 0)]);
    change(window.cells[0]!);
    return window;
  };
  const table: readonly (readonly [what: string, change: (cell: WindowSummary) => void])[] = [
    ["more errors than requests", ({ slots }) => (slots[0]!.errors_5xx = 61)],
    ["negative errors (a counter that was reset)", ({ slots }) => (slots[0]!.errors_5xx = -1)],
    ["negative requests", ({ slots }) => (slots[0]!.requests = -60)],
    ["NaN errors", ({ slots }) => (slots[0]!.errors_5xx = Number.NaN)],
    ["NaN requests", ({ slots }) => (slots[0]!.requests = Number.NaN)],
    ["infinite requests", ({ slots }) => (slots[0]!.requests = Number.POSITIVE_INFINITY)],
    ["2^31 requests", ({ slots }) => (slots[0]!.requests = 2 ** 31)],
    ["2^53 requests", ({ slots }) => (slots[0]!.requests = 2 ** 53)],
    ["half a request", ({ slots }) => (slots[0]!.requests = 60.5)],
    ["four slots", ({ slots }) => slots.pop()],
    ["2^31 latencies", ({ slots }) => (slots[0]!.latency.total = 2 ** 31)],
    ["a negative number of latencies", ({ slots }) => (slots[0]!.latency.total = -1)],
    ["NaN latencies", ({ slots }) => (slots[0]!.latency.total = Number.NaN)],
    ["half a latency", ({ slots }) => (slots[0]!.latency.total = 59.5)],
  ];
  const before = closed(0, [canary(300, 0), stable(2700, 0)]);
  const after = closed(2, [canary(300, 0), stable(2700, 0)]);
  for (const [what, change] of table) {
    it(`${what}: the window is rejected, hold; the run continues without it`, () => {
      const outcomes = judgeRun([before, changed(change), after]);
      for (const mode of [outcomes[1]!.literal, outcomes[1]!.twoKey]) {
        assert.equal(mode.verdict, "hold");
        assert.deepEqual(
          mode.reasons.map(({ code }) => code),
          ["gap"],
        );
        assert.match(mode.reasons[0]?.text ?? "", /^This window is unreadable and was rejected: canary az-a access-log: /);
      }
      const without = judgeRun([before, closed(1, []), after]);
      assert.deepEqual(outcomes[2]!.twoKey, without[2]!.twoKey);
    });
  }

  it("histograms of different scales are merged at the coarsest, and judged", () => {
    for (const scale of [0, 3, 8]) {
      const window = changed(({ slots }) => (slots[0]!.latency = oneBucket(scale, 5 << scale, 60)));
      const outcomes = judgeRun([before, window, after]);
      assert.equal(verdicts(outcomes), "pass pass pass", `scale ${scale}`);
    }
  });

  it("no window at all is a programming error", () => {
    assert.throws(() => judgeRun([closed(0, [])].slice(1).concat([undefined as unknown as ClosedWindow])), RangeError);
  });

  it("an invalid reference is ignored", () => {
    const reference = { windows: 48, from: "stable", figures: { "errors.rho": Number.NaN, "errors.phi": 0 } } as const;
    const [outcome] = judgeRun([before], { reference });
    assert.deepEqual(outcome!.noise, { overdispersion: 0.00125, burstFactor: 1, referenceWindows: 48 });
    assert.equal(judgeRun([before], { reference: noise(1e-5) })[0]!.noise?.overdispersion, 1e-5);
  });
});

describe("policies", () => {
  it("impossible thresholds are rejected together, with line, value and range", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "aviary-policy-"));
    t.after(() => rm(directory, { recursive: true }));
    const path = join(directory, "impossible.yaml");
    const table: readonly (readonly [line: string, problem: string])[] = [
      ["max5xxRate: 0", "found 0, expected at least 0.000001"],
      ["max5xxRate: 1.5", "found 1.5, expected at most 0.5"],
      ["max5xxRate: .nan", "found NaN, expected a number"],
      ["max5xxRate: 0.5 %", 'found "0.5 %", expected a number'],
      ["maxP99: 0ms", 'found "0ms", expected a duration from 1ms to 10m'],
      ["maxP99RegressionRatio: 1", "found 1, expected at least 1.01"],
      ["maxQueueDepth: 0", "found 0, expected at least 1"],
      ["maxQueueDepth: 2.5", "found 2.5, expected a whole number"],
    ];
    const problems = async (lines: readonly string[]): Promise<string[]> => {
      await writeFile(path, `thresholds:\n${lines.map((line) => `  ${line}\n`).join("")}`);
      const refused = await loadYamlFile(path, policySchema).then(
        () => assert.fail(`taken: ${lines.join(", ")}`),
        (error: unknown) => error as Error,
      );
      assert.ok(refused instanceof ConfigError);
      return refused.message.split("\n");
    };
    for (const [line, problem] of table) {
      const [first, ...others] = await problems([line]);
      assert.ok(first?.startsWith(`${path}:2: thresholds.${line.split(":")[0]}: ${problem}`), first);
      assert.deepEqual(others, []);
    }
    assert.equal((await problems(["max5xxRate: 0", "maxP99: 0ms", "maxP99RegressionRatio: 1", "maxQueueDepth: 0"])).length, 4);
  });

  it("the extreme ceilings of a policy are judged like any other", () => {
    const at = (max5xxRate: number, cell: WindowSummary) =>
      judgeRun([closed(0, [cell]), closed(1, [cell])], {
        hasStable: false,
        policy: { ...POLICY, thresholds: { ...POLICY.thresholds, max5xxRate } },
      });
    const half = at(0.5, canary(30, 30));
    assert.equal(verdicts(half), "hold fail", "eight times the ceiling cannot be");
    assert.match(half[0]!.twoKey.reasons[0]?.text ?? "", /; a single window never fails/);
    assert.equal(verdicts(at(0.5, canary(63, 10))), "pass pass");
    const millionth = at(0.000001, canary(300, 0));
    assert.equal(verdicts(millionth), "hold hold");
    assert.match(millionth[1]!.twoKey.reasons[0]?.text ?? "", /^600 requests, none failed; about 299,\d+ are needed/);
    assert.equal(verdicts(at(0.000001, canary(5_000, 3))), "fail fail");
  });
});
