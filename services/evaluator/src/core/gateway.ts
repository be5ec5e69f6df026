/**
 * The state of one gateway: the newest signal of each kind, its release, its disk level. Each function applies one body and
 * returns whether a *fact* changed, that is, something a verdict may show.
 */

import type { Policy } from "@aviary/shared/contract/policy.ts";
import { DISK_HYSTERESIS_RATIO } from "@aviary/shared/contract/policy.ts";
import type { Release, Slice } from "@aviary/shared/contract/run.ts";
import type { Signal, SignalBody } from "@aviary/shared/contract/signal.ts";
import { staleAtMs } from "@aviary/shared/contract/signal.ts";
import type { SignalKind } from "@aviary/shared/contract/subjects.ts";
import type { GatewayConfig } from "./resolved-config.ts";
import { createSequenceTrack, type SequenceTrack } from "./sequence.ts";

export type DiskLevel = "green" | "yellow" | "red";

/** When a kind was last observed, and its period. */
export interface Observation {
  observedAtMs: number;
  periodMs: number;
}

export interface GatewayState {
  readonly key: string;
  readonly az: string;
  readonly name: string;
  readonly slice: Slice;
  readonly sequence: SequenceTrack;
  /** The slice claimed by the collector; null before its first signal. */
  claimed: Slice | null;
  release: Release;
  /** Event time of `release`. */
  releaseSinceMs: number;
  /** Newest observation per kind. Synthetic and real traffic are separate. */
  readonly seen: Map<SignalKind | "synthetic", Observation>;
  health: SignalBody<"health"> | null;
  disk: SignalBody<"disk"> | null;
  diskLevel: DiskLevel;
  /** Broker time at which the level last rose; a rise during a run fails it. */
  diskRoseAtMs: number;
  doctor: SignalBody<"doctor"> | null;
  doctorAtMs: number;
  deps: SignalBody<"deps"> | null;
  process: SignalBody<"process"> | null;
  rolloutWeight: number | null;
  /** A signal from the future was received, and no later one with the correct time. */
  clockAhead: boolean;
  maintenanceUntilMs: number;
  maintenanceReason: string;
}

const UNKNOWN_RELEASE: Release = { gateway_version: null, skill_hash: null, fragment_hash: null };

export function createGateway(config: GatewayConfig): GatewayState {
  return {
    key: config.key,
    az: config.az,
    name: config.name,
    slice: config.slice,
    sequence: createSequenceTrack(),
    claimed: null,
    release: UNKNOWN_RELEASE,
    releaseSinceMs: 0,
    seen: new Map(),
    health: null,
    disk: null,
    diskLevel: "green",
    diskRoseAtMs: 0,
    doctor: null,
    doctorAtMs: 0,
    deps: null,
    process: null,
    rolloutWeight: null,
    clockAhead: false,
    maintenanceUntilMs: 0,
    maintenanceReason: "",
  };
}

export interface NewObservation {
  readonly kind: SignalKind | "synthetic";
  readonly observedAtMs: number;
  readonly periodMs: number;
  /** When it was stored. */
  readonly nowMs: number;
  readonly graceMs: number;
}

/**
 * Records an observation of a kind.
 * @returns `older` if a newer one was applied already: its body must not overwrite that; `fresh` if the kind was absent, had
 * become stale by `nowMs`, or has another period, which is a change of fact; `same` otherwise
 */
export function recordObservation(
  gateway: GatewayState,
  { kind, observedAtMs, periodMs, nowMs, graceMs }: NewObservation,
): "older" | "fresh" | "same" {
  const seen = gateway.seen.get(kind);
  if (seen === undefined) {
    gateway.seen.set(kind, { observedAtMs, periodMs });
    return "fresh";
  }
  if (observedAtMs < seen.observedAtMs) return "older";
  const wasStale = nowMs >= staleAtMs(seen, graceMs) || seen.periodMs !== periodMs;
  seen.observedAtMs = observedAtMs;
  seen.periodMs = periodMs;
  return wasStale ? "fresh" : "same";
}

/**
 * Applies the slice and the release of an envelope; call it before `recordObservation`. Every kind carries them: after an outage,
 * kinds arrive out of order, and an older one must not restore an earlier release. A part that the collector does not report yet
 * keeps its last value; an older signal only supplies parts that are unknown so far.
 */
