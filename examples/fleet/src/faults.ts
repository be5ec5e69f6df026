/** The faults that a local fleet can be given, and how to take them away again. Every fault is a change of control files, so it can be given from anywhere. */
import { rmSync } from "node:fs";
import { changeFleet, changeGateway, changeRollout, QUIET_FLEET, readFleetControl, readGatewayControl } from "./control.ts";
import { type FleetGateway, type FleetPlan, places, writeJson } from "./layout.ts";
import { installRelease, installSkills } from "./release.ts";

export interface Target {
  readonly az?: string;
  readonly slice?: "canary" | "stable";
  readonly gateway?: string;
}

interface Fault {
  readonly meaning: string;
  /** Where it strikes when nothing is said. */
  readonly where: Target;
  apply(plan: FleetPlan, gateways: readonly FleetGateway[]): void;
  /** What it strikes, where that is not just the chosen gateways. */
  strikes?(plan: FleetPlan, gateways: readonly FleetGateway[]): readonly FleetGateway[];
}

const ONE_CANARY: Target = { az: "az-b", slice: "canary" };
const names = (gateways: readonly FleetGateway[]): string[] => gateways.map((gateway) => gateway.name);
const union = (a: readonly string[], b: readonly string[]): string[] => [...new Set([...a, ...b])];

export const FAULTS = {
  "5xx": {
    meaning: "one work request in five is answered with 500",
    where: { slice: "canary" },
    apply: (plan, gateways) => each(gateways, (gateway) => changeGateway(plan, gateway.name, { errorRatio: 0.2 })),
  },
  slow: {
    meaning: "every work request takes 400 ms longer",
    where: { slice: "canary" },
    apply: (plan, gateways) => each(gateways, (gateway) => changeGateway(plan, gateway.name, { slowMs: 400 })),
  },
  skills: {
    meaning: "the skill pack was edited in place, so its hash differs",
    where: ONE_CANARY,
    apply: (plan, gateways) =>
      each(gateways, (gateway) => installSkills(plan, gateway, readGatewayControl(plan, gateway.name).version, true)),
  },
  disk: {
    meaning: "the state volume is 95 % full",
    where: ONE_CANARY,
    apply: (plan, gateways) => each(gateways, (gateway) => setDisk(plan, gateway, 0.95)),
  },
  dead: {
    meaning: "the gateway is killed and stays dead",
    where: ONE_CANARY,
    apply: (plan, gateways) => changeFleet(plan, { dead: union(readFleetControl(plan).dead, names(gateways)) }),
  },
  draining: {
    meaning: "the gateway drains: healthz says live, readyz says no",
    where: ONE_CANARY,
    apply: (plan, gateways) => each(gateways, (gateway) => changeGateway(plan, gateway.name, { state: "draining" })),
  },
  clock: {
    meaning: "the collector's clock is 30 s ahead",
    where: ONE_CANARY,
    apply: (plan, gateways) =>
      changeFleet(plan, {
        clockOffsetMs: {
          ...readFleetControl(plan).clockOffsetMs,
          ...Object.fromEntries(names(gateways).map((name) => [name, 30_000])),
        },
      }),
  },
  cut: {
    meaning: "the AZ's collectors cannot reach NATS and spool",
    where: { az: "az-b" },
    apply: (plan, gateways) =>
      changeFleet(plan, {
        cut: union(
          readFleetControl(plan).cut,
          gateways.map((gateway) => gateway.az),
        ),
      }),
    strikes: (plan, gateways) => plan.gateways.filter(({ az }) => gateways.some((gateway) => gateway.az === az)),
  },
  queue: {
    meaning: "40 jobs wait in the build lane",
    where: {},
    apply: (plan) => changeFleet(plan, { laneDepth: 40 }),
    strikes: () => [],
  },
} as const satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** Gives the fleet a fault. @returns the gateways that it strikes, none where it strikes no gateway. @throws RangeError for an unknown fault, or a target that fits no gateway */
export function giveFault(plan: FleetPlan, name: string, target: Target = {}): string[] {
  const fault: Fault | undefined = Object.hasOwn(FAULTS, name) ? FAULTS[name as FaultName] : undefined;
  if (fault === undefined) throw new RangeError(`no fault ${JSON.stringify(name)}: choose one of ${FAULT_NAMES.join(", ")}`);
  const chosen = Object.keys(target).length === 0 ? fault.where : target;
  const gateways = select(plan, chosen);
  if (gateways.length === 0) {
    const known = plan.gateways.map((gateway) => `${gateway.name} (${gateway.az}, ${gateway.slice})`).join(", ");
    throw new RangeError(`no gateway is ${JSON.stringify(chosen)}: there are ${known}`);
  }
  fault.apply(plan, gateways);
  return names(fault.strikes?.(plan, gateways) ?? gateways);
}

/** Takes every fault away; releases and weight stay as they are. */
export function heal(plan: FleetPlan): void {
  for (const gateway of plan.gateways) {
    changeGateway(plan, gateway.name, { errorRatio: 0, slowMs: 0, state: "up" });
    installSkills(plan, gateway, readGatewayControl(plan, gateway.name).version, false);
    setDisk(plan, gateway, HEALTHY_DISK);
  }
  changeFleet(plan, QUIET_FLEET);
}

/** Puts a release on a whole slice. */
export function release(plan: FleetPlan, slice: FleetGateway["slice"], version: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(version)) {
    throw new RangeError(`${JSON.stringify(version)} is no version: use letters, digits, dots, dashes, at most 63`);
  }
  for (const gateway of select(plan, { slice })) installRelease(plan, gateway, version);
}

/** The version that the stable slice runs now. */
export function stableVersion(plan: FleetPlan): string {
  const stable = plan.gateways.find((gateway) => gateway.slice === "stable");
  return stable ? readGatewayControl(plan, stable.name).version : plan.stableVersion;
}

export function setWeight(plan: FleetPlan, weight: number): void {
  if (!Number.isFinite(weight) || weight < 0 || weight > 100)
    throw new RangeError(`a weight is a number from 0 to 100, not ${weight}`);
  changeRollout(plan, { weight, phase: weight > 0 ? "Progressing" : "Initialized" });
}

const HEALTHY_DISK = 0.41;
const DISK_BYTES = { "1TB": 994_662_584_320, "2TB": 1_995_218_165_760 } as const;

/** What the collector's disk probe reads in place of the real volume. */
export function setDisk(plan: FleetPlan, gateway: FleetGateway, usedRatio: number): void {
  writeJson(places.statfs(plan, gateway.name), { total_bytes: DISK_BYTES[gateway.tier], used_ratio: usedRatio });
}

/** Everything as it is on a machine that was never touched: stable's release everywhere, no fault, a fifth of the traffic on the canary slice. */
export function resetFleet(plan: FleetPlan, weight: number): void {
  for (const gateway of plan.gateways) {
    rmSync(places.gatewayControl(plan, gateway.name), { force: true });
    installRelease(plan, gateway, plan.stableVersion);
  }
  heal(plan);
  setWeight(plan, weight);
}

function select(plan: FleetPlan, target: Target): FleetGateway[] {
  return plan.gateways.filter(
    (gateway) =>
      (target.az === undefined || gateway.az === target.az) &&
      (target.slice === undefined || gateway.slice === target.slice) &&
      (target.gateway === undefined || gateway.name === target.gateway),
  );
}

function each(gateways: readonly FleetGateway[], change: (gateway: FleetGateway) => void): void {
  for (const gateway of gateways) change(gateway);
}
