/**
 * The state of the reducer: plain data (maps, numbers, histograms), so that a checkpoint can contain all of it. `reduce` owns a
 * state and modifies it in place; no other code may.
 */
import type { JudgingClass } from "@aviary/shared/contract/fleet.ts";
import type { LaneRecord } from "@aviary/shared/contract/lane.ts";
import type { Reason, ReasonCode } from "@aviary/shared/contract/reasons.ts";
import { isOpenRun, type Release, type RunState } from "@aviary/shared/contract/run.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { BrokerStep } from "./broker-step.ts";
import type { DiskMark } from "./disk-marks.ts";
import { createGateway, type GatewayState } from "./gateway.ts";
import type { JudgeMemory, JudgeOutcome } from "./judge/outcome.ts";
import type { CanaryConfig, ResolvedConfig } from "./resolved-config.ts";
import { createGrid, type WindowGrid } from "./window.ts";

/** Who opened a run; an announcer (Flux) opens one that the judging caller adopts. */
export type Opener = "controller" | "observation" | "operator" | "announcer";

/** Who ended a run before its time, or reported its end. */
export type Ender = "controller" | "operator" | null;

export interface Latch {
  /** The verdict that latched the failure. Null inside that verdict itself. */
  verdictId: string | null;
  atMs: number;
  reasons: Reason[];
  concern: "errors" | "latency" | "queue" | "disk" | "doctor" | "gateway";
}

export interface Run {
  readonly id: string;
  readonly revision: string;
  /** The controller's name for the revision; null in a run that observation opened. */
  controllerRevision: string | null;
  readonly openedBy: Opener;
  /** The number of this analysis of the revision, from 1. */
  readonly attempt: number;
  /** The class that judges this run; null until one has named it. */
  seat: JudgingClass | null;
  /** Newest message of the judging caller about this run; the run's start before one. */
  lastCallMs: number;
  /** An operator declared the previous attempt's failure a false positive. */
  readonly cleared: { readonly by: string; readonly reason: string; readonly atMs: number } | null;
  /** Store time of the message that opened the run: the origin of its windows. */
  readonly sinceMs: number;
  state: RunState;
  /** When the current state was entered. */
  stateSinceMs: number;
  /** Traffic is judged from this time on; earlier traffic is warm-up. */
  judgeFromMs: number;
  announcedHash: string | null;
  announcedVersion: string | null;
  /** The canary slice's release when warming started. */
  pinned: Release | null;
  /** The canary slice's release when the run opened. */
  releaseBefore: Release | null;
  /** The release of the previous run, if that one failed or was about another revision: its presence on the slice proves nothing. */
  readonly replacedRelease: Release | null;
  /** This is another attempt of a revision that failed. */
  readonly retriesFailed: boolean;
  /** Traffic share of the canary by the controller's reports, percent; null if unknown, which is not 0. */
  weight: number | null;
  /** The same by the load balancer's reports. */
  balancerWeight: number | null;
  /** Since when the controller is known to shift traffic; 0 if it is not. */
  shiftedSinceMs: number;
  phase: string | null;
  /** The gate confirm-traffic-increase was called. */
  gated: boolean;
  /** An increase was granted and not withdrawn. */
  granted: boolean;
  /** confirm-promotion was granted. */
  promotionGranted: boolean;
  /** The judging caller reported the end of this run. */
  endReported: boolean;
  endedBy: Ender;
  paused: string | null;
  latch: Latch | null;
  /** A failed run is over: its canary slice is back on stable's release, or gone. */
  restored: boolean;
  promotable: boolean;
  consecutivePass: number;
  /** Since when the verdict of the active run has been a hold; 0 if it is not. */
  heldSinceMs: number;
  holdExpired: boolean;
  judged: number;
  memory: JudgeMemory | null;
  reference: Reference | null;
  /** The last twelve judged windows, oldest first. */
  windows: ClosedWindow[];
  outcome: JudgeOutcome | null;
}

/** One attempt to analyze a revision. */
export interface Attempt {
  readonly name: string;
  readonly attempt: number;
  state: RunState;
  /** When it entered the state. */
  atMs: number;
  endReported: boolean;
  endedBy: Ender;
  /** When the judging caller last named the revision. */
  namedMs: number;
}

