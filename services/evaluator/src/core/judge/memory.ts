/** What the judge remembers of a run: 12 windows and the sums of the run for each view, stable's baseline, the literal rule's counts. */

import type { LiteralCounts } from "./literal.ts";
import { NO_COUNTS } from "./literal.ts";
import type { JudgeMemory } from "./outcome.ts";
import type { StableBandMemory } from "./stable-band.ts";
import type { View } from "./view.ts";

/** Plain data throughout: JSON as it is. A change of any part of it needs another version. */
export interface State {
  readonly v: typeof VERSION;
  /** By name, in order of names. */
  readonly views: { readonly [name: string]: View };
  readonly baseline: StableBandMemory | null;
  readonly literal: LiteralCounts;
}

const VERSION = 3;

export const START: State = { v: VERSION, views: {}, baseline: null, literal: NO_COUNTS };

/** The state as everybody else carries it. */
export function asMemory(state: State): JudgeMemory {
  return state as unknown as JudgeMemory;
}

/** @returns null when the memory is not of this version: the caller then starts from the windows it has. */
export function asState(memory: JudgeMemory): State | null {
  // Written by `asMemory`, carried unchanged by everybody else.
  return memory.v === VERSION ? (memory as unknown as State) : null;
}
