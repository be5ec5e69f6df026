/**
 * Signals of six gateways (three AZs, a canary and a stable one each): four of five are http, the mean is 549 bytes.
 * All values come from a fixed seed, so two runs publish the same bytes except for their times.
 */

import { type FleetFile, fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import { sha256Hex } from "@aviary/shared/contract/ids.ts";
import type { Signal, SignalBody } from "@aviary/shared/contract/signal.ts";
import { type SignalKind, signalSubject } from "@aviary/shared/contract/subjects.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { seededRandom } from "../../libs/shared/src/testing/random.ts";

export const FLEET = "payments";
export const AZS = ["az-a", "az-b", "az-c"] as const;

export interface BenchGateway {
  readonly az: string;
  readonly name: string;
  readonly slice: "canary" | "stable";
}

export const PERIOD_MS = 5_000;
export const GATEWAYS: readonly BenchGateway[] = AZS.flatMap((az) =>
  (["canary", "stable"] as const).map((slice) => ({ az, name: `${slice === "canary" ? "c" : "s"}${az.slice(-1)}1`, slice })),
);

/** A fleet file of these gateways with the given canaries (`namespace/name`), as written by hand. */
export function benchFleetFile(canaries: readonly string[]) {
  return {
    fleets: { [FLEET]: { gateways: GATEWAYS.map((gateway) => ({ ...gateway, tier: "2TB" })) } },
    canaries: Object.fromEntries(
      canaries.map((canary) => [canary, { fleet: FLEET, policy: "policy.yaml", callers: { flagger: { interval: "60s" } } }]),
    ),
  };
}

/** The same fleet file, parsed. */
export const benchFleet = (canaries: readonly string[]): FleetFile => fleetFileSchema.parse(benchFleetFile(canaries));

export interface BenchSignal {
  readonly subject: string;
  readonly id: string;
  readonly data: string;
}

const STABLE_PACK = sha256Hex("stable pack");
const CANARY_PACK = sha256Hex("canary pack");
const FRAGMENT = sha256Hex("fragment");
/** Ten signals of one gateway, repeated. */
const KINDS: readonly SignalKind[] = ["http", "http", "health", "http", "http", "http", "http", "disk", "http", "http"];

/**
 * Generates signals one after the other, alternating between gateways; `observedAtMs` is the caller's clock.
 * @param bootMs    start of the collectors; a later source of the same gateways needs a later start
 * @param periodMs  the period in the signals
 */
export function createSignalSource(bootMs: number, seed = 1, periodMs = PERIOD_MS): (observedAtMs: number) => BenchSignal {
  const random = seededRandom(seed);
  const boot = `${bootMs.toString(36)}-${sha256Hex(String(bootMs)).slice(0, 16)}`;
  let turn = 0;
  return (observedAtMs) => {
    const gateway = GATEWAYS[turn % GATEWAYS.length] as BenchGateway;
    const seq = Math.floor(turn / GATEWAYS.length) + 1;
    turn += 1;
    const kind = KINDS[seq % KINDS.length] as SignalKind;
    const id = `${gateway.az}.${FLEET}.${gateway.name}.${boot}.${seq}`;
    const signal = {
      v: 1,
      id,
      az: gateway.az,
      fleet: FLEET,
      gateway: gateway.name,
      collector_boot: boot,
      seq,
      slice: gateway.slice,
      gateway_version: "2026.9.6",
      skill_hash: gateway.slice === "canary" ? CANARY_PACK : STABLE_PACK,
      fragment_hash: FRAGMENT,
      observed_at: new Date(observedAtMs).toISOString(),
      period_ms: periodMs,
      kind,
      body: bodyOf(kind, random),
    } as Signal;
    return {
      subject: signalSubject({ az: gateway.az, fleet: FLEET, gateway: gateway.name }, kind),
      id,
      data: JSON.stringify(signal),
    };
  };
}

function bodyOf(kind: SignalKind, random: () => number): SignalBody<"http" | "health" | "disk"> {
  if (kind === "health")
    return { state: "up", failing: [], suppressed: [], uptime_ms: 3_600_000, warm: true, worker_reachable: true };
  if (kind === "disk") return { used_ratio: 0.41, total_bytes: 2e12, tier: "2TB", writable: true };
  const latency = histogram.create();
  const requests = 12 + Math.floor(random() * 6);
  for (let request = 0; request < requests; request += 1) histogram.insert(latency, 40 * 2 ** ((random() - 0.5) * 0.45));
  return { source: "access-log", requests, errors_5xx: random() < 0.02 ? 1 : 0, latency: histogram.toWire(latency) };
}
