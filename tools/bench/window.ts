/**
 * P8: the judge on one closed window: three metrics, three AZs with a canary and a stable slice each, and in each of these six a
 * latency histogram that fills all 1,016 buckets of scale 6 from 1 ms to 1 min. It is the 13th window of a run, so 12 precede
 * it.
 * The peer is one merge of two such histograms in memory. The run is healthy, like nearly all that are judged; also reported is a
 * run in which both slices have been slow from the start, so that a p-value is computed for each window range of each view.
 */
import assert from "node:assert/strict";
import { defaultPolicy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow, WindowSummary } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { seededRandom } from "../../libs/shared/src/testing/random.ts";
import { judge } from "../../services/evaluator/src/core/judge/judge.ts";
import type { JudgeMemory } from "../../services/evaluator/src/core/judge/outcome.ts";
import type { Benchmark } from "./benchmark.ts";
import { middle, ROUNDS, ratioOf, startContender, takeTurns, timed, type Workload } from "./rounds.ts";
import { AZS } from "./signals.ts";

const BUCKETS = 1_016;
const WINDOWS = 13;
const VERDICTS = 1_000;
const MERGES = 20_000;
const SLOTS = 5;
/**
 * The judge consists of many small functions: V8 keeps compiling them for some tens of thousands of verdicts. A merge is one
 * loop.
 */
const WARM_UPS = 40;

interface Settings {
  /** `well`: 0.3% of the requests are slower than the ceiling; `slow`: 2%, on stable too. */
  readonly run: "well" | "slow";
  /**
   * `spread`: the full histogram of a slice is distributed over its five sub-windows; `repeated`: every sub-window has a full
   * one.
   */
  readonly slots: "spread" | "repeated";
}

/** A histogram with at least one observation in every bucket from 1 ms on, most of them below 130 ms. */
function fullHistogram(random: () => number, run: Settings["run"] = "well"): histogram.Histogram {
  const full = histogram.create();
  const least = run === "well" ? 400 : 40;
  for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
    // The middle of bucket k of 64 per octave.
    const times = bucket < 450 ? least + Math.floor(random() * 40) : 1;
    histogram.insert(full, 2 ** ((bucket + 0.5) / 64), times);
  }
  return full;
}

function slotsOf(full: histogram.Histogram, slots: Settings["slots"]): WindowSummary["slots"] {
  return Array.from({ length: SLOTS }, (_, k) => {
    const part = histogram.create();
    const wire = histogram.toWire(full);
    const counts = wire.counts.map((times, bucket) => {
      if (slots === "repeated") return times;
      // A bucket with few observations has them all in one sub-window; the others are distributed.
      return times < SLOTS
        ? bucket % SLOTS === k
          ? times
          : 0
        : Math.floor((times * (k + 1)) / SLOTS) - Math.floor((times * k) / SLOTS);
    });
    histogram.mergeWire(part, { ...wire, counts });
    const requests = histogram.count(part);
    return { requests, errors_5xx: Math.floor(requests / 2_000), latency: histogram.toSparse(part) };
  });
}

function closedWindow(index: number, random: () => number, { run, slots }: Settings): ClosedWindow {
  const at = (minutes: number): string => new Date(Date.UTC(2026, 10, 21, 10, minutes)).toISOString();
  const cells = AZS.flatMap((az) =>
    (["canary", "stable"] as const).map(
      (slice): WindowSummary => ({
        slice,
        az,
        source: "access-log",
        slots: slotsOf(fullHistogram(random, run), slots),
        slotted: true,
        gateways: 1,
        expected: 1,
      }),
    ),
  );
  const window = { start: at(5 * index), end: at(5 * index + 5), index, weight: 10 };
  return { window, complete: true, gaps: [], late: 0, queue_depth: 4, cells };
}

async function makeJudge(settings: Settings): Promise<Workload> {
  const random = seededRandom(8);
  const policy = defaultPolicy();
  const windows = Array.from({ length: WINDOWS }, (_, index) => closedWindow(index, random, settings));
  let memory: JudgeMemory | null = null;
  const judgeUpTo = (count: number) =>
    judge(windows.slice(Math.max(0, count - 12), count), policy, { judged: count - 1, memory, reference: null, hasStable: true });
  for (let count = 1; count < WINDOWS; count += 1) memory = judgeUpTo(count).memory;
  return {
    round: () =>
      timed(async () => {
        for (let verdict = 0; verdict < VERDICTS; verdict += 1) {
          const { twoKey } = judgeUpTo(WINDOWS);
          assert.notEqual(twoKey.verdict, undefined);
        }
        return VERDICTS;
      }),
  };
}

/**
 * `form`: two histograms in memory, or one slice in the judge's input form: five sparse sub-windows that are added to a histogram
 * in memory.
 */
async function makeMerge({ form }: { form: "dense" | "sparse" }): Promise<Workload> {
  const random = seededRandom(8);
  const [into, from] = [fullHistogram(random), fullHistogram(random)];
  const slots = slotsOf(from, "spread");
  const merge =
    form === "dense"
      ? () => histogram.merge(into, from)
      : () => {
          for (const slot of slots) histogram.mergeSparse(into, slot.latency);
        };
  return {
    round: () =>
      timed(async () => {
        for (let count = 0; count < MERGES; count += 1) merge();
        return MERGES;
      }),
  };
}

export const benchmark: Benchmark = {
  workloads: { judge: makeJudge, merge: makeMerge },
  async run(cleanup) {
    const start = async (name: string, settings: object) =>
      cleanup.adopt(await startContender("window", name, settings), (contender) => contender.close());
    const contenders = [
      await start("judge", { run: "well", slots: "spread" } satisfies Settings),
      await start("merge", { form: "dense" }),
      await start("judge", { run: "slow", slots: "spread" } satisfies Settings),
      await start("judge", { run: "well", slots: "repeated" } satisfies Settings),
      await start("merge", { form: "sparse" }),
    ];
    const [well = [], merges = [], slow = [], repeated = [], sparse = []] = await takeTurns(contenders, ROUNDS, WARM_UPS);
    const verdictUs = middle(well, "cpuUs");
    const described = (rounds: typeof well) =>
      `${middle(rounds, "cpuUs").toFixed(0)} us, ${ratioOf(rounds, merges, "cpuUs").toFixed(0)} merges`;
    return {
      measurements: [
        {
          id: "P8",
          ratio: ratioOf(well, merges, "cpuUs"),
          ours: verdictUs,
          denominator: middle(merges, "cpuUs"),
          unit: "us",
          rounds: ROUNDS,
          bounds: [{ what: "one verdict takes", value: verdictUs / 1000, unit: "ms", atMost: 1 }],
        },
      ],
      notes: [
        `window ${WINDOWS} of a run, 6 slices with ${BUCKETS} full buckets each, distributed over 5 sub-windows`,
        `merging one slice from the judge's input form: ${middle(sparse, "cpuUs").toFixed(1)} us, so a verdict takes ${ratioOf(well, sparse, "cpuUs").toFixed(1)} of these`,
        `when every window range of every view reaches the ceiling: ${described(slow)}`,
        `with ${BUCKETS} full buckets in every sub-window: ${described(repeated)}`,
      ],
    };
  },
};