export function applyIdentity(gateway: GatewayState, signal: Signal, observedAtMs: number): boolean {
  const { release, claimed } = gateway;
  if (claimed === signal.slice && isReleaseOf(signal, release)) return false;
  const isNewest = observedAtMs >= newestObservedAtMs(gateway);
  if (isNewest) gateway.claimed = signal.slice;
  const latest = (reported: string | null, last: string | null) => (isNewest ? (reported ?? last) : (last ?? reported));
  const version = latest(signal.gateway_version, release.gateway_version);
  const skills = latest(signal.skill_hash, release.skill_hash);
  const fragment = latest(signal.fragment_hash, release.fragment_hash);
  const isSame = version === release.gateway_version && skills === release.skill_hash && fragment === release.fragment_hash;
  if (!isSame) {
    gateway.release = { gateway_version: version, skill_hash: skills, fragment_hash: fragment };
    gateway.releaseSinceMs = observedAtMs;
  }
  return !isSame || gateway.claimed !== claimed;
}

function isReleaseOf(signal: Signal, release: Release): boolean {
  return (
    signal.gateway_version === release.gateway_version &&
    signal.skill_hash === release.skill_hash &&
    signal.fragment_hash === release.fragment_hash
  );
}

/** Event time of the newest observation of any kind; 0 before the first signal. */
function newestObservedAtMs(gateway: GatewayState): number {
  let newestMs = 0;
  for (const { observedAtMs } of gateway.seen.values()) newestMs = Math.max(newestMs, observedAtMs);
  return newestMs;
}

export function applyHealth(gateway: GatewayState, body: SignalBody<"health">): boolean {
  const before = gateway.health;
  gateway.health = body;
  return (
    before === null ||
    before.state !== body.state ||
    before.warm !== body.warm ||
    before.worker_reachable !== body.worker_reachable ||
    before.failing.join() !== body.failing.join() ||
    before.suppressed.join() !== body.suppressed.join()
  );
}

/**
 * The disk level with hysteresis: a mark is crossed at or above it, and cleared two points below it.
 * @param tier from the fleet file, which takes precedence over the tier guessed from the capacity
 */
export function diskLevel(
  before: DiskLevel,
  usedRatio: number,
  marks: { readonly yellow: number; readonly red: number },
): DiskLevel {
  if (usedRatio >= marks.red || (before === "red" && usedRatio >= marks.red - DISK_HYSTERESIS_RATIO)) return "red";
  if (usedRatio >= marks.yellow || (before !== "green" && usedRatio >= marks.yellow - DISK_HYSTERESIS_RATIO)) return "yellow";
  return "green";
}

const LEVELS: readonly DiskLevel[] = ["green", "yellow", "red"];

/** @returns whether a fact changed; `gateway.diskRoseAtMs` distinguishes a rise from a fall */
export function applyDisk(
  gateway: GatewayState,
  body: SignalBody<"disk">,
  tier: keyof Policy["disk"],
  policy: Policy,
  storedAtMs: number,
): boolean {
  const before = gateway.disk;
  const level = diskLevel(gateway.diskLevel, body.used_ratio, policy.disk[tier]);
  const changed = before === null || level !== gateway.diskLevel || before.writable !== body.writable;
  if (LEVELS.indexOf(level) > LEVELS.indexOf(gateway.diskLevel)) gateway.diskRoseAtMs = storedAtMs;
  gateway.disk = body;
  gateway.diskLevel = level;
  return changed;
}

const findings = (list: readonly { readonly check_id: string }[]): string => list.map((finding) => finding.check_id).join();

export function applyDoctor(gateway: GatewayState, body: SignalBody<"doctor">, observedAtMs: number): boolean {
  const before = gateway.doctor;
  gateway.doctor = body;
  gateway.doctorAtMs = observedAtMs;
  return (
    before === null ||
    before.unknown !== body.unknown ||
    findings(before.new_vs_baseline) !== findings(body.new_vs_baseline) ||
    findings(before.errors) !== findings(body.errors) ||
    findings(before.warnings) !== findings(body.warnings)
  );
}

export function applyDeps(gateway: GatewayState, body: SignalBody<"deps">): boolean {
  const states = (deps: SignalBody<"deps">): string => deps.map((dep) => `${dep.name}:${dep.ok}`).join();
  const changed = gateway.deps === null || states(gateway.deps) !== states(body);
  gateway.deps = body;
  return changed;
}
