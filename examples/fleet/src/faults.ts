/** Faults of the local fleet: inject and heal them. A fault only edits desired-state files, so any process can inject it. */
import { rmSync } from "node:fs";
import {
  changeFleet,
  changeGateway,
  changeRollout,
  HEALTHY_FLEET,
  readDesiredFleet,
  readDesiredGateway,
} from "./desired-state.ts";
import { type FleetGateway, type FleetPlan, paths, writeJson } from "./layout.ts";
import { installRelease, installSkills } from "./release.ts";

export interface FaultTarget {
  readonly az?: string;
  readonly slice?: "canary" | "stable";
  readonly gateway?: string;
}

interface Fault {
  readonly meaning: string;
  /** The default target. */
  readonly defaultTarget: FaultTarget;
  apply(plan: FleetPlan, gateways: readonly FleetGateway[]): void;
  /** The affected gateways, if they differ from the selected ones. */
  affectedGateways?(plan: FleetPlan, gateways: readonly FleetGateway[]): readonly FleetGateway[];
}

const ONE_CANARY: FaultTarget = { az: "az-b", slice: "canary" };
const names = (gateways: readonly FleetGateway[]): string[] => gateways.map((gateway) => gateway.name);
const union = (left: readonly string[], right: readonly string[]): string[] => [...new Set([...left, ...right])];

export const FAULTS = {
  "5xx": {
    meaning: "one in five work requests returns 500",
    defaultTarget: { slice: "canary" },
    apply: (plan, gateways) => forEachGateway(gateways, (gateway) => changeGateway(plan, gateway.name, { errorRatio: 0.2 })),
  },
  slow: {
    meaning: "work requests take an extra 400 ms",
    defaultTarget: { slice: "canary" },
    apply: (plan, gateways) => forEachGateway(gateways, (gateway) => changeGateway(plan, gateway.name, { slowMs: 400 })),
  },
  skills: {
    meaning: "the skill pack is edited in place, so its hash differs",
    defaultTarget: ONE_CANARY,
    apply: (plan, gateways) =>
      forEachGateway(gateways, (gateway) => installSkills(plan, gateway, readDesiredGateway(plan, gateway.name).version, true)),
  },
  disk: {
    meaning: "the state volume is 95% full",
    defaultTarget: ONE_CANARY,
    apply: (plan, gateways) => forEachGateway(gateways, (gateway) => setDisk(plan, gateway, 0.95)),
  },
  dead: {
    meaning: "the gateway process is killed and not restarted",
    defaultTarget: ONE_CANARY,
    apply: (plan, gateways) => changeFleet(plan, { dead: union(readDesiredFleet(plan).dead, names(gateways)) }),
  },
  draining: {
    meaning: "the gateway drains: /healthz is live, /readyz returns 503",
    defaultTarget: ONE_CANARY,
    apply: (plan, gateways) => forEachGateway(gateways, (gateway) => changeGateway(plan, gateway.name, { state: "draining" })),
  },
  clock: {
    meaning: "the collector's clock is 30 s ahead",
    defaultTarget: ONE_CANARY,
    apply: (plan, gateways) =>
      changeFleet(plan, {
        clockOffsetMs: {
          ...readDesiredFleet(plan).clockOffsetMs,
          ...Object.fromEntries(names(gateways).map((name) => [name, 30_000])),
        },
      }),
  },
  cut: {
    meaning: "the collectors of the AZ cannot reach NATS and spool signals",
    defaultTarget: { az: "az-b" },
    apply: (plan, gateways) =>
      changeFleet(plan, {
        cut: union(
          readDesiredFleet(plan).cut,
          gateways.map((gateway) => gateway.az),
        ),
      }),
    affectedGateways: (plan, gateways) => plan.gateways.filter(({ az }) => gateways.some((gateway) => gateway.az === az)),
  },
  queue: {
    meaning: "40 jobs wait in the build lane",
    defaultTarget: {},
    apply: (plan) => changeFleet(plan, { laneDepth: 40 }),
    affectedGateways: () => [],
  },
} as const satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/**
 * Injects a fault. @returns the affected gateways, possibly none. @throws RangeError for an unknown fault, or a target that
 * matches no gateway.
 */
