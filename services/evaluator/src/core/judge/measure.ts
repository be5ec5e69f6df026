/** Turns the tallies of one window into the counts of a view: the whole canary, or one of its AZs. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { SLOTS } from "@aviary/shared/contract/policy.ts";
import type { Threshold } from "./baseline.ts";
import type { Counts } from "./counts.ts";
import { NOTHING } from "./counts.ts";
import { countAbove, limitOf } from "./latency.ts";
import type { Metric } from "./rule.ts";
import { HEALTHY, SLOW_FLOOR, SLOW_SHARE } from "./rule.ts";
import type { AzTally, SlotTally, Tally } from "./tally.ts";

/** One view of one window. */
export interface Measured {
  readonly counts: Readonly<Record<Metric, Counts>>;
  /** Null when the baseline holds no latency of stable. */
  readonly threshold: Threshold | null;
}

/** What is counted of a slot, or of a slice: how many, and how many bad ones. */
interface Counting {
  readonly n: (slot: SlotTally | Tally) => number;
  readonly bad: (slot: SlotTally | Tally) => number;
}

/**
 * @param judged the view's AZs.
 * @param all every AZ of the window: stable elsewhere stands in for an AZ that has no stable traffic of its own.
 * @param threshold the view's regression threshold; null when it has none, and no regression is counted.
 */
export function measure(
  judged: readonly AzTally[],
  all: readonly AzTally[],
  threshold: Threshold | null,
  { thresholds }: Policy,
): Measured {
  const regression = () => {
    if (threshold === null) return NOTHING;
    const healthy = Math.max(SLOW_FLOOR, threshold.above / threshold.timed);
    return countsOf(judged, all, healthy, slowCounting(threshold.limitMs));
  };
  return {
    counts: {
      errors: countsOf(judged, all, HEALTHY * thresholds.max5xxRate, errorCounting),
      ceiling: countsOf(judged, all, HEALTHY * SLOW_SHARE, slowCounting(thresholds.maxP99Ms)),
      regression: regression(),
    },
    threshold,
  };
}

const errorCounting: Counting = { n: ({ requests }) => requests, bad: ({ errors }) => errors };

function slowCounting(limitMs: number): Counting {
  const limit = limitOf(limitMs);
  return { n: ({ timed }) => timed, bad: ({ latency }) => countAbove(latency, limit) };
}

function countsOf(judged: readonly AzTally[], all: readonly AzTally[], healthyShare: number, counting: Counting): Counts {
  const slotN = new Array<number>(SLOTS).fill(0);
  const slotX = new Array<number>(SLOTS).fill(0);
  const expected = { e: 0, v: 0, xe: 0, ne: 0 };
  for (const az of judged) {
    let azN = 0;
    let azX = 0;
    for (let k = 0; k < SLOTS; k++) {
      const slot = az.judged.slots[k]!;
      const n = counting.n(slot);
      const x = counting.bad(slot);
      slotN[k]! += n;
      slotX[k]! += x;
      azN += n;
      azX += x;
    }
    expect(expected, azN, azX, counting.n(az.compared) > 0 ? [az] : all, counting);
  }
  const n = slotN.reduce((sum, one) => sum + one, 0);
  if (n === 0) return NOTHING;
  const x = slotX.reduce((sum, one) => sum + one, 0);
  const slotted = judged.every((az) => az.judged.slotted);
  const s2 = slotted ? slotX.reduce((sum, one) => sum + one * one, 0) : x * x;
  const q2 = slotted ? slotN.reduce((sum, one) => sum + one * one, 0) : n * n;
  return { n, x, s2, q2, mu: healthyShare * n, ...expected };
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
