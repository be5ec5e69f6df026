/**
 * The laws: what must never happen in any world, stated in terms of users, releases and people. They depend on the contract's
 * guarantees and not on their implementation.
 */
import type { FinishedWorld } from "../run-world.ts";
import { PER_REPLICA } from "../world/lane.ts";
import { plannedFaultsEndMs } from "../world/plan.ts";
import { isBad, isHealthy, type ReleasePlan } from "../world/releases.ts";
import { knowledgeOf } from "./knowledge.ts";

export type Law =
  | "bad-promoted"
  | "bad-widened"
  | "unserved-promoted"
  | "unproven-promoted"
  | "unproven-widened"
  | "advanced-blind"
  | "unpassed-on-stable"
  | "healthy-late"
  | "lane-starved"
  | "stuck"
  | "unnamed";

export interface Violation {
  readonly law: Law;
  readonly atMs: number;
  readonly text: string;
}

/**
 * Requests without a failure that rule out twice the ceiling (1%), and ten times the ceiling (5%), at 95%: ln 0.05 / ln 0.99 and
 * ln 0.05 / ln 0.95. No judge can show it with fewer.
 */
const PROMOTION_REQUESTS = 298;
const STEP_REQUESTS = 58;
/** Windows without a signal after which a Mac counts as silent. */
const SILENT_WINDOWS = 2;
/** A healthy release passes within this many windows, once the first step has had this many requests without a fault. */
const HEALTHY_WITHIN_WINDOWS = 16;
const HEALTHY_REQUESTS = 1_500;
/** The maximum delay of a lane behind its demand: signals, the lane's tick, and KEDA's polling. */
const LANE_WITHIN_MS = 240_000;
/** A condition without an entry in the runbook must end by itself within this many windows after the last fault. */
const UNNAMED_WINDOWS = 14;

/** All violations of one finished world, in order of time. */
export function violationsOf(world: FinishedWorld): Violation[] {
  const { plan } = world;
  const found = [
    ...plan.releases.flatMap((release) => (isBad(release) ? badRelease(world, release) : [])),
    ...plan.releases.flatMap((release) => unserved(world, release)),
    ...plan.releases.flatMap((release) => unproven(world, release)),
    ...plan.releases.flatMap((release) => unpassed(world, release)),
    ...advancedBlind(world),
    ...plan.releases.flatMap((release, index) => (isHealthy(release) ? healthyRelease(world, release, index) : [])),
    ...starvedLane(world),
    ...stuck(world),
    ...unnamed(world),
  ];
  const spoiled = spoiledMs(world);
  return found.filter(({ law, atMs }) => !NEEDS_SOUND_STABLE.has(law) || atMs < spoiled).sort((a, b) => a.atMs - b.atMs);
}

/** Laws that do not apply once stable is bad, because a bad release or its full disks are then everywhere. */
const NEEDS_SOUND_STABLE: ReadonlySet<Law> = new Set(["healthy-late", "lane-starved", "stuck", "unnamed"]);

/** When a bad or doubtful release reached stable; infinite if none did. */
function spoiledMs({ record }: FinishedWorld): number {
  const bad = record.installations.find(
    ({ slice, release }) => slice === "stable" && release !== undefined && !isHealthy(release),
  );
  return bad?.atMs ?? Number.POSITIVE_INFINITY;
}

const minutes = (ms: number): string => `${(ms / 60_000).toFixed(1)} min`;

/** A bad release is neither widened nor promoted once two windows have revealed it and the second is readable. */
function badRelease({ plan, record }: FinishedWorld, release: ReleasePlan): Violation[] {
  const { provenAtMs } = knowledgeOf(record.traffic, release, plan.windowMs);
  const readableMs = provenAtMs + plan.windowMs + 10_000 + 2 * plan.intervalMs;
  return record.steps
    .filter((step) => step.release === release && step.atMs > readableMs && (step.what === "promoted" || step.what === "widened"))
    .map(({ atMs, what, weight }) => ({
      law: what === "promoted" ? "bad-promoted" : "bad-widened",
      atMs,
      text: `${release.name} (${release.fault}, ${release.size}) was ${what === "promoted" ? "promoted" : `widened to ${weight}%`} at ${minutes(atMs)}, although two windows had revealed it at ${minutes(provenAtMs)}`,
    }));
}

