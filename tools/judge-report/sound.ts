/** T11 and T12: every removed key is detected; cost, size, and counts at the limits. */

import { type Random, seededRandom } from "../../libs/shared/src/testing/random.ts";
import type { Counts } from "../../services/evaluator/src/core/judge/counts.ts";
import { EMPTY, NOTHING } from "../../services/evaluator/src/core/judge/counts.ts";
import { defaultNoise } from "../../services/evaluator/src/core/judge/noise.ts";
import { MAX_RANGE_WINDOWS } from "../../services/evaluator/src/core/judge/rule.ts";
import type { Cell } from "./cell.ts";
import { failedShare } from "./cell.ts";
import type { Check } from "./checks.ts";
import type { Mutation } from "./mutations.ts";
import { MUTATIONS } from "./mutations.ts";
import { startPool } from "./pool.ts";
import { CHECKS } from "./targets.ts";
import { scopeRun } from "./two-key.ts";

/** The cell in which a removed key is detected, and its target. */
const CAUGHT_BY: Readonly<Record<Mutation, readonly [target: string, cell: string]>> = {
  "rate key": ["T6", "n=200000"],
  "significance key": ["T1", "n=300"],
  "persistence key": ["T7", "n=1000"],
  "environment key": ["T8", "5% for 3, n=100"],
  overdispersion: ["T2", "n=5000"],
  "burst factor": ["T4", "bursts of 5, n=1000"],
};

export interface Caught {
  readonly mutation: Mutation;
  readonly target: string;
  readonly cell: string;
  /** Share of runs that fail under the mutation, and the share allowed by the target. */
  readonly value: number;
  readonly bound: number;
}

/** Simulates the judge without each of its keys; the given target must be missed. */
export async function withoutEachKey(runs: number, threads: number): Promise<Caught[]> {
  const caught: Caught[] = [];
  for (const mutation of MUTATIONS) {
    const [target, name] = CAUGHT_BY[mutation];
    const check = CHECKS.find((one): one is Check & { bound: { atMost: number } } => {
      return one.target === target && "atMost" in one.bound && one.cells[name] !== undefined;
    });
    if (check === undefined) throw new Error(`${target} has no cell ${name} with an upper bound`);
    await using pool = startPool(mutation, threads);
    const result = await pool.run(check.cells[name] as Cell, runs);
    caught.push({ mutation, target, cell: name, value: failedShare(result), bound: check.bound.atMost });
  }
  return caught;
}

const EDGES = [0, 1, 2, 2 ** 31 - 1, 2 ** 31] as const;

function anyCount(random: Random, most: number): number {
  const u = random();
  if (u < 0.3) return Math.min(most, EDGES[Math.floor(random() * EDGES.length)]!);
  return Math.floor(most * random() ** 8);
}

function anyCounts(random: Random): Counts {
  let [n, x, s2, q2] = [0, 0, 0, 0];
  for (let slot = 0; slot < 5; slot++) {
    const slotN = anyCount(random, 2 ** 31);
    const slotX = anyCount(random, slotN);
    n += slotN;
    x += slotX;
    s2 += slotX * slotX;
    q2 += slotN * slotN;
  }
  if (n === 0) return NOTHING;
  const stableN = anyCount(random, 2 ** 31);
  const stable =
    stableN === 0
      ? { stableBad: 0, stableVariance: 0, comparedBad: 0, comparedRequests: 0, stableRequests: 0 }
      : expected(n, x, stableN, anyCount(random, stableN));
  const slotted = random() < 0.8;
  return {
    requests: n,
    bad: x,
    badSquares: slotted ? s2 : x * x,
    requestSquares: slotted ? q2 : n * n,
    healthyBad: 0.003 * n,
    ...stable,
  };
}

function expected(
  n: number,
  x: number,
  stableN: number,
  stableX: number,
): Pick<Counts, "stableBad" | "stableVariance" | "comparedBad" | "comparedRequests" | "stableRequests"> {
  const share = n / stableN;
  return {
    stableBad: share * stableX,
    stableVariance: share * share * stableX,
    comparedBad: x,
    comparedRequests: n,
    stableRequests: stableN,
  };
}

/** Judges this many windows of counts from 0 to 2^31. @returns results that are not probabilities @throws the judge's error */
export function edgeNumbers(windows: number): string[] {
  const wrong: string[] = [];
  const random = seededRandom(12);
  let scope = scopeRun("errors", 0.005, defaultNoise(0.005));
  for (let k = 0; k < windows; k++) {
    if (random() < 0.08) {
      const overdispersion = random() < 0.5 ? 1e-6 : 0.05 * random();
      const burstFactor = random() < 0.5 ? 1 : 1 + 100 * random();
      scope = scopeRun("errors", random() < 0.5 ? 0.005 : random(), { overdispersion, burstFactor });
    }
    const counts = anyCounts(random);
    const { pValue, decided } = scope.judge(counts);
    scope.evidence();
    if (pValue !== null && !(pValue >= 0 && pValue <= 1)) wrong.push(`p-value ${pValue} after ${JSON.stringify(counts)}`);
    if (decided !== null && !(decided.bursts >= 1)) wrong.push(`bursts ${decided.bursts} after ${JSON.stringify(counts)}`);
  }
  return wrong;
}

/** Numbers kept per run besides the windows, and the windows. */
export const STATE = { windows: MAX_RANGE_WINDOWS, numbers: Object.keys(EMPTY).length } as const;

/**
 * CPU time per window and metric, microseconds: healthy traffic, and a rate above the ceiling, where every window range is
 * tested.
 */
export function costOfWindow(): { readonly healthy: number; readonly worst: number } {
  const cost = (x: number): number => {
    const counts: Counts = {
      ...NOTHING,
      requests: 1_000,
      bad: x,
      badSquares: (x * x) / 5,
      requestSquares: 1_000 ** 2 / 5,
      healthyBad: 3,
      stableBad: 2,
      stableVariance: 0.25,
      comparedBad: x,
      comparedRequests: 1_000,
      stableRequests: 9_000,
    };
    const times: number[] = [];
    for (let round = 0; round < 20; round++) {
      const before = process.cpuUsage();
      for (let run = 0; run < 40; run++) {
        const scope = scopeRun("errors", 0.005, defaultNoise(0.005));
        for (let t = 0; t < 24; t++) {
          scope.judge(counts);
          scope.evidence();
        }
      }
      const { user, system } = process.cpuUsage(before);
      times.push((user + system) / (40 * 24));
    }
    return times.sort((p, q) => p - q)[times.length >> 1]!;
  };
  return { healthy: cost(3), worst: cost(6) };
}
