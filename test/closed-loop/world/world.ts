/** The world in motion: Macs that serve and report, a balancer that follows the real weight, and troubles that come and go. */
import type { Signal } from "@aviary/shared/contract/signal.ts";
import { type Kernel, START_MS } from "../../simulation/kernel.ts";
import type { Product } from "../../simulation/product.ts";
import { createLane, type Lane } from "./lane.ts";
import { collect, createMac, isUp, type Mac, startCollector } from "./mac.ts";
import { troubleMac } from "./mac-troubles.ts";
import type { WorldPlan } from "./plan.ts";
import { createRecord, type WorldRecord } from "./samples.ts";
import { drawTraffic, type Environment } from "./traffic.ts";
import { type Trouble, troubleText } from "./troubles.ts";

/** What receives the signals. */
export interface Receiver {
  /** Stores signals in order; false while it cannot be reached. */
  store(signals: readonly Signal[]): boolean;
}

export interface World {
  readonly plan: WorldPlan;
  readonly kernel: Kernel;
  readonly record: WorldRecord;
  readonly macs: readonly Mac[];
  readonly lane: Lane;
  /** The canary's weight at the balancer, percent. */
  readonly weight: number;
  nowMs(): number;
  setWeight(percent: number): void;
  /** Adds one line to the story. */
  narrate(text: string): void;
  /** Signals go here from now on. */
  connect(receiver: Receiver): void;
  /** The on-call engineer remedies what is wrong with a Mac. */
  remedy(mac: Mac, what: "disk" | "clock" | "collector"): void;
  readonly controllerUp: boolean;
  /** Calls back when a trouble begins. */
  onTrouble(listener: (trouble: Trouble) => void): void;
}

/** Calls `step` every `everyMs`, from `everyMs` on, until the end of the world. */
export function every(world: Pick<World, "kernel" | "plan">, everyMs: number, step: (index: number) => void, phaseMs = 0): void {
  const { kernel, plan } = world;
  const run = (index: number): void => {
    step(index);
    if (kernel.nowMs + everyMs <= plan.endMs) kernel.after(everyMs, undefined, () => run(index + 1));
  };
  kernel.after(everyMs + phaseMs, undefined, () => run(0));
}

export function createWorld(plan: WorldPlan, kernel: Kernel, product: Product): World {
  const record = createRecord();
  const macs = plan.macs.map(createMac);
  const lane = createLane();
  const listeners: ((trouble: Trouble) => void)[] = [];
  const balancer = { weight: plan.controller === "none" ? plan.steps[0]! : 0, sinceMs: 0, weightMs: 0, tickMs: 0 };
  let receiver: Receiver | undefined;
  let controllerDownUntilMs = 0;

  const world: World = {
    plan,
    kernel,
    record,
    macs,
    lane,
    get weight() {
      return balancer.weight;
    },
    get controllerUp() {
      return kernel.nowMs >= controllerDownUntilMs;
    },
    nowMs: () => kernel.nowMs,
    setWeight(percent) {
      balancer.weightMs += balancer.weight * (kernel.nowMs - balancer.sinceMs);
      balancer.sinceMs = kernel.nowMs;
      balancer.weight = percent;
    },
    narrate(text) {
      const minutes = (kernel.nowMs / 60_000).toFixed(1).padStart(6);
      record.story.push(`${minutes} min  ${text}`);
    },
    connect(to) {
      receiver = to;
    },
    remedy(mac, what) {
      if (what === "disk") Object.assign(mac, { foreignDisk: 0, diskSinceMs: kernel.nowMs });
      if (what === "clock") mac.clockOffsetMs = 0;
      if (what === "collector" && !mac.collectorUp) startCollector(mac, START_MS + kernel.nowMs + mac.clockOffsetMs);
      record.troubleEndMs = Math.max(record.troubleEndMs, kernel.nowMs);
    },
    onTrouble: (listener) => void listeners.push(listener),
  };

  /** The mean share of the canary since the last tick. */
  const meanShare = (): number => {
    world.setWeight(balancer.weight);
    const share = balancer.weightMs / Math.max(1, kernel.nowMs - balancer.tickMs) / 100;
    Object.assign(balancer, { weightMs: 0, tickMs: kernel.nowMs });
    return share;
  };
  const environment = (): Environment => {
    let errorRate = 0;
    let slowFactor = 1;
    for (const trouble of plan.troubles) {
      if (trouble.kind !== "incident") continue;
      const overlapMs =
        Math.min(kernel.nowMs, trouble.atMs + trouble.forMs) - Math.max(kernel.nowMs - plan.periodMs, trouble.atMs);
      if (overlapMs <= 0) continue;
      errorRate += (trouble.errorRate * overlapMs) / plan.periodMs;
      if (overlapMs > plan.periodMs / 2) slowFactor *= trouble.slowFactor;
    }
    return { errorRate, slowFactor };
  };
  const deliver = (mac: Mac, signals: readonly Signal[]): void => {
    mac.spool.push(...signals);
    if (!mac.isCut && mac.spool.length > 0 && receiver?.store(mac.spool)) mac.spool = [];
  };
  const tick = (index: number): void => {
    const period = { index, endMs: kernel.nowMs, forMs: plan.periodMs, canaryShare: meanShare(), environment: environment() };
    for (const { mac, sample, latencies } of drawTraffic(plan, macs, period)) {
      record.traffic.push(sample);
      if (receiver === undefined) continue;
      const kept = mac.logRotated ? 0.5 : 1;
      const up = isUp(mac, kernel.nowMs);
      const counted = {
        requests: up ? Math.floor(sample.requests * kept) : 0,
        errors: up ? Math.floor(sample.errors * kept) : 0,
        unread: up ? sample.requests - Math.floor(sample.requests * kept) : 0,
        latency: up ? latencies.wire : { scale: 6, zero: 0, offset: 0, counts: [] },
      };
      // The last stable Mac reports the queue and, where no controller does, the balancer's weight.
      const isReporter = mac === macs.at(-1);
      const signals = collect(mac, {
        product,
        nowMs: kernel.nowMs,
        wallMs: START_MS + kernel.nowMs,
        periodMs: plan.periodMs,
        counted,
        isSlowTick: index % 2 === 0,
        jobs: isReporter ? lane.jobs : undefined,
        weight: isReporter && plan.controller === "none" ? balancer.weight : undefined,
      });
      deliver(mac, signals);
    }
  };
  const begin = (trouble: Trouble): void => {
    world.narrate(`${troubleText(trouble)}, for ${(trouble.forMs / 60_000).toFixed(1)} min`);
    const endMs = trouble.atMs + trouble.forMs;
    if (trouble.kind === "controller-down") controllerDownUntilMs = Math.max(controllerDownUntilMs, endMs);
    if ("mac" in trouble) troubleMac(world, macs.find(({ plan: { name } }) => name === trouble.mac)!, trouble);
    for (const listener of listeners) listener(trouble);
    kernel.after(trouble.forMs, undefined, () => {
      record.troubleEndMs = Math.max(record.troubleEndMs, kernel.nowMs);
    });
  };

  for (const mac of macs) startCollector(mac, START_MS);
  every(world, plan.periodMs, tick);
  for (const { atMs, jobs } of plan.demand)
    kernel.after(atMs, undefined, () => Object.assign(lane, { jobs, demandSinceMs: kernel.nowMs }));
  for (const trouble of plan.troubles) kernel.after(trouble.atMs, undefined, () => begin(trouble));
  return world;
}
