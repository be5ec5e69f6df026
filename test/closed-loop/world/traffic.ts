/** True traffic: the requests of each Mac, and how many of them fail or are slow. */
import { type Random, seededRandom } from "@aviary/shared/testing/random.ts";
import { binomial } from "../../../tools/judge-report/distributions.ts";
import { type DrawnLatencies, drawLatencies, SLOW_MS, slowerThan } from "./latencies.ts";
import { isUp, type Mac, uptimeMs } from "./mac.ts";
import type { WorldPlan } from "./plan.ts";
import { type Behavior, behaviorOf } from "./releases.ts";
import type { TrafficSample } from "./samples.ts";

export const MAX_P99_MS = 220;

/** The environment's effect on every Mac during one period. */
export interface Environment {
  readonly errorRate: number;
  readonly slowFactor: number;
}

export interface Period {
  readonly index: number;
  readonly endMs: number;
  readonly forMs: number;
  /** Share of the traffic that is routed to the canary slice, 0 to 1. */
  readonly canaryShare: number;
  readonly environment: Environment;
}

export interface MacTraffic {
  readonly mac: Mac;
  readonly sample: TrafficSample;
  readonly latencies: DrawnLatencies;
}

/** Points in a period at which a Mac's behavior is averaged. */
const POINTS = 4;

/** The traffic of every Mac in one period. Equal seeds and shares produce equal numbers under every advisor. */
export function drawTraffic(plan: WorldPlan, macs: readonly Mac[], period: Period): MacTraffic[] {
  const total = Math.round((plan.requestsPerWindow * period.forMs) / plan.windowMs);
  return macs.map((mac) => {
    const peers = macs.filter((other) => other.plan.slice === mac.plan.slice);
    const serving = peers.filter((peer) => isUp(peer, period.endMs));
    const share = mac.plan.slice === "canary" ? period.canaryShare : 1 - period.canaryShare;
    const random = seededRandom(plan.seed, 1_000 + mac.index, period.index);
    const isServing = serving.includes(mac) || serving.length === 0;
    const n = isServing ? binomial(random, total, share / (serving.length || peers.length)) : 0;
    return drawMac(plan, mac, n, { period, random, isOut: serving.length === 0 });
  });
}

interface Draw {
  readonly period: Period;
  readonly random: Random;
  /** Every request fails while no Mac of the slice is up. */
  readonly isOut: boolean;
}

function drawMac(plan: WorldPlan, mac: Mac, n: number, { period, random, isOut }: Draw): MacTraffic {
  const { environment, endMs, forMs } = period;
  const behavior = averageBehavior(plan, mac, period);
  const failing = isOut ? 1 : Math.min(1, behavior.errorRate + environment.errorRate);
  const errors = binomial(random, n, failing);
  const latencies = drawLatencies(random, n, behavior.slowFactor * environment.slowFactor, MAX_P99_MS);
  const sample: TrafficSample = {
    atMs: endMs,
    forMs,
    slice: mac.plan.slice,
    release: mac.release,
    requests: n,
    errors,
    overCeiling: latencies.overCeiling,
    errorRate: behavior.errorRate,
    slowShare: slowerThan(SLOW_MS, behavior.slowFactor),
  };
  return { mac, sample, latencies };
}

function averageBehavior(plan: WorldPlan, mac: Mac, { endMs, forMs }: Period): Behavior {
  let errorRate = 0;
  let slowFactor = 1;
  for (let point = 0; point < POINTS; point++) {
    const atMs = endMs - forMs + ((point + 0.5) * forMs) / POINTS;
    const ageMs = Math.max(0, atMs - mac.installedAtMs);
    const installation = { az: mac.plan.az, ageMs, uptimeMs: Math.max(0, uptimeMs(mac, atMs)), diskMs: atMs - mac.diskSinceMs };
    const at = behaviorOf(mac.release, installation, plan.baseRate);
    errorRate += at.errorRate / POINTS;
    slowFactor = at.slowFactor;
  }
  return { errorRate, slowFactor };
}
