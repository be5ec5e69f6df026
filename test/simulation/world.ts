/**
 * One simulated world: collectors, a broker, two evaluators, a shim and a controller, from the first message until every run must
 * have ended.
 *
 *   0 ── faults: releases, outages, crashes ──▶ healed ── 9 s of calm ──▶ the Macs stop reporting, one evaluator left ──▶ every
 *   limit has passed
 */
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import type { CallerClass, FleetFile } from "@aviary/shared/contract/fleet.ts";
import { fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import { type Policy, policySchema } from "@aviary/shared/contract/policy.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { createRegistry } from "@aviary/shared/runtime/metrics.ts";
import type { ResolvedConfig } from "../../services/evaluator/src/core/resolved-config.ts";
import { createChoices } from "./choices.ts";
import { type ControllerEnvironment, runFlagger, runRollouts } from "./controller.ts";
import { createDisk } from "./disk.ts";
import { afterOutcome, newTruth, type Stage, schedule } from "./events.ts";
import { FLEET, LANE, startCollectorNode } from "./gateway.ts";
import { count, createHistory, type History } from "./history.ts";
import { brokerClock, createKernel, START_MS } from "./kernel.ts";
import { holderOf } from "./network.ts";
import { createNode, type Node, type NodesOptions } from "./nodes.ts";
import { collectorOf, EVALUATORS, type Plan, SHIM } from "./plan.ts";
import type { Product } from "./product.ts";
import { CANARY_KEY, type ShimNode, type ShimResponse, startShimNode } from "./shim-node.ts";

/** A finished simulation. Times are milliseconds since the start. */
export interface Finished {
  readonly plan: Plan;
  readonly history: History;
  readonly config: ResolvedConfig;
  readonly policy: Policy;
  readonly faultsUntilMs: number;
  readonly silentMs: number;
  readonly endMs: number;
  readonly events: number;
  /** Messages waiting in the lane's queue at the end. */
  readonly demand: number | undefined;
}

const CALM_MS = 9_000;
const SAMPLE_EVERY_MS = 3_900;
const CALL_TIMEOUT_MS = 5_000;

function fleetOf(plan: Plan): FleetFile {
  return fleetFileSchema.parse({
    fleets: { [FLEET]: { gateways: plan.gateways.map(({ name, az, slice }) => ({ name, az, slice, tier: "2TB" })) } },
    canaries: {
      [CANARY_KEY]: {
        fleet: FLEET,
        policy: "default.yaml",
        lanes: plan.hasLane ? [LANE] : [],
        callers: plan.controller === "none" ? {} : { [plan.controller]: { interval: "2s" } },
      },
    },
    lanes: plan.hasLane
      ? { [LANE]: { az: "az-a", slice: "canary", perReplica: 2, stableMax: 2, pollingInterval: "3s", cooldown: "5s" } }
      : {},
  });
}

/** Runs one plan to its end. */
export async function simulate(product: Product, plan: Plan, traced = false): Promise<Finished> {
  const kernel = createKernel();
  const history = createHistory(traced);
  const broker = createMemoryBus({ clock: brokerClock(kernel) });
  const fleet = fleetOf(plan);
  const policy = policySchema.parse(plan.policy);
  const policies = new Map([[CANARY_KEY, policy]]);
  const config = product.resolveConfig(fleet, policies, "policy");
  const options: NodesOptions = { kernel, broker, random: createChoices(plan.seed, 1), history };
  const nodes = new Map<string, Node>();
  /** A signal with listeners is never garbage-collected and retains the whole world, so all of them are aborted at the end. */
  const ended = new AbortController();
  const disks = new Map(plan.gateways.map(({ name }) => [collectorOf(name), createDisk()]));
  const truths = new Map(plan.gateways.map(({ name }) => [name, newTruth()]));

  plan.gateways.forEach((gateway, index) => {
    const name = collectorOf(gateway.name);
    const link = plan.links[name]!;
    const node = createNode(options, name, link, ({ life, clock, bus }) => ({
      close: startCollectorNode({
        product,
        kernel,
        life,
        clock,
        bus,
        disk: disks.get(name)!,
        random: options.random,
        history,
        gateway,
        truth: truths.get(gateway.name)!,
        reportsLane: plan.hasLane && index === 0,
        sendsDoctor: plan.policy.doctorBeforeTraffic === true || plan.seed % 2 === 0,
      }),
    }));
    nodes.set(name, node);
  });
  for (const name of EVALUATORS) {
    const node = createNode(options, name, plan.links[name]!, ({ life, clock, bus, failWith }) => {
      const evaluator = product.startEvaluator({
        bus,
        config,
        clock,
        log: silentLogger,
        metrics: createRegistry(),
        holder: holderOf(life),
        signal: ended.signal,
        onFatal: failWith,
      });
      return { close: async () => evaluator[Symbol.asyncDispose]() };
    });
    nodes.set(name, node);
  }
  let shim: ShimNode | undefined;
  const lane = plan.hasLane ? LANE : undefined;
  const shimNode = createNode(options, SHIM, plan.links[SHIM]!, ({ life, clock, bus, failWith }) => {
    shim = startShimNode({ product, kernel, life, clock, bus, fleet, policies, lane, history, onFatal: failWith });
    return shim;
  });
  nodes.set(SHIM, shimNode);

  const stage: Stage = {
    plan,
    kernel,
    history,
    nodes,
    disks,
    truths,
    publish: (subject, id, data) => {
      void broker.publish({ subject, data, ...(id === undefined ? {} : { id }) }).then(({ stream, sequence, duplicate }) => {
        if (duplicate) return;
        history.order += 1;
        const atMs = START_MS + kernel.nowMs;
        history.stored.push({ order: history.order, atMs, node: "operator", stream, sequence, subject, id, data });
      });
    },
  };
  for (const [index, node] of [...nodes.values()].entries()) kernel.after(index * 37, undefined, () => node.start());
  schedule(stage);

  let controllerLives = true;
  const controllerEnvironment: ControllerEnvironment = {
    history,
    nowMs: () => kernel.nowMs,
    sleep: (ms) => new Promise((resolve) => kernel.after(ms, undefined, () => controllerLives && resolve())),
    request: (caller, path, query, body) => callShim({ caller, path, query, body }),
    log: (text) => history.trace?.push(`${(kernel.nowMs / 1000).toFixed(3).padStart(8)} ${text}`),
    onOutcome: (revision, outcome) => afterOutcome(stage, revision, outcome),
  };
  const callShim = (call: {
    caller: CallerClass;
    path: string;
    query: string;
    body: string;
  }): Promise<ShimResponse | undefined> =>
    new Promise((resolve) => {
      kernel.after(CALL_TIMEOUT_MS, undefined, () => resolve(undefined));
      const { life } = shimNode;
      const asked = shim;
      if (life === undefined || asked === undefined) return;
      kernel.after(3, life, () => {
        void asked.request(call.caller, call.path, call.query, call.body).then((answer) => {
          if (life.alive) kernel.after(2, undefined, () => resolve(answer));
        });
      });
    });
  if (plan.controller === "flagger") void runFlagger(controllerEnvironment, plan.revisions);
  if (plan.controller === "rollouts") void runRollouts(controllerEnvironment, plan.revisions);

  const sample = (): void => {
    kernel.after(SAMPLE_EVERY_MS, undefined, sample);
    const { life } = shimNode;
    const asked = shim;
    if (life === undefined || asked === undefined) return;
    kernel.after(0, life, () => {
      void asked.sample().then((taken) => {
        if (taken !== undefined) history.samples.push(taken);
      });
    });
  };
  kernel.after(SAMPLE_EVERY_MS, undefined, sample);

  await kernel.runUntil(plan.faultsUntilMs);
  for (const node of nodes.values()) node.heal();
  for (const disk of disks.values()) disk.broken = false;
  await kernel.runUntil(plan.faultsUntilMs + CALM_MS);
  const silentMs = kernel.nowMs;
  controllerLives = false;
  for (const { name } of plan.gateways) nodes.get(collectorOf(name))!.kill(Number.POSITIVE_INFINITY, "is switched off");
  nodes.get(EVALUATORS[plan.seed % 2]!)!.kill(Number.POSITIVE_INFINITY, "is switched off");
  const lastMs = silentMs + policy.maxRunMs + 3 * policy.windowMs + 10_000;
  const quietMs = silentMs + 2_000 + policy.windowMs + policy.graceMs;
  while (kernel.nowMs < lastMs && (kernel.nowMs < quietMs || isRunOpen(history))) await kernel.runUntil(kernel.nowMs + 2_000);
  const demand = plan.hasLane ? await broker.durableState("DEMAND", LANE) : undefined;
  count(history, "worlds");
  for (const node of nodes.values()) node.kill(Number.POSITIVE_INFINITY, "has ended");
  ended.abort(new Error("the world has ended"));
  return {
    plan,
    history,
    config,
    policy,
    faultsUntilMs: plan.faultsUntilMs,
    silentMs,
    endMs: kernel.nowMs,
    events: kernel.events,
    demand: demand === undefined ? undefined : demand.pending + demand.ackPending,
  };
}

/** Whether the newest verdict has an open run. */
function isRunOpen({ stored }: History): boolean {
  const last = stored.findLast(({ stream }) => stream === "VERDICTS");
  return last !== undefined && /"state":"(?:pending|warming|active)"|"canary_active":true/.test(last.data);
}
