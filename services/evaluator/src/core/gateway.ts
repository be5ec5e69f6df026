/**
 * The state of one gateway: the newest signal of each kind with its age, and its release. Each function applies one body and
 * returns whether a *fact* changed, that is, something a verdict may show. State that depends on a policy is in the canaries.
 */
import { type Release, type Slice, sameRelease } from "@aviary/shared/contract/run.ts";
import type { Signal, SignalBody } from "@aviary/shared/contract/signal.ts";
import { type ClockTrack, createClockTrack } from "./clock-offset.ts";
import { type FindingsBegan, nextFindingsBegan } from "./findings.ts";
import { type AgePolicy, type FactKind, factStaleAtMs } from "./freshness.ts";
import type { GatewayConfig } from "./resolved-config.ts";
import { createRestartTrack, type RestartTrack } from "./restarts.ts";
import { createSequenceTrack, type SequenceTrack } from "./sequence.ts";

/** When a kind was last observed, its period, and the collector boot that sent it. */
export interface Observation {
  observedAtMs: number;
  periodMs: number;
  /**
   * The shorter of the last two periods: a report after a failure covers more than the probe's own period and must not extend
   * it.
   */
  cadenceMs: number;
  /** Null if an earlier version stored it. */
  boot: string | null;
}

/** The collector boot that last reported each part of the release. */
export type ReleaseBoots = Record<keyof Release, string | null>;

export interface GatewayState {
  readonly key: string;
  readonly az: string;
  readonly name: string;
  readonly slice: Slice;
  readonly sequence: SequenceTrack;
  /** The slice claimed by the collector; null before its first signal. */
  claimed: Slice | null;
  release: Release;
  releaseBoots: ReleaseBoots;
  /** Event time of `release`. */
  releaseSinceMs: number;
  /** Newest observation per kind. Synthetic and real traffic are separate. */
  readonly seen: Map<FactKind, Observation>;
  health: SignalBody<"health"> | null;
  disk: SignalBody<"disk"> | null;
  doctor: SignalBody<"doctor"> | null;
  doctorAtMs: number;
  findingsBegan: FindingsBegan;
  deps: SignalBody<"deps"> | null;
  readonly restarts: RestartTrack;
  readonly clock: ClockTrack;
  maintenanceUntilMs: number;
  maintenanceReason: string;
  /** Whether promotions to it are blocked during the maintenance. */
  maintenanceMuted: boolean;
}

const UNKNOWN_RELEASE: Release = { gateway_version: null, skill_hash: null, fragment_hash: null };
export const NO_BOOTS: ReleaseBoots = { gateway_version: null, skill_hash: null, fragment_hash: null };

export function createGateway(config: GatewayConfig): GatewayState {
  return {
    key: config.key,
    az: config.az,
    name: config.name,
    slice: config.slice,
    sequence: createSequenceTrack(),
    claimed: null,
    release: UNKNOWN_RELEASE,
    releaseBoots: { ...NO_BOOTS },
    releaseSinceMs: 0,
    seen: new Map(),
    health: null,
    disk: null,
    doctor: null,
    doctorAtMs: 0,
    findingsBegan: new Map(),
    deps: null,
    restarts: createRestartTrack(),
    clock: createClockTrack(),
    maintenanceUntilMs: 0,
    maintenanceReason: "",
    maintenanceMuted: false,
  };
}

export interface NewObservation {
  readonly kind: FactKind;
  readonly observedAtMs: number;
  readonly periodMs: number;
  readonly boot: string;
  /** When it was stored. */
  readonly nowMs: number;
  /** Policies of the canaries that measure this gateway. */
  readonly policies: readonly AgePolicy[];
}

/**
 * Records an observation of a kind.
 * @returns `older` if a newer observation was already applied, so this body must be discarded; `fresh` if the kind was absent, had
 * become stale by `nowMs` under any policy, or comes with another period or from another collector boot, which are changes of
 * fact; `same` otherwise
 */
