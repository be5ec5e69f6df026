/** Aviary in simulated time: the real reducer, the real view, gates, routes and control writer of the shim, and `mayPromote`. */
import type { Bus, Outgoing, Stored, StoredMessage } from "@aviary/shared/bus/bus.ts";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { controlMessage } from "@aviary/shared/contract/control.ts";
import { type FleetFile, fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import type { LaneRecord } from "@aviary/shared/contract/lane.ts";
import { EVALUATOR_LEASE_KEY } from "@aviary/shared/contract/lease.ts";
import { type Policy, policySchema } from "@aviary/shared/contract/policy.ts";
import { mayPromote, type PromotionFacts } from "@aviary/shared/contract/promotion.ts";
import { isOpenRun } from "@aviary/shared/contract/run.ts";
import { controlSubject, parseInputSubject, verdictSubject } from "@aviary/shared/contract/subjects.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import type { Effect } from "../../../services/evaluator/src/core/effects.ts";
import { gatewayKey } from "../../../services/evaluator/src/core/resolved-config.ts";
import { createHistory } from "../../simulation/history.ts";
import { brokerClock, type Life, START_MS } from "../../simulation/kernel.ts";
import { CANARY, CANARY_KEY, type ShimNode, startShimNode } from "../../simulation/shim-node.ts";
import { PER_REPLICA, STABLE_MAX } from "../world/lane.ts";
import { FLEET, LANE, packOf } from "../world/mac.ts";
import type { WorldPlan } from "../world/plan.ts";
import type { Advisor, AdvisorContext } from "./advisor.ts";
import { createEvaluator } from "./evaluator.ts";

/** KEDA's polling interval in every world. */
export const POLLING_MS = 30_000;
/** The lease is renewed when a controller's request arrives this long after the last renewal. */
const LEASE_MS = 5_000;

function fleetOf(plan: WorldPlan): FleetFile {
  const interval = `${plan.intervalMs / 1_000}s`;
  return fleetFileSchema.parse({
    fleets: { [FLEET]: { gateways: plan.macs.map(({ name, az, slice }) => ({ name, az, slice, tier: "2TB" })) } },
    canaries: {
      [CANARY_KEY]: {
        fleet: FLEET,
        policy: "default.yaml",
        lanes: [LANE],
        callers: { ...(plan.controller === "none" ? {} : { [plan.controller]: { interval } }), keda: { interval: "30s" } },
      },
    },
    lanes: { [LANE]: { az: "az-a", slice: "canary", perReplica: PER_REPLICA, stableMax: STABLE_MAX, pollingInterval: "30s" } },
  });
}

/** Starts Aviary in a world; `mode` is the policy's. */
export async function startAviary({ product, world }: AdvisorContext, mode: Policy["mode"]): Promise<Advisor> {
  const { kernel, plan } = world;
  const clock = brokerClock(kernel);
  const broker = createMemoryBus({ clock });
  const fleet = fleetOf(plan);
  const policies = new Map([[CANARY_KEY, policySchema.parse({ ...plan.policy, mode })]]);
  const [lanes, leases] = [await broker.bucket("lane"), await broker.bucket("lease")];
  const readInput = product.createInputReader();
  let body: VerdictBody | undefined;
  let promotion: PromotionFacts | null = null;
  let lane: LaneRecord | undefined;
  let lastNarrated = "";
  let brokerUp = true;
  let leaseAtMs = Number.NEGATIVE_INFINITY;
  const seenIds = new Set<string>();

  const narrateVerdict = (next: VerdictBody): void => {
    const text = `${next.run?.state ?? "no run"}: ${next.verdict}${next.run?.promotable ? ", promotable" : ""} ${next.reasons
      .map(({ code }) => code)
      .join(" ")}`;
    if (text !== lastNarrated)
      world.narrate(`verdict  ${text}${next.reasons[0] === undefined ? "" : ` (${next.reasons[0].text})`}`);
    lastNarrated = text;
  };
  const perform = (effect: Effect): void => {
    if (effect.kind === "verdict") {
      ({ body, promotion } = effect.record);
      narrateVerdict(body);
      // The shim reads only the body.
      const record = { ...effect.record, evidence: { closed: null, reference: null } };
      void broker.publish({ subject: verdictSubject(CANARY), data: JSON.stringify(record), id: `${body.id}-${body.at}` });
    }
    if (effect.kind === "lane") {
      lane = effect.record;
      void lanes.put(LANE, JSON.stringify(effect.record));
    }
  };
  const evaluator = createEvaluator({ product, kernel, fleet, policies, perform });

  const storeControl = async ({ subject, data, id }: Outgoing): Promise<Stored> => {
    if (!brokerUp) throw retryable("broker_down", "the broker is down");
    const duplicate = id !== undefined && seenIds.has(id);
    if (id !== undefined) seenIds.add(id);
    if (!duplicate && parseInputSubject(subject) !== undefined) {
      const bytes = Buffer.from(data);
      const message: StoredMessage = { subject, data: bytes, id, sequence: 0, storedAtMs: 0, header: () => undefined };
      evaluator.store([readInput(message) as never]);
    }
    return { stream: "INPUTS", sequence: 0, duplicate };
  };
  const shimBus: Bus = Object.create(broker, { publish: { value: storeControl } });
  const startShim = (): ShimNode => {
    const life: Life = {
      node: "shim",
      number: 1,
      bornMs: kernel.nowMs,
      alive: true,
      paused: false,
      held: [],
      wallOffsetMs: () => 0,
      onExit: [],
    };
    const onFatal = (error: unknown): void => {
      throw error;
    };
    const options = {
      product,
      kernel,
      life,
      clock,
      bus: shimBus,
      fleet,
      policies,
      lane: LANE,
      history: createHistory(false),
      onFatal,
    };
    return startShimNode(options);
  };
  let shim: ShimNode | undefined = startShim();

  world.connect({
    store(signals) {
      if (!brokerUp) return false;
      evaluator.store(
        signals.map((signal) => ({ kind: "signal", signal, gateway: gatewayKey(signal.az, signal.fleet, signal.gateway) })),
      );
      return true;
    },
  });
  world.onFault((fault) => {
    const later = (undo: () => void): void => void kernel.after(fault.forMs, undefined, undo);
    if (fault.kind === "broker-down") {
      brokerUp = false;
      later(() => {
        brokerUp = true;
      });
    }
    if (fault.kind === "evaluator-down") {
      evaluator.stop();
      later(() => evaluator.start());
    }
    if (fault.kind === "shim-down") {
      void shim?.close();
      shim = undefined;
      later(() => {
        shim = startShim();
      });
    }
  });

  return {
    async request(caller, path, query, text) {
      if (evaluator.isUp && brokerUp && kernel.nowMs - leaseAtMs >= LEASE_MS) {
        leaseAtMs = kernel.nowMs;
        await leases.put(EVALUATOR_LEASE_KEY, JSON.stringify({ atMs: leaseAtMs }));
      }
      return shim?.request(caller, path, query, text);
    },
    mayInstall(mac, release) {
      const { az, name: gateway, slice } = mac.plan;
      const atMs = START_MS + kernel.nowMs;
      return mayPromote({
        verdict: body === undefined ? undefined : { run: body.run, valid_until: body.valid_until, promotion },
        target: { az, gateway, slice, installed: packOf(mac.release) },
        hash: packOf(release),
        lanes: lane === undefined ? [] : [{ ...lane, cooldownMs: fleet.lanes[LANE]!.cooldown }],
        requestedAtMs: atMs,
        atMs,
      }).allowed;
    },
    runOpen: () => isOpenRun(body?.run),
    status: () => body,
    operate(content) {
      const at = new Date(START_MS + kernel.nowMs).toISOString();
      const message = controlMessage(CANARY, content, at, at);
      const subject = controlSubject(FLEET, CANARY, content.verb);
      storeControl({ subject, data: JSON.stringify(message), id: message.id }).catch(() =>
        world.narrate("the operator's command is not stored: the broker is down"),
      );
    },
    async close() {
      await shim?.close();
      await broker[Symbol.asyncDispose]();
    },
  };
}
