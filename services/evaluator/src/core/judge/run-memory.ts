/**
 * The judge's memory of a run: 12 windows and the sums of the run per scope, stable's latencies, the counts of the threshold rule.
 */

import type { LiteralCounts } from "./literal.ts";
import { NO_COUNTS } from "./literal.ts";
import type { JudgeMemory } from "./outcome.ts";
import type { StableBandMemory } from "./stable-band.ts";
import type { KeptScope } from "./traffic-scope.ts";

/** Plain JSON data, stored by `memory-codec.ts`. Any change of the stored form requires a new version. */
export interface RunMemory {
  readonly version: typeof VERSION;
  /** By name, sorted. */
  readonly scopes: { readonly [name: string]: KeptScope };
  readonly stableBand: StableBandMemory | null;
  readonly literal: LiteralCounts;
}

const VERSION = 4;

export const EMPTY_MEMORY: RunMemory = { version: VERSION, scopes: {}, stableBand: null, literal: NO_COUNTS };

/** The memory in the opaque form used outside the judge. */
export function toJudgeMemory(memory: RunMemory): JudgeMemory {
  return memory as unknown as JudgeMemory;
}

/** @returns null if the memory has another version: the caller then starts from the available windows */
export function fromJudgeMemory(memory: JudgeMemory): RunMemory | null {
  // Written by `toJudgeMemory`, unchanged outside the judge.
  return memory.version === VERSION ? (memory as unknown as RunMemory) : null;
}
