/** A lane's tick: gathers the facts, calls `gatedDepth`, and emits the changes. */

import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import type { LaneRecord } from "@aviary/shared/contract/lane.ts";
import { canaryKey } from "@aviary/shared/contract/subjects.ts";
import type { Effect } from "./effects.ts";
import { factStaleAtMs, isCurrent } from "./freshness.ts";
import { gatedDepth, type LaneTickFacts } from "./lanes.ts";
import type { CanaryConfig, LaneConfig } from "./resolved-config.ts";
import { type CanaryState, gatewaysOfCanary, isOpen, type LaneState, type State } from "./state.ts";

/**
 * Recomputes one lane.
 * @param tick true at the lane's own interval, which counts degraded ticks; false if a verdict changed in between
 */
export function tickLane(state: State, lane: LaneState, atMs: number, tick: boolean, effects: Effect[]): void {
  const config = state.config.lanes.get(lane.name)!;
  const canary = state.canaries.get(config.canary)!;
  const canaryConfig = state.config.canaries.get(config.canary)!;
  if (tick) lane.degradedTicks = canary.lastDegraded ? lane.degradedTicks + 1 : 0;
  const facts = laneFactsOf(state, lane, config, atMs);
  const gated = gatedDepth(facts);
  const before = lane.record;
  const record: LaneRecord = {
    lane: lane.name,
    canary: canaryKey(canaryConfig.ref),
    at: isoTime(atMs),
    depth_true: canary.depths.get(lane.name)?.depth ?? 0,
    depth: gated.depth,
    replicas: gated.replicas,
    max_replicas: gated.maxReplicas,
    allow: gated.allow,
    degraded_ticks: lane.degradedTicks,
    changed_at: before !== null && before.replicas !== gated.replicas ? isoTime(atMs) : (before?.changed_at ?? null),
    reasons: [...gated.reasons],
  };
  const same = before !== null && JSON.stringify({ ...before, at: "" }) === JSON.stringify({ ...record, at: "" });
  if (same && !tick) return;
  lane.record = record;
  effects.push({ kind: "lane", record });
  // Also when nothing changed: a tick repairs the queue that an earlier change left short, or that another client of the broker has changed.
  effects.push({ kind: "demand", lane: lane.name, depth: record.depth });
}

function laneFactsOf(state: State, lane: LaneState, config: LaneConfig, atMs: number): LaneTickFacts {
  const canary = state.canaries.get(config.canary)!;
  const canaryConfig = state.config.canaries.get(config.canary)!;
  const gateways = gatewaysOfCanary(state, canaryConfig);
  const { run } = canary;
  const depth = canary.depths.get(lane.name);
  const known = depth !== undefined && atMs < factStaleAtMs("queue", depth, canaryConfig.policy);
  return {
    slice: config.slice,
    perReplica: config.perReplica,
    min: config.min,
    stableMax: config.stableMax,
    depthTrue: known ? depth.depth : null,
    replicasNow: lane.record?.replicas ?? config.min,
    runOpen: isOpen(run),
    runActive: run !== null && (run.state === "warming" || run.state === "active"),
    failed: run?.latch != null,
    degradedTicks: lane.degradedTicks,
    degradedBy: canary.lastReason ?? "stale",
    disk: worstDisk(state, canary, canaryConfig, atMs),
    azUnderTest: gateways.some((gateway) => gateway.slice === "canary" && gateway.az === config.az),
  };
}

/** The worst level of the fleet's disks; one whose reading is too old is unknown, and an unknown disk cuts nothing. */
function worstDisk(state: State, { disks }: CanaryState, config: CanaryConfig, atMs: number): LaneTickFacts["disk"] {
  let worst: LaneTickFacts["disk"] = "green";
  for (const gateway of gatewaysOfCanary(state, config)) {
    const level = isCurrent(gateway, "disk", config.policy, atMs) ? disks.get(gateway.key)?.level : undefined;
    if (level === "red") return "red";
    if (level === "yellow") {
      if (state.config.gateways.get(gateway.key)!.tier === "2TB") worst = "yellow-2TB";
      else if (worst === "green") worst = "yellow-1TB";
    }
  }
  return worst;
}
