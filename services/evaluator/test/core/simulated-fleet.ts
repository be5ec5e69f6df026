/**
 * A fleet in simulated time: writes the log of six gateways, a controller and the broker for the reducer.
 * Time is a number that only `advance` changes; every gateway reports at its own periods.
 */
import { type ControlContent, controlMessage } from "@aviary/shared/contract/control.ts";
import { fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import { sha256Hex } from "@aviary/shared/contract/ids.ts";
import { type PolicyFile, policySchema } from "@aviary/shared/contract/policy.ts";
import type { Signal, SignalBody } from "@aviary/shared/contract/signal.ts";
import type { SignalKind } from "@aviary/shared/contract/subjects.ts";
import type { VerdictBody, VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/core/checkpoint.ts";
import type { Effect } from "../../src/core/effects.ts";
import type { Input } from "../../src/core/inputs.ts";
import { reduce } from "../../src/core/reducer.ts";
import { type ResolvedConfig, resolveConfig } from "../../src/core/resolved-config.ts";
import { createState, type State } from "../../src/core/state.ts";

export const START_MS = Date.parse("2026-11-21T10:00:00.000Z");
export const CANARY = { namespace: "prod", name: "payments-gateway" };
export const CANARY_KEY = "prod/payments-gateway";
export const STABLE_PACK = sha256Hex("stable pack");
export const NEW_PACK = sha256Hex("new pack");
const FRAGMENT = sha256Hex("fragment");

export interface GatewayPlan {
  readonly az: string;
  readonly name: string;
  readonly slice: "canary" | "stable";
  boot: number;
  seq: number;
  version: string;
  pack: string;
  /** Requests per report, and how many of them fail. */
  requests: number;
  errors: number;
  latencyMs: number;
  diskUsedRatio: number;
  health: SignalBody<"health">["state"];
  clockOffsetMs: number;
  silent: boolean;
  claims: "canary" | "stable";
  doctorErrors: string[];
  sendsDoctor: boolean;
  /** The value that the gateway reports; constant unless a test changes it. */
  uptimeMs: number;
  /** Whether it has been up for longer than its warm-up. */
  warm: boolean;
  /** Whether it sends http signals. */
  reportsTraffic: boolean;
  /** Whether its skills probe works. */
  readsSkills: boolean;
  /** Lines per report that its collector could not read. */
  unread: number;
}

export interface FleetOptions {
  /** Changes of the test policy, or the policy of an empty file. */
  readonly policy?: PolicyFile | "shipped";
  /** The configured controller: Flagger by default. */
  readonly controller?: "flagger" | "rollouts" | "flux" | false;
  readonly azs?: readonly string[];
  readonly stable?: boolean;
  readonly lane?: boolean;
}

/** Two of each slice's periods in a 30 s window, to keep tests short: window 30 s, grace 2 s, warm-up 10 s. */
export const TEST_POLICY: PolicyFile = {
  mode: "literal",
  window: "30s",
  grace: "2s",
  warmup: "10s",
  settleRelease: "0s",
  doctorBeforeTraffic: false,
};

export function createSimulatedFleet(options: FleetOptions = {}) {
  const azs = options.azs ?? ["az-a", "az-b", "az-c"];
  const slices: ("canary" | "stable")[] = options.stable === false ? ["canary"] : ["canary", "stable"];
  const gateways: GatewayPlan[] = azs.flatMap((az) =>
    slices.map((slice) => ({
      az,
      name: `${slice}-${az.slice(-1)}`,
      slice,
      boot: 1,
      seq: 0,
      version: "2026.9.6",
      pack: STABLE_PACK,
      requests: 100,
      errors: 0,
      latencyMs: 40,
      diskUsedRatio: 0.4,
      health: "up" as const,
      clockOffsetMs: 0,
      silent: false,
      claims: slice,
      doctorErrors: [],
      sendsDoctor: false,
      uptimeMs: 600_000,
      warm: true,
      reportsTraffic: true,
      readsSkills: true,
      unread: 0,
    })),
  );
  const fleet = fleetFileSchema.parse({
    fleets: { payments: { gateways: gateways.map(({ az, name, slice }) => ({ az, name, slice, tier: "2TB" })) } },
    canaries: {
      [CANARY_KEY]: {
        fleet: "payments",
        policy: "default.yaml",
        lanes: options.lane === false ? [] : ["build-az-a"],
        callers: options.controller === false ? {} : { [options.controller ?? "flagger"]: { interval: "60s" } },
      },
    },
    lanes: options.lane === false ? {} : { "build-az-a": { az: "az-a", slice: "canary", stableMax: 2, pollingInterval: "10s" } },
  });
  const config: ResolvedConfig = resolveConfig(
    fleet,
    new Map([[CANARY_KEY, policySchema.parse(options.policy === "shipped" ? {} : { ...TEST_POLICY, ...options.policy })]]),
    "policy-1",
  );
  const log: Input[] = [];
  let nowMs = START_MS;
  let tick = 0;
  const queue = { depth: 4 };

  const append = (
    input: { kind: "signal"; signal: Signal } | { kind: "control"; control: ReturnType<typeof controlMessage> },
  ): void => {
    const sequence = log.length + 1;
    if (input.kind === "signal") log.push({ kind: "signal", sequence, storedAtMs: nowMs + 3, signal: input.signal });
    else
      log.push({ kind: "control", sequence, storedAtMs: nowMs + 3, fleet: "payments", canary: CANARY, control: input.control });
  };

  const send = <K extends SignalKind>(gateway: GatewayPlan, kind: K, body: SignalBody<K>, periodMs: number): void => {
    if (gateway.silent) return;
    gateway.seq += 1;
    const boot = `${(START_MS + gateway.boot).toString(36)}-0000000000000000`;
    const signal = {
      v: 1,
      id: `${gateway.az}.payments.${gateway.name}.${boot}.${gateway.seq}`,
      az: gateway.az,
      fleet: "payments",
      gateway: gateway.name,
      collector_boot: boot,
      seq: gateway.seq,
      slice: gateway.claims,
      gateway_version: gateway.version,
      skill_hash: gateway.pack,
      fragment_hash: FRAGMENT,
      observed_at: new Date(nowMs + gateway.clockOffsetMs).toISOString(),
      period_ms: periodMs,
      kind,
      body,
    } as unknown as Signal;
    append({ kind: "signal", signal });
  };

  const report = (gateway: GatewayPlan): void => {
    send(
      gateway,
      "health",
      {
        state: gateway.health,
        failing: [],
        suppressed: [],
        uptime_ms: gateway.uptimeMs,
        warm: gateway.warm,
        worker_reachable: gateway.health === "up",
      },
      5_000,
    );
    if (gateway.reportsTraffic) send(gateway, "http", trafficOf(gateway), 5_000);
    if (tick % 2 === 0)
      send(gateway, "disk", { used_ratio: gateway.diskUsedRatio, total_bytes: 2e12, tier: "2TB", writable: true }, 10_000);
    if (gateway.readsSkills && gateway.pack !== null && tick % 2 === 0)
      send(gateway, "skills", { pack_hash: gateway.pack, count: 3, changed: [] }, 10_000);
    if (gateway.sendsDoctor && tick % 6 === 0) {
      const findings = gateway.doctorErrors.map((check_id) => ({ check_id, severity: "error", message: "broken" }));
      send(
        gateway,
        "doctor",
        { deep: false, checks_run: 8, errors: findings, warnings: [], new_vs_baseline: findings, unknown: false },
        30_000,
      );
    }
  };

  return {
    config,
    gateways,
    log,
    queue,
    now: () => nowMs,
    gateway: (name: string): GatewayPlan => gateways.find((gateway) => gateway.name === name)!,
    slice: (slice: "canary" | "stable"): GatewayPlan[] => gateways.filter((gateway) => gateway.slice === slice),
    /** Puts a pack on every gateway of a slice. */
    install(slice: "canary" | "stable", pack: string): void {
      for (const gateway of this.slice(slice)) gateway.pack = pack;
    },
    send,
    publishControl(content: ControlContent, discriminator = `${log.length}`): void {
      append({ kind: "control", control: controlMessage(CANARY, content, new Date(nowMs).toISOString(), discriminator) });
    },
    /** Advances time in steps of five seconds; every gateway reports at each. */
    advance(seconds: number): void {
      for (let passed = 0; passed < seconds; passed += 5) {
        nowMs += 5_000;
        tick += 1;
        for (const gateway of gateways) report(gateway);
        const first = gateways[0]!;
        if (options.lane !== false) send(first, "queue", { lane: "build-az-a", role: "build", depth: queue.depth }, 5_000);
      }
    },
  };
}

function trafficOf({ requests, errors, latencyMs, unread }: GatewayPlan): SignalBody<"http"> {
  const latency = histogram.create();
  if (requests > 0) histogram.insert(latency, latencyMs, requests);
  const counts = { source: "access-log", requests, errors_5xx: errors, latency: histogram.toWire(latency) } as const;
  return unread > 0 ? { ...counts, unread } : counts;
}

export type SimulatedFleet = ReturnType<typeof createSimulatedFleet>;

/** A fleet that has reported for 30 s, then v2 was announced and measured for 95 s. */
export function createMeasuredFleet(options: FleetOptions = {}): SimulatedFleet {
  const fleet = createSimulatedFleet(options);
  fleet.advance(30);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(95);
  return fleet;
}

export interface Reduction {
  readonly state: State;
  readonly effects: Effect[];
  readonly verdicts: VerdictRecord[];
}

/** Reduces a log; `until` is the broker's clock at the end, for the deadlines after the last message. */
export function reduceLog(
  config: ResolvedConfig,
  log: readonly Input[],
  until?: number,
  from: State = createState(config),
): Reduction {
  const effects: Effect[] = [];
  let state = from;
  for (const input of log) {
    const stepped = reduce(state, input);
    state = stepped.state;
    effects.push(...stepped.effects);
  }
  if (until !== undefined) effects.push(...reduce(state, { kind: "clock", atMs: until }).effects);
  return { state, effects, verdicts: effects.flatMap((effect) => (effect.kind === "verdict" ? [effect.record] : [])) };
}

/** The result of `reduceLog` for a fleet's log up to now. */
export function reduceFleet(fleet: SimulatedFleet): Reduction {
  return reduceLog(fleet.config, fleet.log, fleet.now() + 100);
}

/** The newest record of a fleet, its run, the incidents so far, and the history in words. */
export function newestRecord(fleet: SimulatedFleet) {
  const { verdicts, effects } = reduceFleet(fleet);
  const record = verdicts.at(-1)!;
  const incidents = effects.flatMap((effect) => (effect.kind === "incident" ? [effect.incident.code] : []));
  return { ...record, run: record.body.run!, incidents, story: timeline(verdicts).join("\n") };
}

/** The newest verdict of a fleet. */
export const newestBody = (fleet: SimulatedFleet): VerdictBody => reduceFleet(fleet).verdicts.at(-1)!.body;

/** The same state after a round trip through a checkpoint. */
export function restoredFromCheckpoint(config: ResolvedConfig, state: State): State {
  const again = decodeCheckpoint(encodeCheckpoint(state), config);
  if (again === undefined) throw new Error("the checkpoint could not be read back");
  return again;
}

/** One line per verdict, for reading failures: time, verdict, state, reason codes. */
export function timeline(verdicts: readonly VerdictRecord[]): string[] {
  return verdicts.map(
    ({ body }) =>
      `${body.at.slice(11, 19)} ${body.verdict} ${body.run?.state ?? "-"} [${body.reasons.map((reason) => reason.code).join(" ")}]`,
  );
}
