/** A running world: Macs that serve and report, a balancer that applies the real weight, and the faults as they start and end. */
import type { Signal } from "@aviary/shared/contract/signal.ts";
import { type Kernel, START_MS } from "../../simulation/kernel.ts";
import type { Product } from "../../simulation/product.ts";
import { describeFault, type InjectedFault } from "./faults.ts";
import { createLane, type Lane } from "./lane.ts";
import { collect, createMac, isUp, type Mac, startCollector } from "./mac.ts";
import { injectMacFault } from "./mac-faults.ts";
import type { WorldPlan } from "./plan.ts";
import { createRecord, type WorldRecord } from "./samples.ts";
import { drawTraffic, type Environment } from "./traffic.ts";

/** What receives the signals. */
export interface Receiver {
  /** Stores signals in order; returns false while it is unreachable. */
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
  /** Sets the receiver of all further signals. */
  connect(receiver: Receiver): void;
  /** Repairs a part of a Mac, as the on-call engineer does. */
  remedy(mac: Mac, what: "disk" | "clock" | "collector"): void;
  readonly controllerUp: boolean;
  /** Calls the listener whenever a fault starts. */
  onFault(listener: (fault: InjectedFault) => void): void;
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
  const listeners: ((fault: InjectedFault) => void)[] = [];
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
      record.faultsEndMs = Math.max(record.faultsEndMs, kernel.nowMs);
    },
    onFault: (listener) => void listeners.push(listener),
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
    for (const fault of plan.faults) {
      if (fault.kind !== "incident") continue;
      const overlapMs = Math.min(kernel.nowMs, fault.atMs + fault.forMs) - Math.max(kernel.nowMs - plan.periodMs, fault.atMs);
      if (overlapMs <= 0) continue;
      errorRate += (fault.errorRate * overlapMs) / plan.periodMs;
      if (overlapMs > plan.periodMs / 2) slowFactor *= fault.slowFactor;
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
      // The last stable Mac reports the queue and, if no controller does, the balancer's weight.
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
  const begin = (fault: InjectedFault): void => {
    world.narrate(`${describeFault(fault)}, for ${(fault.forMs / 60_000).toFixed(1)} min`);
    const endMs = fault.atMs + fault.forMs;
    if (fault.kind === "controller-down") controllerDownUntilMs = Math.max(controllerDownUntilMs, endMs);
    if ("mac" in fault) injectMacFault(world, macs.find(({ plan: { name } }) => name === fault.mac)!, fault);
    for (const listener of listeners) listener(fault);
    kernel.after(fault.forMs, undefined, () => {
      record.faultsEndMs = Math.max(record.faultsEndMs, kernel.nowMs);
    });
  };

  for (const mac of macs) startCollector(mac, START_MS);
  every(world, plan.periodMs, tick);
  for (const { atMs, jobs } of plan.demand)
    kernel.after(atMs, undefined, () => Object.assign(lane, { jobs, demandSinceMs: kernel.nowMs }));
  for (const fault of plan.faults) kernel.after(fault.atMs, undefined, () => begin(fault));
  return world;
}
