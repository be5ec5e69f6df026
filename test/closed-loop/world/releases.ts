/** Releases and their true behavior towards users. */
import type { RandomChoices } from "../../simulation/choices.ts";
import type { MacPlan } from "./plan.ts";

export type ReleaseFault =
  | "none"
  | "slow-start"
  | "errors"
  | "late-errors"
  | "one-az"
  | "leak"
  | "crash-loop"
  | "slow"
  | "grey"
  | "fills-disk";

export interface ReleasePlan {
  readonly name: string;
  /** The time at which its spec reaches the controller. */
  readonly atMs: number;
  readonly fault: ReleaseFault;
  /** True error rate at full effect; for `slow`, the factor on every latency. */
  readonly size: number;
  /** Delay from the installation to the onset of the fault; for `leak`, to its full effect. */
  readonly onsetMs: number;
  /** The only AZ with the fault, for `one-az`. */
  readonly az: string | undefined;
  /** Delay from `atMs` until the pipeline starts to install the release on the canary Macs; negative if it starts before. */
  readonly installAfterMs: number;
}

/** The behavior of a Mac towards its users at one instant, without the environment. */
export interface Behavior {
  /** Probability that a request fails. */
  readonly errorRate: number;
  /** Factor on every latency. */
  readonly slowFactor: number;
}

/** The properties of a Mac on which a release's behavior depends. */
export interface Installation {
  readonly az: string;
  /** Since the release was installed. */
  readonly ageMs: number;
  /** Since the gateway process started. */
  readonly uptimeMs: number;
  /** Since the disk was last freed. */
  readonly diskMs: number;
}

const RELEASE_FAULTS: readonly ReleaseFault[] = [
  ...(["none", "none", "none", "none", "none", "none", "slow-start"] as const),
  ...(["errors", "errors", "late-errors", "one-az", "leak", "crash-loop", "slow", "grey", "fills-disk"] as const),
];

interface ReleaseContext {
  readonly name: string;
  readonly atMs: number;
  readonly macs: readonly MacPlan[];
  readonly windowMs: number;
}

/** Generates one release. */
export function drawRelease(random: RandomChoices, { name, atMs, macs, windowMs }: ReleaseContext): ReleasePlan {
  const fault = random.pick(RELEASE_FAULTS);
  const onsets: Partial<Record<ReleaseFault, number>> = {
    "late-errors": random.integer(3, 10) * windowMs,
    leak: random.integer(4, 16) * windowMs,
    "slow-start": windowMs / 6,
    "fills-disk": random.integer(2, 8) * windowMs,
  };
  return {
    name,
    atMs,
    fault,
    size: sizeOf(random, fault),
    onsetMs: onsets[fault] ?? 0,
    az: fault === "one-az" ? random.pick(macs.filter(({ slice }) => slice === "canary")).az : undefined,
    installAfterMs: random.pick([-1, -0.5, 0.05, 0.1, 0.2, 0.2, 1]) * windowMs,
  };
}

function sizeOf(random: RandomChoices, fault: ReleaseFault): number {
  if (fault === "slow") return random.pick([1.5, 2, 3]);
  if (fault === "grey") return random.pick([0.0075, 0.01, 0.015]);
  if (fault === "one-az") return random.pick([0.1, 0.3]);
  if (fault === "crash-loop") return 0.8;
  return random.pick([0.02, 0.03, 0.05, 0.1, 0.3]);
}

/** Lifetime of a crash-looping gateway process, and its start-up time, milliseconds. */
export const CRASH_LOOP_MS = 80_000;
const CRASH_STARTING_MS = 25_000;
/** A full disk makes half of the requests fail. */
const FULL_DISK_FAILS = 0.5;

/** The true behavior of a Mac with this release; `baseRate` is that of a healthy one. */
export function behaviorOf(release: ReleasePlan | undefined, mac: Installation, baseRate: number): Behavior {
  const healthy: Behavior = { errorRate: baseRate, slowFactor: 1 };
  if (release === undefined) return healthy;
  const { size, onsetMs } = release;
  const failing: Behavior = { errorRate: Math.max(baseRate, size), slowFactor: 1 };
  switch (release.fault) {
    case "none":
      return healthy;
    case "slow-start":
      return mac.ageMs < onsetMs ? failing : healthy;
    case "errors":
    case "grey":
      return failing;
    case "late-errors":
      return mac.ageMs < onsetMs ? healthy : failing;
    case "one-az":
      return mac.az === release.az ? failing : healthy;
    case "leak":
      return { errorRate: baseRate + size * Math.min(1, mac.ageMs / onsetMs), slowFactor: 1 };
    case "crash-loop":
      return mac.uptimeMs % CRASH_LOOP_MS < CRASH_STARTING_MS ? failing : healthy;
    case "slow":
      return { errorRate: baseRate, slowFactor: size };
    case "fills-disk":
      return mac.diskMs < 1.5 * onsetMs ? healthy : { errorRate: FULL_DISK_FAILS, slowFactor: 1 };
  }
}

/** Whether the release is harmless once it has started. */
export const isHealthy = ({ fault }: ReleasePlan): boolean => fault === "none" || fault === "slow-start";

/** Whether a judge must stop it. A release that is neither bad nor healthy is in the grey zone, where only damage is counted. */
export const isBad = ({ fault }: ReleasePlan): boolean => !["none", "slow-start", "grey"].includes(fault);

/** Share of the disk in use: a healthy Mac's, plus what the release has written. */
export function diskUsed(release: ReleasePlan | undefined, ageMs: number): number {
  if (release?.fault !== "fills-disk") return 0.5;
  return Math.min(0.99, 0.5 + (0.35 * ageMs) / release.onsetMs);
}
