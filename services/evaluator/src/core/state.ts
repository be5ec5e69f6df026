/**
 * The state of the fold. It is plain data (maps, numbers, histograms) so that a checkpoint can hold all of it: everything that the
 * evaluator knows, as of one position in the log. `step` owns a state and changes it in place; nobody else may.
 */
import type { LaneRecord } from "@aviary/shared/contract/lane.ts";
import type { Reason, ReasonCode } from "@aviary/shared/contract/reasons.ts";
import type { Release, RunState } from "@aviary/shared/contract/run.ts";
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { createGateway, type GatewayState } from "./gateway.ts";
import type { JudgeMemory, JudgeOutcome } from "./judge/outcome.ts";
import type { CanaryConfig, ResolvedConfig } from "./resolved-config.ts";
import { createFrame, type Frame } from "./window.ts";

export type Opener = "controller" | "observation" | "operator";

export interface Latch {
  /** The verdict that latched. Null inside that verdict itself. */
  verdictId: string | null;
  atMs: number;
  reasons: Reason[];
  concern: "errors" | "latency" | "queue" | "disk" | "doctor";
}

export interface Run {
  readonly id: string;
  readonly revision: string;
  readonly controllerRevision: string | null;
  readonly openedBy: Opener;
  /** Store time of the message that opened the run: the origin of its windows. */
  readonly sinceMs: number;
  state: RunState;
  /** When the present state was entered. */
  stateSinceMs: number;
  /** Measured from here on; what was seen before is warm-up. */
  judgeFromMs: number;
  announcedHash: string | null;
  announcedVersion: string | null;
  /** What the canary slice ran when warming began. */
  pinned: Release | null;
  /** What the canary slice ran when the run opened. */
  before: Release | null;
  weight: number;
  phase: string | null;
  gated: boolean;
  confirmed: boolean;
  paused: string | null;
  latch: Latch | null;
  /** A failed run whose canary slice is restored. */
  over: boolean;
  promotable: boolean;
  consecutivePass: number;
  /** Since when the verdict of the active run has been a hold; 0 while it is not. */
  heldSinceMs: number;
  holdExpired: boolean;
  judged: number;
  memory: JudgeMemory | null;
  reference: Reference | null;
  /** The last twelve windows that were judged, oldest first. */
  windows: ClosedWindow[];
  outcome: JudgeOutcome | null;
}

export interface CanaryState {
  readonly key: string;
  run: Run | null;
  /** Windows of the present run, or of the time since the last one. */
  frame: Frame | null;
  lastWindow: ClosedWindow | null;
  /** Healthy windows before the next run, both slices merged over their AZs: what a reference is learned from. */
  history: ClosedWindow[];
  /** Revisions that are done with: they do not start again by themselves. Newest last. */
  finished: string[];
  /** A release on the whole canary slice that may become a run by observation, and since when. */
  observed: { release: Release; sinceMs: number } | null;
  /** The newest release that the whole canary slice ran outside a run: what to go back to where no stable slice exists. */
  baseline: Release | null;
  everPassed: boolean;
  maintenance: { untilMs: number; reason: string; mute: boolean } | null;
  /** Newest depth of each lane: event time, period, depth. */
  depths: Map<string, { observedAtMs: number; periodMs: number; depth: number }>;
  logGap: boolean;
  /** A gate that was asked while no run was open: Flagger asks confirm-rollout before it can name the new revision by its checksum. */
  askedBefore: { gated: boolean; confirmed: boolean } | null;
  /** Ids of the incidents that were told last, newest last: each is told once. */
  told: string[];
  /** Lower bound of the next instant at which something may go stale. */
  staleCheckMs: number;
  /** What the last published verdict said, in short: a new one is published when this changes. */
  lastSaid: string;
  lastVerdictId: string | null;
  /** When the canary was last brought to rest: every deadline up to then has been seen to. */
  settledAtMs: number;
  lastOutcome: "pass" | "hold" | "fail";
  lastDegraded: boolean;
  lastReason: ReasonCode | null;
}

export interface LaneState {
  readonly name: string;
  nextTickMs: number;
  degradedTicks: number;
  record: LaneRecord | null;
}

/** Counts of one sender's unreadable messages inside a minute of broker time. */
export interface DeadCount {
  minute: number;
  written: number;
  suppressed: number;
}

export interface State {
  readonly setup: ResolvedConfig;
  /** Last folded sequence and the latest broker time seen. */
  sequence: number;
  nowMs: number;
  readonly gateways: Map<string, GatewayState>;
  readonly canaries: Map<string, CanaryState>;
  readonly lanes: Map<string, LaneState>;
  readonly dead: Map<string, DeadCount>;
  /** The earliest deadline; a lower bound between two settlings. */
  nextDeadlineMs: number;
  lastCheckpointMs: number;
}

export function createCanary(setup: CanaryConfig): CanaryState {
  return {
    key: setup.key,
    run: null,
    frame: null,
    lastWindow: null,
    history: [],
    finished: [],
    observed: null,
    baseline: null,
    everPassed: false,
    maintenance: null,
    depths: new Map(),
    logGap: false,
    askedBefore: null,
    told: [],
    staleCheckMs: Number.POSITIVE_INFINITY,
    lastSaid: "",
    lastVerdictId: null,
    settledAtMs: 0,
    lastOutcome: "hold",
    lastDegraded: false,
    lastReason: null,
  };
}

/** The state before the first message of a log. */
export function createState(setup: ResolvedConfig): State {
  const state: State = {
    setup,
    sequence: 0,
    nowMs: 0,
    gateways: new Map(),
    canaries: new Map(),
    lanes: new Map(),
    dead: new Map(),
    nextDeadlineMs: Number.POSITIVE_INFINITY,
    lastCheckpointMs: 0,
  };
  for (const gateway of setup.gateways.values()) state.gateways.set(gateway.key, createGateway(gateway));
  for (const canary of setup.canaries.values()) state.canaries.set(canary.key, createCanary(canary));
  for (const lane of setup.lanes.values())
    state.lanes.set(lane.name, { name: lane.name, nextTickMs: 0, degradedTicks: 0, record: null });
  return state;
}

/** The canary's gateways in the fleet file's order. */
export function gatewaysOfCanary(state: State, setup: CanaryConfig): GatewayState[] {
  return setup.gateways.flatMap((key) => state.gateways.get(key) ?? []);
}

/** Is the canary frozen: measured now, or failed and not yet restored? */
export function isCanaryActive(run: Run | null): boolean {
  return run !== null && (run.state === "warming" || run.state === "active" || (run.state === "failed" && !run.over));
}

/** Is the run one that still goes on (pending included)? */
export function isOpen(run: Run | null): boolean {
  return run !== null && (run.state === "pending" || isCanaryActive(run));
}

/** Starts a new row of windows at `originMs`. */
export function newFrame(canary: CanaryState, setup: CanaryConfig, originMs: number): void {
  canary.frame = createFrame(originMs, setup.policy.windowMs);
}