export interface CanaryState {
  readonly key: string;
  /** The configuration that the log names last; null before it names one. */
  configHash: string | null;
  /** When it was stored; 0 before. */
  configuredAtMs: number;
  run: Run | null;
  /** Windows of the current run, or of the time since the last one. */
  grid: WindowGrid | null;
  lastWindow: ClosedWindow | null;
  /** Healthy windows before the next run, both slices merged over their AZs: the source of a reference. */
  history: ClosedWindow[];
  /** Finished revision ids, which observation does not analyze again. Newest last. */
  finished: string[];
  /** The newest attempt of each revision that a controller or operator named, oldest first. */
  revisions: Attempt[];
  /** Whether the last published verdict is promotable. */
  lastPromotable: boolean;
  /** The last release that all stable gateways agreed on. */
  lastStable: Release | null;
  /** The release of the last run that passed. */
  passedRelease: Release | null;
  /** The release of the newest run that failed; null once it passed or was cleared. */
  failedRelease: Release | null;
  /** A release on the whole canary slice that may become a run by observation, and since when. */
  observed: { release: Release; sinceMs: number } | null;
  /** The newest release of the whole canary slice outside a run: the one to roll back to if there is no stable slice. */
  rollbackRelease: Release | null;
  maintenance: { untilMs: number; reason: string; mute: boolean } | null;
  /** Newest depth of each lane: event time, period, depth. */
  depths: Map<string, { observedAtMs: number; periodMs: number; depth: number }>;
  /** Disk levels against the marks of the canary's policy, by gateway key. */
  disks: Map<string, DiskMark>;
  logGap: boolean;
  /** Set while the broker's clock was set back and no complete window has closed since. */
  brokerStep: BrokerStep | null;
  /** Ids of the most recently emitted incidents, newest last: each is emitted once. */
  emittedIncidentIds: string[];
  /** Lower bound of the next instant at which a fact may become stale. */
  staleCheckMs: number;
  /** Fingerprint of the last published verdict: a new one is published when this changes. */
  lastFingerprint: string;
  lastVerdictId: string | null;
  /** Id and state of the run of the last published verdict; empty without one. */
  lastRunState: string;
  /** When the canary was last reconciled: every deadline up to then was handled. */
  reconciledAtMs: number;
  lastDegraded: boolean;
  lastReason: ReasonCode | null;
}

export interface LaneState {
  readonly name: string;
  nextTickMs: number;
  degradedTicks: number;
  record: LaneRecord | null;
}

/** Counts of one sender's invalid messages within a minute of broker time. */
export interface DeadCount {
  minute: number;
  written: number;
  suppressed: number;
}

export interface State {
  readonly config: ResolvedConfig;
  /** When the log was created, as the broker reports it; null until an evaluator has read it. Another instant is another log. */
  logCreatedAtMs: number | null;
  /** Last applied sequence and the latest broker time. */
  sequence: number;
  nowMs: number;
  readonly gateways: Map<string, GatewayState>;
  readonly canaries: Map<string, CanaryState>;
  readonly lanes: Map<string, LaneState>;
  readonly dead: Map<string, DeadCount>;
  /** The earliest deadline; a lower bound between two reconciliations. */
  nextDeadlineMs: number;
  lastCheckpointMs: number;
}

export function createCanary(config: CanaryConfig): CanaryState {
  return {
    key: config.key,
    configHash: null,
    configuredAtMs: 0,
    run: null,
    grid: null,
    lastWindow: null,
    history: [],
    finished: [],
    revisions: [],
    lastPromotable: false,
    lastStable: null,
    passedRelease: null,
    failedRelease: null,
    observed: null,
    rollbackRelease: null,
    maintenance: null,
    depths: new Map(),
    disks: new Map(),
    logGap: false,
    brokerStep: null,
    emittedIncidentIds: [],
    staleCheckMs: Number.POSITIVE_INFINITY,
    lastFingerprint: "",
    lastVerdictId: null,
    lastRunState: "",
    reconciledAtMs: 0,
    lastDegraded: false,
    lastReason: null,
  };
}

/** The state before the first message of a log. */
export function createState(config: ResolvedConfig): State {
  const state: State = {
    config,
    logCreatedAtMs: null,
    sequence: 0,
    nowMs: 0,
    gateways: new Map(),
    canaries: new Map(),
    lanes: new Map(),
    dead: new Map(),
    nextDeadlineMs: Number.POSITIVE_INFINITY,
    lastCheckpointMs: 0,
  };
  for (const gateway of config.gateways.values()) state.gateways.set(gateway.key, createGateway(gateway));
  for (const canary of config.canaries.values()) state.canaries.set(canary.key, createCanary(canary));
  for (const lane of config.lanes.values())
    state.lanes.set(lane.name, { name: lane.name, nextTickMs: 0, degradedTicks: 0, record: null });
  return state;
}

/** The canary's gateways in file order. */
export function gatewaysOfCanary(state: State, config: CanaryConfig): GatewayState[] {
  return config.gateways.flatMap((key) => state.gateways.get(key) ?? []);
}

/** Whether the canary is frozen: analyzed now, or failed and not yet restored. */
export function isCanaryActive(run: Run | null): boolean {
  return run !== null && (run.state === "warming" || run.state === "active" || (run.state === "failed" && !run.restored));
}

/** Whether the run is still open (including pending). */
export function isOpen(run: Run | null): boolean {
  return run !== null && isOpenRun({ state: run.state, canary_active: isCanaryActive(run) });
}

/** Starts a new window grid at `originMs`. */
export function startGrid(canary: CanaryState, config: CanaryConfig, originMs: number): void {
  canary.grid = createGrid(originMs, config.policy.windowMs);
}

/** The controller or the load balancer shifts traffic; the first report of it counts. */
export function recordShift(run: Run, atMs: number): void {
  if (run.shiftedSinceMs === 0) run.shiftedSinceMs = atMs;
}

/** The canary's weight: the larger of what the controller and the load balancer report; null if neither is known. */
export function weightOf({ weight, balancerWeight }: Pick<Run, "weight" | "balancerWeight">): number | null {
  if (weight === null || balancerWeight === null) return weight ?? balancerWeight;
  return Math.max(weight, balancerWeight);
}
