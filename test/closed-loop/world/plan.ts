/**
 * The plan of one world: its fleet, traffic and policy, the releases with their true behavior, and the injected faults. It
 * contains no rule of the product. Times are milliseconds since the start. Durations scale with the window, so that the same
 * kinds of worlds exist with short and with default windows.
 */
import type { PolicyFile } from "@aviary/shared/contract/policy.ts";
import type { Slice } from "@aviary/shared/contract/run.ts";
import { createChoices, type RandomChoices } from "../../simulation/choices.ts";
import { drawFaults, type InjectedFault } from "./faults.ts";
import { drawRelease, type ReleasePlan } from "./releases.ts";

export interface MacPlan {
  readonly name: string;
  readonly az: string;
  readonly slice: Slice;
}

/** Jobs waiting in the build queue from `atMs` on. */
export interface DemandPlan {
  readonly atMs: number;
  readonly jobs: number;
}

export type ControllerKind = "flagger" | "rollouts" | "none";

export interface WorldPlan {
  readonly seed: number;
  readonly policy: PolicyFile;
  readonly windowMs: number;
  /** Period of the http and health signals. */
  readonly periodMs: number;
  /** Analysis interval of the controller. */
  readonly intervalMs: number;
  readonly macs: readonly MacPlan[];
  readonly requestsPerWindow: number;
  /** True error rate and median latency of a healthy Mac. */
  readonly baseRate: number;
  readonly controller: ControllerKind;
  /** Weights in percent, in order; without a controller, the canary slice's constant share. */
  readonly steps: readonly number[];
  /** Whether the controller's hooks contain revision and pack. Otherwise only Flagger's checksum identifies the revision. */
  readonly namesRevision: boolean;
  /** How a revision is announced before the controller processes it. */
  readonly announcer: "none" | "pipeline" | "flux";
  /** Share of the controller's event messages that are lost. Argo Rollouts sends none where no notification is configured: 1. */
  readonly lostEvents: number;
  readonly releases: readonly ReleasePlan[];
  readonly faults: readonly InjectedFault[];
  readonly demand: readonly DemandPlan[];
  /** How long a condition lasts before the on-call engineer acts on it. */
  readonly onCallAfterMs: number;
  readonly endMs: number;
}

/**
 * The policy's ceilings. They are the agreement with the users, which the canary exists to protect, and not a rule of the
 * product.
 */
export const CEILING = 0.005;
export const SLOW_CEILING = 0.01;

const SHORT_WINDOW_MS = 60_000;
const SHIPPED_WINDOW_MS = 300_000;
const SHORT_POLICY: PolicyFile = {
  window: "60s",
  grace: "5s",
  warmup: "15s",
  holdBudget: "6m",
  maxPending: "24m",
  maxRun: "60m",
};

/** The values that replace the default policy in a world with short windows. */
export const SHORT = { policy: SHORT_POLICY, windowMs: SHORT_WINDOW_MS, periodMs: SHORT_WINDOW_MS / 5 } as const;

/** Windows after the last fault in which every rollout must end. */
const QUIET_WINDOWS = 40;

/** Generates the plan of one seed. */
export function planOf(seed: number): WorldPlan {
  const random = createChoices(seed, 11);
  const isShort = random.chance(0.75);
  const windowMs = isShort ? SHORT_WINDOW_MS : SHIPPED_WINDOW_MS;
  const macs = drawMacs(random);
  const controller = random.pick<ControllerKind>(["flagger", "flagger", "flagger", "rollouts", "rollouts", "none"]);
  // Without a controller, deployment and installation coincide.
  const releases = drawReleases(random, macs, windowMs).map((release) =>
    controller === "none" ? { ...release, installAfterMs: 0 } : release,
  );
  const lastMs = releases.at(-1)!.atMs;
  const faultsUntilMs = lastMs + random.integer(4, 20) * windowMs;
  const faults = drawFaults(random, { macs, windowMs, untilMs: faultsUntilMs, releases });
  const namesRevision = controller === "rollouts" || random.chance(0.7);
  return {
    seed,
    policy: isShort ? SHORT_POLICY : {},
    windowMs,
    periodMs: windowMs / 5,
    // A controller queries several times per window, or once.
    intervalMs: random.chance(0.6) ? (isShort ? 20_000 : 60_000) : windowMs,
    macs,
    requestsPerWindow: random.pick([500, 2_000, 2_000, 5_000, 10_000, 30_000]),
    baseRate: random.pick([0.0002, 0.0005, 0.001]),
    controller,
    steps:
      controller === "none"
        ? [20]
        : random.pick([
            [10, 30, 50],
            [10, 20, 40],
            [5, 10, 30, 50],
            [20, 50],
          ]),
    namesRevision,
    announcer: namesRevision && controller !== "none" ? random.pick(["none", "none", "none", "pipeline", "flux"]) : "none",
    lostEvents: random.chance(0.25) ? random.pick([0.1, 0.5, ...(controller === "rollouts" ? [1, 1] : [])]) : 0,
    releases,
    faults,
    demand: [...drawDemand(random, windowMs, faultsUntilMs), { atMs: faultsUntilMs, jobs: random.pick([0, 8]) }],
    onCallAfterMs: random.pick([2, 4, 8]) * windowMs,
    endMs: faultsUntilMs + QUIET_WINDOWS * windowMs,
  };
}

function drawMacs(random: RandomChoices): MacPlan[] {
  const azs = ["az-a", "az-b", "az-c"].slice(0, random.pick([1, 2, 2, 3]));
  const canaries = random.integer(1, 3);
  const stables = canaries + random.integer(0, 2);
  const inAz = (index: number): string => azs[index % azs.length]!;
  return [
    ...Array.from({ length: canaries }, (_, index): MacPlan => ({ name: `mac-c${index}`, az: inAz(index), slice: "canary" })),
    ...Array.from({ length: stables }, (_, index): MacPlan => ({ name: `mac-s${index}`, az: inAz(index), slice: "stable" })),
  ];
}

function drawReleases(random: RandomChoices, macs: readonly MacPlan[], windowMs: number): ReleasePlan[] {
  const count = random.pick([1, 1, 2, 2, 3]);
  const releases: ReleasePlan[] = [];
  let atMs = random.integer(4, 26) * windowMs;
  for (let index = 0; index < count; index++) {
    releases.push(drawRelease(random, { name: `v${index + 2}`, atMs, macs, windowMs }));
    atMs += random.integer(12, 32) * windowMs;
  }
  return releases;
}

/** The depth that the policy accepts; a deeper queue is a burst, which counts as a fault. */
const ACCEPTED_JOBS = 12;

function drawDemand(random: RandomChoices, windowMs: number, untilMs: number): DemandPlan[] {
  const demand: DemandPlan[] = [];
  for (let atMs = 0; atMs < untilMs; ) {
    const isBurst = random.chance(0.1);
    demand.push({ atMs, jobs: isBurst ? random.pick([20, 30, 60]) : random.pick([0, 4, 8, ACCEPTED_JOBS]) });
    atMs += isBurst ? 2 * windowMs : random.integer(4, 20) * windowMs;
  }
  return demand;
}

/** When the last fault of the plan ends, including bursts of the queue. */
export function plannedFaultsEndMs({ faults, demand }: Pick<WorldPlan, "faults" | "demand">): number {
  const burstEnds = demand.flatMap(({ jobs }, index) => (jobs > ACCEPTED_JOBS ? [demand[index + 1]?.atMs ?? 0] : []));
  return Math.max(0, ...faults.map(({ atMs, forMs }) => atMs + forMs), ...burstEnds);
}
