/**
 * The judge's memory of a run: 12 windows and the sums of the run per view, stable's baseline, the counts of the threshold rule.
 */

import type { LiteralCounts } from "./literal.ts";
import { NO_COUNTS } from "./literal.ts";
import type { JudgeMemory } from "./outcome.ts";
import type { StableBandMemory } from "./stable-band.ts";
import type { View } from "./traffic-scope.ts";

/** Plain JSON data. Any change requires a new version. */
export interface State {
  readonly v: typeof VERSION;
  /** By name, sorted. */
  readonly views: { readonly [name: string]: View };
  readonly baseline: StableBandMemory | null;
  readonly literal: LiteralCounts;
}

const VERSION = 3;

export const START: State = { v: VERSION, views: {}, baseline: null, literal: NO_COUNTS };

/** The state in the opaque form used outside the judge. */
export function asMemory(state: State): JudgeMemory {
  return state as unknown as JudgeMemory;
}

/** @returns null if the memory has another version: the caller then starts from the available windows */
export function asState(memory: JudgeMemory): State | null {
  // Written by `asMemory`, unchanged outside the judge.
  return memory.v === VERSION ? (memory as unknown as State) : null;
}
