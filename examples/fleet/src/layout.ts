/**
 * What the parts of one local fleet must agree on: who exists, on which ports, and where files lie.
 * The starter writes it once as `fleet.json` in the run directory; every part and every verb reads it from there.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface FleetGateway {
  readonly name: string;
  readonly az: string;
  readonly slice: "canary" | "stable";
  readonly tier: "1TB" | "2TB";
  /** The gateway's own port: what 18789 is on a Mac. */
  readonly port: number;
  /** The reverse proxy in front of this one gateway, which writes its access log. */
  readonly proxyPort: number;
}

export interface FleetPlan {
  readonly v: 1;
  /** The run directory: data, control files, logs. Absolute. */
  readonly directory: string;
  readonly host: string;
  readonly seed: number;
  readonly fleet: string;
  /** `<namespace>/<name>` */
  readonly canary: string;
  readonly lane: string;
  /** The zone whose lane this is. */
  readonly laneAz: string;
  readonly gateways: readonly FleetGateway[];
  /** Where users' requests arrive: split over the slices by weight. */
  readonly vipPort: number;
  /** Which reverse proxy writes the access logs. */
  readonly proxy: "caddy" | "built-in";
  /** Caddy's admin API; unused by the built-in proxy. */
  readonly proxyAdminPort: number;
  /** Absent with `--embedded`. */
  readonly natsPort?: number;
  readonly natsMonitorPort?: number;
  readonly redisPort?: number;
  /** One TCP relay an AZ between its collectors and NATS, so that the AZ can be cut off. */
  readonly relayPorts: Readonly<Record<string, number>>;
  readonly shimPort: number;
  /** Ops listeners (health, metrics) by service name. */
  readonly opsPorts: Readonly<Record<string, number>>;
  /** The release that the stable slice runs. */
  readonly stableVersion: string;
  /** Requests a second over all gateways. */
  readonly requestsPerSecond: number;
  /** `aviary.yaml` of this fleet. */
  readonly fleetFile: string;
  /** The directory of configuration fragments that every collector gets. */
  readonly fragments: string;
}

/** What the stable slice runs at first. */
export const STABLE_VERSION = "2026.9.6";

const PLAN_FILE = "fleet.json";

/** Where things lie below the run directory. */
export const places = {
  plan: (directory: string): string => join(directory, PLAN_FILE),
  gateway: (plan: FleetPlan, name: string): string => join(plan.directory, "gateways", name),
  accessLog: (plan: FleetPlan, name: string): string => join(places.gateway(plan, name), "access.jsonl"),
  skills: (plan: FleetPlan, name: string): string => join(places.gateway(plan, name), "skills"),
  fragments: (plan: FleetPlan, name: string): string => join(places.gateway(plan, name), "conf.d"),
  /** What the disk probe reads in place of the real volume. */
  statfs: (plan: FleetPlan, name: string): string => join(places.gateway(plan, name), "statfs.json"),
  state: (plan: FleetPlan, name: string): string => join(places.gateway(plan, name), "state"),
  collectorConfig: (plan: FleetPlan, name: string): string => join(places.gateway(plan, name), "collector.yaml"),
  collectorData: (plan: FleetPlan, name: string): string => join(places.gateway(plan, name), "collector"),
  gatewayControl: (plan: FleetPlan, name: string): string => join(plan.directory, "control", `gateway-${name}.json`),
  fleetControl: (plan: FleetPlan): string => join(plan.directory, "control", "fleet.json"),
  rollout: (plan: FleetPlan): string => join(plan.directory, "control", "rollout.json"),
  tokensFile: (plan: FleetPlan): string => join(plan.directory, "config", "tokens.yaml"),
  log: (plan: FleetPlan, part: string): string => join(plan.directory, "logs", `${part}.log`),
} as const;

/** Writes a file whole or not at all: readers poll these files while they change. */
export function writeWhole(path: string, content: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  const partial = `${path}.${process.pid}.partial`;
  writeFileSync(partial, content, { mode });
  renameSync(partial, path);
}

export function writeJson(path: string, value: unknown): void {
  writeWhole(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Names the directory of the fleet that was started last, below the project's `.aviary`. */
export const CURRENT_FILE = ".aviary/current";

/** The directory of the fleet that was started last from this project, or the usual one. */
export function currentDirectory(project: string): string {
  try {
    return readFileSync(join(project, CURRENT_FILE), "utf8").trim();
  } catch {
    return join(project, ".aviary", "run");
  }
}

/** The plan of the fleet that runs (or ran) in this directory. Throws with the way out when there is none. */
export function readPlan(directory: string): FleetPlan {
  let text: string;
  try {
    text = readFileSync(places.plan(directory), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new Error(`${places.plan(directory)} does not exist: start the local fleet first with \`npm start\``);
  }
  const plan = JSON.parse(text) as FleetPlan;
  if (plan.v !== 1)
    throw new Error(`${places.plan(directory)} has version ${String(plan.v)}, expected 1: delete the directory and start again`);
  return plan;
}

/** A gateway of the plan. @throws RangeError that lists the known names. */
export function gatewayOf(plan: FleetPlan, name: string): FleetGateway {
  const found = plan.gateways.find((gateway) => gateway.name === name);
  if (!found)
    throw new RangeError(`no gateway ${JSON.stringify(name)} here: ${plan.gateways.map((gateway) => gateway.name).join(", ")}`);
  return found;
}
