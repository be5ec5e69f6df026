/** What really happened, as the judge of the judges reads it. Times are milliseconds since the start. */
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
  /** True rates because of the release, without the environment. */
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

/** A release was installed on a Mac. */
export interface InstallationRecord {
  readonly atMs: number;
  readonly slice: Slice;
  readonly release: ReleasePlan | undefined;
}

/** A verdict that people had to look at, for as long as it lasted. */
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
  /** When the last trouble ended; moves when an open-ended one is remedied. */
  troubleEndMs: number;
  readonly story: string[];
}

export function createRecord(): WorldRecord {
  return { traffic: [], steps: [], installations: [], lane: [], conditions: [], troubleEndMs: 0, story: [] };
}
