/** A cell: one scenario, simulated many times, and how its runs ended. Cells are plain data; their JSON text is their seed. */

import { type Random, seededRandom, seedOf } from "../../libs/shared/src/testing/random.ts";
import { EVIDENCE_FACTOR } from "../../services/evaluator/src/core/judge/rule.ts";
import type { Evidence } from "../../services/evaluator/src/core/judge/window-ranges.ts";
import type { JudgedWindows, JudgeName, OtherJudge } from "./judged-windows.ts";
import type { LatencyCell } from "./latency-run.ts";
import { latencyRun } from "./latency-run.ts";
import { mannWhitneyWatcher } from "./mann-whitney.ts";
import type { Watcher } from "./other-rules.ts";
import { literalWatcher, thresholdWatcher } from "./other-rules.ts";
import type { Scenario } from "./scenario.ts";
import { WINDOWS } from "./scenario.ts";
import { simulateRun } from "./traffic.ts";
import { errorRun, noiseOf } from "./two-key.ts";

export const DEFAULT_CEILING = 0.005;

export interface RateCell {
  readonly kind: "rates";
  readonly scenario: Scenario;
  /** Judges that see the same runs next to the two-key rule. */
  readonly others?: readonly OtherJudge[];
  readonly ceiling?: number;
  readonly evidence?: keyof typeof EVIDENCE_FACTOR;
  /** Also evaluate promotion in every window; costs time. */
  readonly promotion?: boolean;
}

export type Cell = RateCell | LatencyCell;

/** The names of fields in the text that seeds are made of: with others, every figure of docs/judge.md would be another draw. */
const SEED_NAMES: Readonly<Record<string, string>> = {
  requests: "n",
  overdispersion: "rho",
  burstFactor: "phi",
  knowledge: "knows",
};

const SEED_NAME = new RegExp(`"(${Object.keys(SEED_NAMES).join("|")})":`, "g");

/** The JSON text of a cell, of which its seed is made. */
export function seedText(cell: Cell): string {
  return JSON.stringify(cell).replace(SEED_NAME, (_, name: string) => `"${SEED_NAMES[name]}":`);
}

/** Sums over runs; results of parts of a cell can be added. */
export interface CellResult {
  runs: number;
  /** How many runs each judge failed first in window 1, 2, ... */
  readonly failed: Partial<Record<JudgeName, number[]>>;
  /** Windows until the two-key rule's fail, and how many of them were suspicious. */
  windows: number;
  suspicious: number;
  /** Runs that were promotable in their last window, and those promotable in any window. */
  promotedLast: number;
  promotedEver: number;
  /** Runs that passed within four windows after the end of their incident; 0 in cells without promotion. */
  recovered: number;
}

/** Windows after an incident within which a healthy canary must pass again. */
const RECOVERY_WINDOWS = 4;

/** Simulates the runs `from` to `to - 1` of a cell. Every run has its own seed. */
export function simulate(cell: Cell, from: number, to: number): CellResult {
  const result: CellResult = {
    runs: to - from,
    failed: {},
    windows: 0,
    suspicious: 0,
    promotedLast: 0,
    promotedEver: 0,
    recovered: 0,
  };
  const seed = seedOf(seedText(cell));
  const windows = cell.scenario.windows ?? WINDOWS;
  const recoverFrom = recoveryOf(cell);
  for (let number = from; number < to; number++) {
    const random = seededRandom(seed, number);
    const run = cell.kind === "latency" ? latencyRun(cell, random) : rateRun(cell, random);
    let left = run.judges;
    let failed = false;
    let promoted = false;
    let recovered = false;
    for (let t = 0; t < windows && left > 0; t++) {
      for (const judge of run.next()) {
        left--;
        failed ||= judge === "two-key";
        result.failed[judge] ??= new Array<number>(windows).fill(0);
        result.failed[judge][t]!++;
      }
      if (failed) continue;
      result.windows++;
      if (run.result.suspicious) result.suspicious++;
      promoted ||= run.result.promote;
      recovered ||= run.result.pass && t >= recoverFrom && t < recoverFrom + RECOVERY_WINDOWS;
    }
    if (promoted) result.promotedEver++;
    if (recovered) result.recovered++;
    if (!failed && run.result.promote) result.promotedLast++;
  }
  return result;
}

/** The first window after an incident at a known position; after the end of the run if there is none. */
function recoveryOf({ kind, scenario }: Cell): number {
  if (kind !== "rates" || scenario.incident?.at === undefined) return Number.POSITIVE_INFINITY;
  return scenario.incident.at + scenario.incident.windows;
}

export function added(p: CellResult, q: CellResult): CellResult {
  const failed: CellResult["failed"] = { ...p.failed };
  for (const [name, counts] of Object.entries(q.failed) as [JudgeName, number[]][]) {
    failed[name] = counts.map((count, t) => count + (p.failed[name]?.[t] ?? 0));
  }
  return {
    runs: p.runs + q.runs,
    failed,
    windows: p.windows + q.windows,
    suspicious: p.suspicious + q.suspicious,
    promotedLast: p.promotedLast + q.promotedLast,
    promotedEver: p.promotedEver + q.promotedEver,
    recovered: p.recovered + q.recovered,
  };
}

/** Share of runs that a judge had failed by the end of window `by`, counted from 1; of the whole run if absent. */
export function failedShare(result: CellResult, judge: JudgeName = "two-key", by?: number): number {
  const counts = result.failed[judge] ?? [];
  return counts.slice(0, by).reduce((sum, count) => sum + count, 0) / result.runs;
}

function rateRun(cell: RateCell, random: Random): JudgedWindows {
  const { scenario, ceiling = DEFAULT_CEILING } = cell;
  const { reference, next } = simulateRun(scenario, random);
  const noise = noiseOf(scenario.knowledge, reference, ceiling, scenario.azs?.rates.length ?? 1);
  const ours = errorRun(ceiling, noise, EVIDENCE_FACTOR[cell.evidence ?? "normal"]);
  const watching = new Map<OtherJudge, Watcher>(cell.others?.map((name) => [name, watcherOf(name, ceiling)]));
  const result = { suspicious: false, promote: false, pass: false };
  let failed = false;
  return {
    result,
    judges: watching.size + 1,
    next() {
      const window = next();
      const fails: JudgeName[] = [];
      if (!failed) {
        const { kind } = ours.judge(window);
        failed = kind === "fail";
        result.suspicious = kind === "suspicious";
        const evidence = cell.promotion === true && kind === "clear" ? ours.evidence() : null;
        result.pass = evidence?.step === true;
        result.promote = evidence !== null && mayPromote(evidence);
        if (failed) fails.push("two-key");
      }
      for (const [name, watcher] of watching) {
        if (!watcher.judge(window)) continue;
        watching.delete(name);
        fails.push(name);
      }
      return fails;
    },
  };
}

function mayPromote({ step, promote, worse }: Evidence): boolean {
  return step && promote && !worse;
}

function watcherOf(name: OtherJudge, ceiling: number): Watcher {
  if (name === "literal") return literalWatcher(ceiling);
  if (name === "mann-whitney") return mannWhitneyWatcher();
  return thresholdWatcher(ceiling, name === "flagger" ? 1 : 3);
}