export function recordObservation(
  gateway: GatewayState,
  { kind, observedAtMs, periodMs, boot, nowMs, policies }: NewObservation,
): "older" | "fresh" | "same" {
  const seen = gateway.seen.get(kind);
  if (seen === undefined) {
    gateway.seen.set(kind, { observedAtMs, periodMs, cadenceMs: periodMs, boot });
    return "fresh";
  }
  if (observedAtMs < seen.observedAtMs) return "older";
  let wasStale = false;
  for (const policy of policies) if (nowMs >= factStaleAtMs(kind, seen, policy)) wasStale = true;
  const isOther = seen.periodMs !== periodMs || seen.boot !== boot;
  seen.observedAtMs = observedAtMs;
  seen.cadenceMs = Math.min(seen.periodMs, periodMs);
  seen.periodMs = periodMs;
  seen.boot = boot;
  return wasStale || isOther ? "fresh" : "same";
}

const PARTS = ["gateway_version", "skill_hash", "fragment_hash"] as const satisfies readonly (keyof Release)[];

/**
 * Applies the slice and the release of an envelope; call it before `recordObservation`. Every kind carries them: after an outage,
 * kinds arrive out of order, and an older one must not restore an earlier release.
 *
 * A collector that has just started does not report all parts yet, and such a part keeps its last value. One that reported a part
 * and no longer does cannot read it: the part is unknown. An older signal only supplies parts that were never reported.
 */
export function applyIdentity(gateway: GatewayState, signal: Signal, observedAtMs: number): boolean {
  const { release, claimed } = gateway;
  const isKnown = claimed === signal.slice && sameRelease(signal, release);
  // The usual case, once per signal: nothing is new, so its order does not matter.
  if (isKnown && hasReportedAll(gateway, signal)) return false;
  const isNewest = observedAtMs >= newestObservedAtMs(gateway);
  if (isKnown) {
    if (isNewest) rememberBoots(gateway, signal);
    return false;
  }
  if (isNewest) gateway.claimed = signal.slice;
  const next = Object.fromEntries(PARTS.map((part) => [part, latestPart(gateway, signal, part, isNewest)])) as unknown as Release;
  if (isNewest) rememberBoots(gateway, signal);
  const isSame = sameRelease(next, release);
  if (!isSame) {
    gateway.release = next;
    gateway.releaseSinceMs = observedAtMs;
  }
  return !isSame || gateway.claimed !== claimed;
}

function latestPart(
  { release, releaseBoots }: GatewayState,
  signal: Signal,
  part: keyof Release,
  isNewest: boolean,
): string | null {
  const reported = signal[part];
  if (!isNewest) return releaseBoots[part] === null ? (release[part] ?? reported) : release[part];
  return reported ?? (releaseBoots[part] === signal.collector_boot ? null : release[part]);
}

function rememberBoots({ releaseBoots }: GatewayState, signal: Signal): void {
  for (const part of PARTS) if (signal[part] !== null) releaseBoots[part] = signal.collector_boot;
}

/** Whether its collector boot has reported every part of the release before. */
function hasReportedAll({ releaseBoots }: GatewayState, { collector_boot }: Signal): boolean {
  return (
    releaseBoots.gateway_version === collector_boot &&
    releaseBoots.skill_hash === collector_boot &&
    releaseBoots.fragment_hash === collector_boot
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

/** @returns whether a fact changed; the canaries track the levels of their own policy's marks (`disk-marks.ts`) */
export function applyDisk(gateway: GatewayState, body: SignalBody<"disk">): boolean {
  const before = gateway.disk;
  gateway.disk = body;
  return before === null || before.writable !== body.writable;
}

const findings = (list: readonly { readonly check_id: string }[]): string => list.map((finding) => finding.check_id).join();

/** @param isContinuous whether the previous report was still current */
export function applyDoctor(
  gateway: GatewayState,
  body: SignalBody<"doctor">,
  { observedAtMs, isContinuous }: { readonly observedAtMs: number; readonly isContinuous: boolean },
): boolean {
  const before = gateway.doctor;
  gateway.findingsBegan = nextFindingsBegan({ before, began: gateway.findingsBegan, isContinuous }, body, observedAtMs);
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
