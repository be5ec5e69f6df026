/** One Mac: the gateway with its release, and the collector that reports on it. Its reports may differ from the truth. */
import { contentId } from "@aviary/shared/contract/ids.ts";
import type { Signal, SignalBody } from "@aviary/shared/contract/signal.ts";
import type { SignalKind } from "@aviary/shared/contract/subjects.ts";
import type { Product } from "../../simulation/product.ts";
import type { MacPlan } from "./plan.ts";
import { CRASH_LOOP_MS, diskUsed, type ReleasePlan } from "./releases.ts";

export const FLEET = "payments";
export const LANE = "build-az-a";

export interface Mac {
  readonly plan: MacPlan;
  readonly index: number;
  /** Undefined for the release that precedes the plan's first. */
  release: ReleasePlan | undefined;
  installedAtMs: number;
  bootedAtMs: number;
  /** Restarts of the gateway process, apart from those of a crash loop. */
  restarts: number;
  /** All restarts at this collector's first observation; a collector reports those since then. */
  restartsAtFirstReport: number | undefined;
  /** The gateway is down until this time. */
  downUntilMs: number;
  clockOffsetMs: number;
  isCut: boolean;
  collectorUp: boolean;
  collectorBoot: string;
  seq: number;
  readonly missingProbes: Set<SignalKind>;
  logRotated: boolean;
  /** Share of the disk that other files fill. */
  foreignDisk: number;
  /** When the release began to fill the disk: at its installation, or when space was last freed. */
  diskSinceMs: number;
  doctorAtMs: number;
  spool: Signal[];
}

export function createMac(plan: MacPlan, index: number): Mac {
  return {
    plan,
    index,
    release: undefined,
    installedAtMs: -86_400_000,
    bootedAtMs: -86_400_000,
    restarts: 0,
    restartsAtFirstReport: undefined,
    downUntilMs: 0,
    clockOffsetMs: 0,
    isCut: false,
    collectorUp: true,
    collectorBoot: "",
    seq: 0,
    missingProbes: new Set(),
    logRotated: false,
    foreignDisk: 0,
    diskSinceMs: -86_400_000,
    doctorAtMs: Number.NEGATIVE_INFINITY,
    spool: [],
  };
}

/** The pack hash of a release; the release that precedes the plan's first is `v1`. */
export function packOf(release: ReleasePlan | undefined): string {
  const name = release?.name ?? "v1";
  let pack = packs.get(name);
  if (pack === undefined) {
    pack = contentId(["pack", name], 64);
    packs.set(name, pack);
  }
  return pack;
}
const packs = new Map<string, string>();

/** The uptime of the gateway process; a crash loop resets it periodically. */
export function uptimeMs(mac: Mac, nowMs: number): number {
  const sinceBoot = nowMs - mac.bootedAtMs;
  return mac.release?.fault === "crash-loop" ? Math.min(sinceBoot, (nowMs - mac.installedAtMs) % CRASH_LOOP_MS) : sinceBoot;
}

/** Share of the disk in use. */
export function usedRatio(mac: Mac, nowMs: number): number {
  return Math.min(0.99, Math.max(mac.foreignDisk, diskUsed(mac.release, nowMs - mac.diskSinceMs)));
}

export const isUp = (mac: Mac, nowMs: number): boolean => nowMs >= mac.downUntilMs;

/** Starts a new collector process, whose boot id contains the Mac's own clock. */
export function startCollector(mac: Mac, wallMs: number): void {
  mac.collectorUp = true;
  mac.collectorBoot = `${Math.floor(wallMs).toString(36)}-${contentId([mac.plan.name, wallMs, mac.seq])}`;
  mac.seq = 0;
  mac.restartsAtFirstReport = undefined;
  mac.doctorAtMs = Number.NEGATIVE_INFINITY;
}

export function install(mac: Mac, release: ReleasePlan | undefined, nowMs: number): void {
  mac.release = release;
  mac.installedAtMs = nowMs;
  mac.diskSinceMs = nowMs;
  mac.bootedAtMs = nowMs;
  mac.restarts += 1;
  mac.doctorAtMs = Number.NEGATIVE_INFINITY;
}

