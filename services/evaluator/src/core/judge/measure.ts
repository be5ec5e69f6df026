/** Turns the tallies of one window into the counts of each view: the whole canary, and each of its AZs. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Histogram } from "@aviary/shared/histogram.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import type { Counts } from "./counts.ts";
import { NOTHING } from "./counts.ts";
import type { Metric } from "./rule.ts";
import { HEALTHY, SLOW_FLOOR, SLOW_SHARE } from "./rule.ts";
import type { AzTally, SlotTally, Tally } from "./tally.ts";

/** The threshold of a regression in one view, and how well it is known. */
export interface Threshold {
  /** The limit's ratio times the 99th percentile of stable over the baseline, milliseconds. */
  readonly limitMs: number;
  /** Stable's latencies in the baseline, and those above the threshold. */
  readonly timed: number;
  readonly above: number;
}

/** One view of one window. */
export interface Measured {
  readonly counts: Readonly<Record<Metric, Counts>>;
  /** Null when the baseline holds no latency of stable. */
  readonly threshold: Threshold | null;
}

/** What is counted of a tally: how many, and how many bad ones. */
interface Counting {
  readonly n: (tally: Tally) => number;
  readonly bad: (tally: Tally) => number;
  readonly slotN: (slot: SlotTally) => number;
  readonly slotBad: (slot: SlotTally) => number;
}

/**
 * @param judged the view's AZs.
 * @param all every AZ of the window: stable elsewhere stands in for an AZ that has no stable traffic of its own.
 * @param baseline latencies of stable for the view, over the last windows.
 */
export function measure(judged: readonly AzTally[], all: readonly AzTally[], baseline: Histogram, policy: Policy): Measured {
  const { max5xxRate, maxP99Ms } = policy.thresholds;
  const threshold = thresholdOf(baseline, policy.thresholds.maxP99RegressionRatio);
  return {
    counts: {
      errors: countsOf(judged, all, HEALTHY * max5xxRate, errorCounting),
      ceiling: countsOf(judged, all, HEALTHY * SLOW_SHARE, slowCounting(maxP99Ms)),
      regression:
        threshold === null
          ? NOTHING
          : countsOf(judged, all, Math.max(SLOW_FLOOR, threshold.above / threshold.timed), slowCounting(threshold.limitMs)),
    },
    threshold,
  };
}

export function thresholdOf(baseline: Histogram, ratio: number): Threshold | null {
  const p99 = histogram.quantile(baseline, 0.99);
  if (p99 === null) return null;
  const limitMs = ratio * p99;
  return { limitMs, timed: histogram.count(baseline), above: histogram.countAbove(baseline, limitMs) };
}

const errorCounting: Counting = {
  n: (tally) => tally.requests,
  bad: (tally) => tally.errors,
  slotN: (slot) => slot.requests,
  slotBad: (slot) => slot.errors,
};

function slowCounting(limitMs: number): Counting {
  return {
    n: (tally) => tally.timed,
    bad: (tally) => histogram.countAbove(tally.latency, limitMs),
    slotN: (slot) => slot.timed,
    slotBad: (slot) => histogram.countAbove(slot.latency, limitMs),
  };
}

function countsOf(judged: readonly AzTally[], all: readonly AzTally[], healthyShare: number, counting: Counting): Counts {
  const slots = new Map<number, { n: number; x: number }>();
  let n = 0;
  let x = 0;
  const expected = { e: 0, v: 0, xe: 0, ne: 0 };
  for (const az of judged) {
    let azN = 0;
    let azX = 0;
    for (const [k, slot] of az.judged.slots.entries()) {
      const slotN = counting.slotN(slot);
      const slotX = slotN === 0 ? 0 : counting.slotBad(slot);
      const sum = slots.get(k) ?? { n: 0, x: 0 };
      slots.set(k, { n: sum.n + slotN, x: sum.x + slotX });
      azN += slotN;
      azX += slotX;
    }
    n += azN;
    x += azX;
    expect(expected, azN, azX, counting.n(az.compared) > 0 ? [az] : all, counting);
  }
  if (n === 0) return NOTHING;
  const slotted = judged.every((az) => az.judged.slotted);
  const sums = [...slots.values()];
  return {
    n,
    x,
    s2: slotted ? sums.reduce((sum, slot) => sum + slot.x ** 2, 0) : x * x,
    q2: slotted ? sums.reduce((sum, slot) => sum + slot.n ** 2, 0) : n * n,
    mu: healthyShare * n,
    ...expected,
  };
}

/** Adds what stable in `azs` leads to expect of `n` requests of which `x` were bad; each AZ is compared apart, so that shares may shift. */
function expect(
  sum: { e: number; v: number; xe: number; ne: number },
  n: number,
  x: number,
  azs: readonly AzTally[],
  counting: Counting,
): void {
  let stableN = 0;
  let stableX = 0;
  for (const { compared } of azs) {
    stableN += counting.n(compared);
    stableX += counting.bad(compared);
  }
  if (n === 0 || stableN === 0) return;
  const share = n / stableN;
  sum.e += share * stableX;
  sum.v += share * share * stableX;
  sum.xe += x;
  sum.ne += n;
}