/** No release is promoted that has never served a user of the canary slice. */
function unserved({ record }: FinishedWorld, release: ReleasePlan): Violation[] {
  const promoted = record.steps.find((step) => step.release === release && step.what === "promoted");
  if (promoted === undefined) return [];
  const served = record.traffic.some(
    (sample) => sample.slice === "canary" && sample.release === release && sample.requests > 0 && sample.atMs <= promoted.atMs,
  );
  if (served) return [];
  const text = `${release.name} was promoted at ${minutes(promoted.atMs)}, and no canary Mac had served a request with it`;
  return [{ law: "unserved-promoted", atMs: promoted.atMs, text }];
}

/** No release is promoted, or widened a second time, with too few requests to show that it meets its ceiling. */
function unproven({ plan, record }: FinishedWorld, release: ReleasePlan): Violation[] {
  const steps = record.steps.filter((step) => step.release === release);
  return steps.flatMap(({ what, atMs, weight }): Violation[] => {
    const isSecond = what === "widened" && weight > plan.steps[0]!;
    const needed = what === "promoted" ? PROMOTION_REQUESTS : isSecond ? STEP_REQUESTS : 0;
    const served = record.traffic
      .filter((sample) => sample.slice === "canary" && sample.release === release && sample.atMs <= atMs + plan.periodMs)
      .reduce((sum, { requests }) => sum + requests, 0);
    if (served === 0 || served >= needed) return [];
    const law = what === "promoted" ? "unproven-promoted" : "unproven-widened";
    const did = what === "promoted" ? "promoted" : `widened to ${weight}%`;
    return [{ law, atMs, text: `${release.name} was ${did} at ${minutes(atMs)} after ${served} requests; ${needed} are needed` }];
  });
}

/** A rollout does not advance while a canary Mac is silent. */
function advancedBlind({ plan, record }: FinishedWorld): Violation[] {
  const isCanary = (name: string): boolean => plan.macs.some((mac) => mac.name === name && mac.slice === "canary");
  return plan.faults.flatMap((fault): Violation[] => {
    if ((fault.kind !== "cut" && fault.kind !== "collector-down") || !isCanary(fault.mac)) return [];
    const silentMs = fault.atMs + SILENT_WINDOWS * plan.windowMs;
    const endMs = fault.atMs + fault.forMs;
    return record.steps
      .filter(({ what, atMs }) => (what === "widened" || what === "promoted") && atMs > silentMs && atMs < endMs)
      .map(({ what, atMs, release }) => ({
        law: "advanced-blind" as const,
        atMs,
        text: `${release.name} was ${what} at ${minutes(atMs)}, and ${fault.mac} had been silent since ${minutes(fault.atMs)}`,
      }));
  });
}

/** A release reaches a stable Mac only after its rollout succeeded. */
function unpassed({ record }: FinishedWorld, release: ReleasePlan): Violation[] {
  const installed = record.installations.find((each) => each.slice === "stable" && each.release === release);
  if (installed === undefined) return [];
  const promoted = record.steps.some(
    (step) => step.release === release && step.what === "promoted" && step.atMs <= installed.atMs,
  );
  if (promoted) return [];
  const text = `${release.name} was installed on a stable Mac at ${minutes(installed.atMs)} before its rollout succeeded`;
  return [{ law: "unpassed-on-stable", atMs: installed.atMs, text }];
}

/** When the last fault that can affect a rollout has ended. */
function calmFromMs({ plan, record }: FinishedWorld): number {
  return Math.max(plannedFaultsEndMs(plan), record.faultsEndMs);
}

