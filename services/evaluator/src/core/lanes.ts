/**
 * The gated depth of one lane: the true depth, capped at what the allowed replicas can process. A pure function of the facts at a
 * lane tick.
 *
 * Replicas follow KEDA's own arithmetic, ceil(depth / perReplica), so capping the depth at perReplica × n allows n replicas
 * without a second mechanism. Without an open run, only a red disk caps the depth, whatever else is silent or degraded: a lane is
 * limited to measure a canary, never for lack of one. The caps, from weak to strong; the strongest applicable cap wins, and each
 * adds its reason:
 *
 *   a run is active and has not passed        stable max + 1
 *   degraded for two lane ticks               no more than run now
 *   disk yellow (1TB)                         no more than run now
 *   disk yellow (2TB)                         stable lanes as now, canary lanes minimum
 *   disk red                                  the minimum
 *   failed                                    canary lanes 0; stable lanes as now, at most stable max
 *   canary lane outside the AZ under test     the minimum
 *   depth unknown                             current replicas stay, without growth
 */
import type { Reason, ReasonCode } from "@aviary/shared/contract/reasons.ts";
import type { Slice } from "@aviary/shared/contract/run.ts";

export interface LaneTickFacts {
  readonly slice: Slice;
  readonly perReplica: number;
  readonly min: number;
  readonly stableMax: number;
  /** The newest depth; null if none was reported or the last one is stale. */
  readonly depthTrue: number | null;
  /** Replicas of the last record; the minimum before the first one. */
  readonly replicasNow: number;
  /** Whether the canary's run has not ended; a failed run is open until stable's release is restored. */
  readonly runOpen: boolean;
  /** Warming or active, and not passed; pending does not cap. */
  readonly runActive: boolean;
  /** The open run failed. */
  readonly failed: boolean;
  /** Consecutive ticks, including this one, with a degraded verdict. */
  readonly degradedTicks: number;
  /** The first reason of the degraded verdict. */
  readonly degradedBy: ReasonCode;
  readonly disk: "green" | "yellow-1TB" | "yellow-2TB" | "red";
  /** Whether the fleet has a canary gateway in the lane's AZ. */
  readonly azUnderTest: boolean;
}

export interface GatedDepth {
  readonly depth: number;
  readonly replicas: number;
  readonly maxReplicas: number;
  /** 0 if growth is blocked, otherwise 1. */
  readonly allow: 0 | 1;
  readonly reasons: readonly Reason[];
}

/** No lane may request more replicas than this, regardless of its queue: KEDA's own default ceiling. */
export const MAX_REPLICAS = 100;

export function gatedDepth(lane: LaneTickFacts): GatedDepth {
  const reasons: Reason[] = [];
  let cap = MAX_REPLICAS;
  const cut = (to: number, reason: Reason): void => {
    if (to < cap) {
      cap = to;
      reasons.unshift(reason);
    }
  };
  if (lane.runOpen) capDuringRun(lane, cut);
  if (lane.disk === "red") cut(lane.min, { code: "disk_red", text: "a disk is red: scale to the minimum" });

  const wanted = lane.depthTrue === null ? lane.replicasNow : Math.ceil(lane.depthTrue / lane.perReplica);
  const floor = Math.min(lane.min, cap);
  const replicas = Math.max(floor, Math.min(wanted, cap));
  const depth = lane.depthTrue === null ? replicas * lane.perReplica : Math.min(lane.depthTrue, cap * lane.perReplica);
  return {
    depth,
    replicas,
    maxReplicas: cap,
    allow: cap > Math.max(replicas, lane.replicasNow) ? 1 : 0,
    reasons: reasons.slice(0, 5),
  };
}

function capDuringRun(lane: LaneTickFacts, cut: (to: number, reason: Reason) => void): void {
  if (lane.runActive) {
    cut(lane.stableMax + 1, {
      code: "warming",
      text: `capped at ${lane.stableMax + 1} replicas (stableMax + 1) until the run passes`,
    });
  }
  if (lane.degradedTicks >= 2)
    cut(lane.replicasNow, { code: lane.degradedBy, text: `degraded for ${lane.degradedTicks} ticks: no growth` });
  if (lane.disk !== "green" && lane.disk !== "red") {
    cut(lane.replicasNow, { code: "disk_yellow", text: "a disk is yellow: no growth" });
    if (lane.disk === "yellow-2TB" && lane.slice === "canary")
      cut(lane.min, { code: "disk_yellow", text: "a 2TB disk is yellow: stable lanes only" });
  }
  if (lane.slice === "canary" && !lane.azUnderTest)
    cut(lane.min, { code: "no_run", text: "the lane's AZ has no canary gateway: scale to the minimum" });
  if (lane.failed && lane.slice === "canary") cut(0, { code: "latched", text: "the run failed: scale the canary lane to 0" });
  if (lane.failed && lane.slice === "stable")
    cut(Math.min(lane.replicasNow, lane.stableMax), { code: "latched", text: "the run failed: no growth" });
  if (lane.depthTrue === null) cut(lane.replicasNow, { code: "stale", text: "the lane's depth is unknown: no growth" });
}
