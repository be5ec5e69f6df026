/** Runs one world with one advisor, from its plan to its record. */
import { createKernel, START_MS } from "../simulation/kernel.ts";
import type { Product } from "../simulation/product.ts";
import { createKeda } from "./actors/keda.ts";
import { startOnCall } from "./actors/on-call.ts";
import { createPromoter } from "./actors/promoter.ts";
import { startRollout } from "./actors/rollout.ts";
import type { Advisor, AdvisorName } from "./advisors/advisor.ts";
import { POLLING_MS, startAviary } from "./advisors/aviary.ts";
import { CONTROLLER_OF, PLAIN_RULES, plainAdvisor } from "./advisors/plain.ts";
import { MAX_REPLICAS, PER_REPLICA } from "./world/lane.ts";
import { isUp, LANE, type Mac, usedRatio } from "./world/mac.ts";
import type { WorldPlan } from "./world/plan.ts";
import type { WorldRecord } from "./world/samples.ts";
import { createWorld, every, type World } from "./world/world.ts";

export interface FinishedWorld {
  /** The plan as run: a rule that has its own controller replaces the plan's. */
  readonly plan: WorldPlan;
  readonly advisor: AdvisorName;
  readonly record: WorldRecord;
}

/** Runs one world to its end. */
export async function runWorld(product: Product, drawn: WorldPlan, name: AdvisorName): Promise<FinishedWorld> {
  const controller = drawn.controller === "none" ? "none" : (CONTROLLER_OF[name] ?? drawn.controller);
  const plan: WorldPlan = { ...drawn, controller };
  const kernel = createKernel();
  const world = createWorld(plan, kernel, product);
  const advisor =
    name === "aviary" || name === "literal"
      ? await startAviary({ product, world }, name === "literal" ? "literal" : "two-key")
      : plainAdvisor(world, PLAIN_RULES[name](world));
  const promoter = createPromoter(world, advisor);
  const rollout = startRollout(world, advisor, promoter);
  startLane(world, advisor);
  announceMaintenance(world, advisor);
  startOnCall({ world, advisor, current: rollout.current, resumeRollout: rollout.resume, endRollout: rollout.end });
  await kernel.runUntil(plan.endMs);
  await advisor.close();
  return { plan, advisor: name, record: world.record };
}

/** Disk usage from which the lane is limited to its minimum: the lowest red mark of the tiers. */
const RED_DISK = 0.88;

/** KEDA scales the lane; each polling interval is recorded. */
function startLane(world: World, advisor: Advisor): void {
  const { lane, record, plan } = world;
  const keda = createKeda({
    read: () => advisor.request("keda", "/keda/metrics", `lane=${LANE}`, ""),
    perReplica: PER_REPLICA,
    maxReplicas: MAX_REPLICAS,
    now: world.nowMs,
  });
  const step = async (): Promise<void> => {
    await keda.tick();
    lane.replicas = keda.replicas;
    const reporter = world.macs.at(-1)!;
    const isDiskRed = world.macs.some((mac) => usedRatio(mac, world.nowMs()) >= RED_DISK);
    record.lane.push({
      atMs: world.nowMs(),
      jobs: lane.jobs,
      replicas: lane.replicas,
      demandSinceMs: lane.demandSinceMs,
      isReported: isReporting(reporter, world.nowMs()) && !isDiskRed,
      runOpen: advisor.runOpen(),
    });
  };
  // KEDA's schedule is independent of the Macs'.
  every(world, POLLING_MS, () => void step(), 3_300 + (plan.seed % 7) * 1_000);
}

/** Signals of a clock that is further off are rejected, and the Mac is reported. */
const CLOCK_TOLERANCE_MS = 5_000;

/** Whether the depth of the queue reaches the evaluator. */
function isReporting(mac: Mac, nowMs: number): boolean {
  const hasClock = Math.abs(mac.clockOffsetMs) <= CLOCK_TOLERANCE_MS;
  return mac.collectorUp && !mac.isCut && hasClock && isUp(mac, nowMs);
}

/** Maintenance of a Mac is announced with the runbook's command before it begins. */
function announceMaintenance(world: World, advisor: Advisor): void {
  world.onFault((fault) => {
    if (fault.kind !== "maintenance") return;
    const until = new Date(START_MS + fault.atMs + fault.forMs).toISOString();
    const work = { gateway: fault.mac, until, mute: false, reason: "disk swap" };
    advisor.operate({ verb: "maintenance", caller: "operator", on: true, ...work });
  });
}