/** A healthy release that is not rolled back passes within a stated time after the last fault. */
function healthyRelease(world: FinishedWorld, release: ReleasePlan, index: number): Violation[] {
  const { plan, record } = world;
  const steps = record.steps.filter((step) => step.release === release);
  if (steps.some(({ what }) => what === "promoted" || what === "rolled-back")) return [];
  const untilMs = plan.releases[index + 1]?.atMs ?? plan.endMs;
  const sinceMs = Math.max(calmFromMs(world), release.atMs + Math.max(0, release.installAfterMs));
  const dueMs = dueAfterMs(world, sinceMs);
  if (dueMs >= untilMs) return [];
  const text = `${release.name} is healthy and was not promoted by ${minutes(dueMs)}, ${minutes(dueMs - sinceMs)} after the last fault; its last step: ${steps.at(-1)?.what ?? "none"}`;
  return [{ law: "healthy-late", atMs: dueMs, text }];
}

/** When a rollout counts as late. It is based on the first step's traffic, so a rollout that is kept at weight 0 is late too. */
function dueAfterMs({ plan }: FinishedWorld, sinceMs: number): number {
  const servedMs = sinceMs + (HEALTHY_REQUESTS * 100 * plan.windowMs) / (plan.requestsPerWindow * plan.steps[0]!);
  return servedMs + HEALTHY_WITHIN_WINDOWS * plan.windowMs;
}

/** No lane has fewer replicas than its demand requires while no run is open. KEDA tolerates a tenth. */
function starvedLane({ plan, record }: FinishedWorld): Violation[] {
  const outages = plan.faults.filter(({ kind }) => ["evaluator-down", "broker-down", "shim-down"].includes(kind));
  let fineMs = 0;
  for (const view of record.lane) {
    const isOut = outages.some(({ atMs, forMs }) => view.atMs >= atMs && view.atMs <= atMs + forMs);
    if (view.runOpen || !view.isReported || isOut || view.jobs <= 1.1 * PER_REPLICA * view.replicas) fineMs = view.atMs;
    const sinceMs = Math.max(fineMs, view.demandSinceMs);
    if (view.atMs - sinceMs <= LANE_WITHIN_MS) continue;
    const text = `the lane had ${view.replicas} replicas for ${view.jobs} jobs since ${minutes(sinceMs)}, while no run was open`;
    return [{ law: "lane-starved", atMs: view.atMs, text }];
  }
  return [];
}

/**
 * Every rollout ends. If the last release of a world is bad, it is rolled back by the end, provided that its traffic allows a
 * decision.
 */
function stuck(world: FinishedWorld): Violation[] {
  const { plan, record } = world;
  const release = plan.releases.at(-1)!;
  if (record.steps.some((step) => step.release === release && (step.what === "promoted" || step.what === "rolled-back")))
    return [];
  const sinceMs = Math.max(calmFromMs(world), release.atMs);
  const dueMs = dueAfterMs(world, sinceMs);
  if (!isBad(release) || dueMs > plan.endMs) return [];
  const last = record.steps.findLast((step) => step.release === release);
  const text = `${release.name} (${release.fault}, ${release.size}) was neither promoted nor rolled back by the end; its last step: ${last?.what ?? "none"} at ${minutes(last?.atMs ?? 0)}`;
  return [{ law: "stuck", atMs: plan.endMs, text }];
}

/** The runbook names every condition that lasts. */
function unnamed(world: FinishedWorld): Violation[] {
  const calmMs = calmFromMs(world);
  return world.record.conditions
    .filter(({ isNamed, state }) => !isNamed && state !== "pending")
    .filter(({ sinceMs, untilMs }) => untilMs - Math.max(sinceMs, calmMs) > UNNAMED_WINDOWS * world.plan.windowMs)
    .map(({ sinceMs, untilMs, state, code, text }) => ({
      law: "unnamed" as const,
      atMs: untilMs,
      text: `${state}, ${code} lasted from ${minutes(sinceMs)} to ${minutes(untilMs)} and the runbook does not name it (${text})`,
    }));
}