export function injectFault(plan: FleetPlan, name: string, target: FaultTarget = {}): string[] {
  const fault: Fault | undefined = Object.hasOwn(FAULTS, name) ? FAULTS[name as FaultName] : undefined;
  if (fault === undefined) throw new RangeError(`unknown fault ${JSON.stringify(name)}: choose one of ${FAULT_NAMES.join(", ")}`);
  const selected = Object.keys(target).length === 0 ? fault.defaultTarget : target;
  const gateways = select(plan, selected);
  if (gateways.length === 0) {
    const known = plan.gateways.map((gateway) => `${gateway.name} (${gateway.az}, ${gateway.slice})`).join(", ");
    const options = Object.entries(selected).map(([key, value]) => `--${key} ${value}`);
    throw new RangeError(`no gateway matches ${options.join(" ")}; the fleet has: ${known}`);
  }
  fault.apply(plan, gateways);
  return names(fault.affectedGateways?.(plan, gateways) ?? gateways);
}

/** Heals every fault. Releases and weight do not change. */
export function heal(plan: FleetPlan): void {
  for (const gateway of plan.gateways) {
    changeGateway(plan, gateway.name, { errorRatio: 0, slowMs: 0, state: "up" });
    installSkills(plan, gateway, readDesiredGateway(plan, gateway.name).version, false);
    setDisk(plan, gateway, HEALTHY_USED_RATIO);
  }
  changeFleet(plan, HEALTHY_FLEET);
}

/** Installs a release on every gateway of a slice. */
export function release(plan: FleetPlan, slice: FleetGateway["slice"], version: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(version)) {
    throw new RangeError(
      `invalid version ${JSON.stringify(version)}: use at most 63 letters, digits, dots, underscores and dashes`,
    );
  }
  for (const gateway of select(plan, { slice })) installRelease(plan, gateway, version);
}

/** The version that the stable slice runs. */
export function stableVersion(plan: FleetPlan): string {
  const stable = plan.gateways.find((gateway) => gateway.slice === "stable");
  return stable ? readDesiredGateway(plan, stable.name).version : plan.stableVersion;
}

export function setWeight(plan: FleetPlan, weight: number): void {
  if (!Number.isFinite(weight) || weight < 0 || weight > 100)
    throw new RangeError(`invalid weight ${weight}: use a number from 0 to 100`);
  changeRollout(plan, { weight, phase: weight > 0 ? "Progressing" : "Initialized" });
}

const HEALTHY_USED_RATIO = 0.41;
const DISK_BYTES = { "1TB": 994_662_584_320, "2TB": 1_995_218_165_760 } as const;

/** Sets the disk usage that the collector's disk probe reads instead of the real volume. */
export function setDisk(plan: FleetPlan, gateway: FleetGateway, usedRatio: number): void {
  writeJson(paths.statfs(plan, gateway.name), { total_bytes: DISK_BYTES[gateway.tier], used_ratio: usedRatio });
}

/** Resets the fleet: stable's release on every gateway, no faults, and the given canary weight. */
export function resetFleet(plan: FleetPlan, weight: number): void {
  for (const gateway of plan.gateways) {
    rmSync(paths.gatewayControl(plan, gateway.name), { force: true });
    installRelease(plan, gateway, plan.stableVersion);
  }
  heal(plan);
  setWeight(plan, weight);
}

function select(plan: FleetPlan, target: FaultTarget): FleetGateway[] {
  return plan.gateways.filter(
    (gateway) =>
      (target.az === undefined || gateway.az === target.az) &&
      (target.slice === undefined || gateway.slice === target.slice) &&
      (target.gateway === undefined || gateway.name === target.gateway),
  );
}

function forEachGateway(gateways: readonly FleetGateway[], change: (gateway: FleetGateway) => void): void {
  for (const gateway of gateways) change(gateway);
}