/** Traffic of one period as recorded in the access log. */
export interface Counted {
  readonly requests: number;
  readonly errors: number;
  /** Lines that the collector counts as lost. */
  readonly unread: number;
  readonly latency: SignalBody<"http">["latency"];
}

/** One collection. */
export interface Collection {
  readonly product: Product;
  readonly nowMs: number;
  /** The broker's clock, milliseconds since the epoch. */
  readonly wallMs: number;
  readonly periodMs: number;
  readonly counted: Counted;
  /** Whether the slower probes, whose period is twice as long, run at this tick. */
  readonly isSlowTick: boolean;
  /** Jobs in the queue, on the Mac that reports the lane. */
  readonly jobs: number | undefined;
  /** The balancer's weight, on the Mac that reports it. */
  readonly weight: number | undefined;
}

const DOCTOR_PERIOD_MS = 1_800_000;
const FRAGMENT = "f".repeat(64);
const TOTAL_BYTES = 2_000_000_000_000;

/** The signals of one period, in order of sequence. */
export function collect(mac: Mac, at: Collection): Signal[] {
  if (!mac.collectorUp) return [];
  const signals: Signal[] = [];
  const sender = {
    gateway: { az: mac.plan.az, fleet: FLEET, gateway: mac.plan.name },
    slice: mac.plan.slice,
    boot: mac.collectorBoot,
    fragmentHash: FRAGMENT,
  };
  const release = { gatewayVersion: "2026.9.6", skillHash: packOf(mac.release) };
  const add = <K extends SignalKind>(kind: K, body: SignalBody<K>, periodMs = at.periodMs): void => {
    if (mac.missingProbes.has(kind)) return;
    mac.seq += 1;
    const tick = { atMs: at.wallMs + mac.clockOffsetMs, periodMs };
    signals.push(at.product.makeSignal(sender, { release, seq: mac.seq, kind, tick: tick as never, body }));
  };
  const upMs = uptimeMs(mac, at.nowMs);
  const isStarting = mac.release?.fault === "crash-loop" && upMs < CRASH_LOOP_MS / 4;
  const up = isUp(mac, at.nowMs);
  const { requests, errors, unread, latency } = at.counted;
  const classes = { errors_4xx: 0, aborted: 0, probes: 0, streams: 0, unread };
  add("http", { source: "access-log", requests, errors_5xx: errors, ...classes, latency });
  add("health", {
    state: up ? (isStarting ? "starting" : "up") : "refused",
    failing: [],
    suppressed: [],
    uptime_ms: up ? Math.max(0, Math.floor(upMs)) : null,
    warm: up && upMs >= at.periodMs,
    worker_reachable: up,
  });
  if (at.jobs !== undefined) add("queue", { lane: LANE, role: "build", depth: at.jobs });
  if (at.weight !== undefined) add("rollout", { canary: "payments-gateway", weight: at.weight, phase: "Progressing" });
  if (at.isSlowTick) {
    add("skills", { pack_hash: packOf(mac.release), count: 12, changed: [] }, 2 * at.periodMs);
    const used = usedRatio(mac, at.nowMs);
    add("disk", { used_ratio: used, total_bytes: TOTAL_BYTES, tier: "2TB", writable: used < 0.99 }, 2 * at.periodMs);
    const crashes = mac.release?.fault === "crash-loop" ? Math.floor((at.nowMs - mac.installedAtMs) / CRASH_LOOP_MS) : 0;
    const gatewayBoot = `${mac.plan.name}-${mac.restarts}-${crashes}`;
    const restarts = mac.restarts + crashes;
    mac.restartsAtFirstReport ??= restarts;
    const restartsSeen = Math.max(0, restarts - mac.restartsAtFirstReport);
    add("process", { gateway_boot: gatewayBoot, restarts: restartsSeen, rss_bytes: 300_000_000 }, 2 * at.periodMs);
  }
  if (at.nowMs - mac.doctorAtMs >= DOCTOR_PERIOD_MS && up) {
    mac.doctorAtMs = at.nowMs;
    const report = { deep: false, checks_run: 20, errors: [], warnings: [], new_vs_baseline: [], unknown: false };
    add("doctor", report, DOCTOR_PERIOD_MS);
  }
  return signals;
}
