/** The true history of a world, from which laws and damage are computed. Times are milliseconds since the start. */
import type { Slice } from "@aviary/shared/contract/run.ts";
import type { LaneView } from "./lane.ts";
import type { ReleasePlan } from "./releases.ts";

/** Requests of one Mac in one period. */
export interface TrafficSample {
  readonly atMs: number;
  readonly forMs: number;
  readonly slice: Slice;
  readonly release: ReleasePlan | undefined;
  readonly requests: number;
  readonly errors: number;
  readonly overCeiling: number;
  /** True rates caused by the release, without the environment. */
  readonly errorRate: number;
  readonly slowShare: number;
}

/** A step of a rollout. */
export interface Step {
  readonly atMs: number;
  readonly release: ReleasePlan;
  readonly what: "started" | "widened" | "promoted" | "finished" | "rolled-back" | "superseded" | "paused";
  readonly weight: number;
}

/** The installation of a release on a Mac. */
export interface InstallationRecord {
  readonly atMs: number;
  readonly slice: Slice;
  readonly release: ReleasePlan | undefined;
}

/** A verdict that needed attention, and how long it lasted. */
export interface Condition {
  readonly sinceMs: number;
  untilMs: number;
  readonly state: string;
  readonly code: string;
  readonly text: string;
  /** Whether the runbook has an entry for it. */
  isNamed: boolean;
}

/** The record of one world. */
export interface WorldRecord {
  readonly traffic: TrafficSample[];
  readonly steps: Step[];
  readonly installations: InstallationRecord[];
  readonly lane: LaneView[];
  readonly conditions: Condition[];
  /** When the last fault ended; updated when an open-ended fault is remedied. */
  faultsEndMs: number;
  readonly story: string[];
}

export function createRecord(): WorldRecord {
  return { traffic: [], steps: [], installations: [], lane: [], conditions: [], faultsEndMs: 0, story: [] };
}
