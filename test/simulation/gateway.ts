/** A Mac: the true state of its gateway, and the collector that reports it through the real envelope and outbox. */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import type { SignalKind } from "@aviary/shared/contract/subjects.ts";
import { signalSubject } from "@aviary/shared/contract/subjects.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { collectorBoot } from "../../services/collector/src/core/envelope.ts";
import { gridAfter, gridBefore, phaseMs, type Tick, tickAt } from "../../services/collector/src/core/schedule.ts";
import type { RandomChoices } from "./choices.ts";
import { type Disk, openDisk } from "./disk.ts";
import type { History } from "./history.ts";
import type { Kernel, Life } from "./kernel.ts";
import type { createNodeBus } from "./network.ts";
import type { WorldGateway } from "./plan.ts";
import type { Product } from "./product.ts";

export const FLEET = "payments";
export const LANE = "build-az-a";
export const HTTP_PERIOD_MS = 2_000;
const SLOW_PERIOD_MS = 4_000;
const FRAGMENT = "f".repeat(64);
const EARLY_MS = 20;

/** The true state of the gateway; the world changes it. */
export interface Truth {
  version: string;
  pack: string;
  errorShare: number;
  latencyMs: number;
  health: SignalBody<"health">["state"];
  diskUsedRatio: number;
  doctorError: boolean;
  queueDepth: number;
  reportsTraffic: boolean;
  reportsSkills: boolean;
  /** Whether its process crashes every few seconds and therefore never completes its warm-up. */
  crashes: boolean;
}

const CRASHES_EVERY_MS = 5_000;

export interface CollectorNodeOptions {
  readonly product: Product;
  readonly kernel: Kernel;
  readonly life: Life;
  readonly clock: Clock;
  readonly bus: ReturnType<typeof createNodeBus>;
  readonly disk: Disk;
  readonly random: RandomChoices;
  readonly history: History;
  readonly gateway: WorldGateway;
  readonly truth: Truth;
  /** Whether this gateway reports the lane's depth; exactly one does. */
  readonly reportsLane: boolean;
  readonly sendsDoctor: boolean;
}

/** Starts a collector boot; returns a function that stops it gracefully. */
export function startCollectorNode(options: CollectorNodeOptions): () => Promise<void> {
  const { product, kernel, life, clock, bus, disk, random, history, gateway, truth } = options;
  const boot = collectorBoot(clock.now(), hex16(random));
  const ref = { az: gateway.az, fleet: FLEET, gateway: gateway.name };
  const sender = { gateway: ref, slice: gateway.slice, boot, fragmentHash: FRAGMENT };
  const outbox = product.openOutbox({
    bus,
    clock,
    random: random.next,
    log: silentLogger,
    openSpool: async () => openDisk(disk, kernel, life),
  });
  const phase = phaseMs(gateway.name, HTTP_PERIOD_MS);
  let seq = 0;
  let ticks = 0;
  let previousAt = clock.now();

  const send = (kind: SignalKind, tick: Tick, body: SignalBody<SignalKind>): void => {
    seq += 1;
    const facts = { gatewayVersion: truth.version, skillHash: truth.pack };
    const signal = product.makeSignal(sender, { release: facts, seq, kind, tick, body });
    history.emitted.set(signal.id, { signal, gateway: gateway.name, madeAtMs: kernel.nowMs, observedAtMs: tick.atMs });
    outbox.enqueue({ subject: signalSubject(ref, kind), id: signal.id, data: JSON.stringify(signal) });
  };

  const report = (atMs: number): void => {
    const tick: Tick = { atMs: atMs, periodMs: HTTP_PERIOD_MS };
    const isSlowTick = ticks % (SLOW_PERIOD_MS / HTTP_PERIOD_MS) === 0;
    ticks += 1;
    send("health", tick, healthOf(truth, kernel.nowMs));
    if (!truth.reportsTraffic) {
      // The first report after a failure covers the time since the last one, up to the limit of a real collector.
    } else if (truth.health === "up") {
      const covered = tickAt(atMs, previousAt, HTTP_PERIOD_MS);
      send("http", covered, trafficOf(gateway, truth, covered.periodMs));
    } else {
      send("http", tick, trafficOf({ ...gateway, requests: 0 }, truth, HTTP_PERIOD_MS));
    }
    if (truth.reportsTraffic) previousAt = atMs;
    const slow: Tick = { atMs: atMs, periodMs: SLOW_PERIOD_MS };
    if (isSlowTick) send("disk", slow, { used_ratio: truth.diskUsedRatio, total_bytes: 2e12, tier: "2TB", writable: true });
    if (isSlowTick && truth.reportsSkills) send("skills", slow, { pack_hash: truth.pack, count: 3, changed: [] });
    if (isSlowTick && options.sendsDoctor) send("doctor", slow, doctorOf(truth));
    if (options.reportsLane) send("queue", tick, { lane: LANE, role: "build", depth: truth.queueDepth + swayAt(kernel.nowMs) });
  };

  const arm = (): void => {
    const now = clock.now();
    clock.setTimer(gridAfter(now + EARLY_MS, HTTP_PERIOD_MS, phase) - now, () => {
      arm();
      report(gridBefore(clock.now() + EARLY_MS, HTTP_PERIOD_MS, phase));
    });
  };
  arm();
  return () => outbox.close(1_000);
}

/** Jobs on top of the configured depth: 0 to 6, changing every four seconds, because a real queue is never constant. */
const swayAt = (nowMs: number): number => (Math.floor(nowMs / 4_000) * 5) % 7;

/** 64 random bits as hex. */
function hex16(random: RandomChoices): string {
  return Array.from({ length: 4 }, () => random.integer(0, 0xffff).toString(16).padStart(4, "0")).join("");
}

function healthOf(truth: Truth, nowMs: number): SignalBody<"health"> {
  const isUp = truth.health === "up";
  const uptimeMs = truth.crashes ? nowMs % CRASHES_EVERY_MS : 600_000;
  return {
    state: truth.health,
    failing: [],
    suppressed: [],
    uptime_ms: uptimeMs,
    warm: !truth.crashes,
    worker_reachable: isUp,
  };
}

function doctorOf(truth: Truth): SignalBody<"doctor"> {
  const errors = truth.doctorError ? [{ check_id: "state-volume", severity: "error", message: "is not what it was" }] : [];
  return { deep: false, checks_run: 8, errors, warnings: [], new_vs_baseline: errors, unknown: false };
}

const latencies = new Map<string, SignalBody<"http">["latency"]>();

function trafficOf(gateway: WorldGateway, truth: Truth, periodMs: number): SignalBody<"http"> {
  const requests = Math.round((gateway.requests * periodMs) / HTTP_PERIOD_MS);
  const key = `${requests}|${truth.latencyMs}`;
  let latency = latencies.get(key);
  if (latency === undefined) {
    const made = histogram.create();
    if (requests > 0) {
      histogram.insert(made, truth.latencyMs, requests - Math.floor(requests / 10));
      histogram.insert(made, truth.latencyMs * 1.4, Math.floor(requests / 10));
    }
    latency = histogram.toWire(made);
    latencies.set(key, latency);
  }
  return { source: "access-log", requests, errors_5xx: Math.round(requests * truth.errorShare), latency };
}
