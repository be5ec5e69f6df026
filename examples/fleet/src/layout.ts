/**
 * The plan that the parts of one local fleet share: gateways, ports and file paths.
 * `npm start` writes it once as `fleet.json` in the run directory, and every part and command reads it from there.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export interface FleetGateway {
  readonly name: string;
  readonly az: string;
  readonly slice: "canary" | "stable";
  readonly tier: "1TB" | "2TB";
  /** The gateway's own port; 18789 on a real Mac. */
  readonly port: number;
  /** Port of the reverse proxy in front of this gateway, which writes its access log. */
  readonly proxyPort: number;
}

export interface FleetPlan {
  readonly v: 1;
  /** Absolute path of the run directory: data, desired state, logs. */
  readonly directory: string;
  readonly host: string;
  readonly seed: number;
  readonly fleet: string;
  /** `<namespace>/<name>` */
  readonly canary: string;
  readonly lane: string;
  /** The AZ of the lane. */
  readonly laneAz: string;
  readonly gateways: readonly FleetGateway[];
  /** Port for user requests, which are split across the slices by weight. */
  readonly vipPort: number;
  /** The reverse proxy that writes the access logs. */
  readonly proxy: "caddy" | "built-in";
  /** Port of Caddy's admin API; unused by the built-in proxy. */
  readonly proxyAdminPort: number;
  /** Absent with `--embedded`. */
  readonly natsPort?: number;
  readonly natsMonitorPort?: number;
  readonly redisPort?: number;
  /** Ports of the TCP relays, one per AZ between its collectors and NATS, so that the AZ can be cut off. */
  readonly relayPorts: Readonly<Record<string, number>>;
  readonly shimPort: number;
  /** Ports of the ops listeners (health, metrics) by service name. */
  readonly opsPorts: Readonly<Record<string, number>>;
  /** The release that the stable slice runs. */
  readonly stableVersion: string;
  /** Requests per second across all gateways. */
  readonly requestsPerSecond: number;
  /** Path of this fleet's `aviary.yaml`. */
  readonly fleetFile: string;
  /** Directory of configuration fragments shared by all collectors. */
  readonly fragments: string;
}

/** Initial release of the stable slice. */
export const STABLE_VERSION = "2026.9.6";

const PLAN_FILE = "fleet.json";

/** Paths below the run directory. */
export const paths = {
  plan: (directory: string): string => join(directory, PLAN_FILE),
  gateway: (plan: FleetPlan, name: string): string => join(plan.directory, "gateways", name),
  accessLog: (plan: FleetPlan, name: string): string => join(paths.gateway(plan, name), "access.jsonl"),
  skills: (plan: FleetPlan, name: string): string => join(paths.gateway(plan, name), "skills"),
  fragments: (plan: FleetPlan, name: string): string => join(paths.gateway(plan, name), "conf.d"),
  /** Disk usage that the disk probe reads instead of the real volume. */
  statfs: (plan: FleetPlan, name: string): string => join(paths.gateway(plan, name), "statfs.json"),
  state: (plan: FleetPlan, name: string): string => join(paths.gateway(plan, name), "state"),
  collectorConfig: (plan: FleetPlan, name: string): string => join(paths.gateway(plan, name), "collector.yaml"),
  collectorData: (plan: FleetPlan, name: string): string => join(paths.gateway(plan, name), "collector"),
  gatewayControl: (plan: FleetPlan, name: string): string => join(plan.directory, "control", `gateway-${name}.json`),
  fleetControl: (plan: FleetPlan): string => join(plan.directory, "control", "fleet.json"),
  rollout: (plan: FleetPlan): string => join(plan.directory, "control", "rollout.json"),
  tokensFile: (plan: FleetPlan): string => join(plan.directory, "config", "tokens.yaml"),
  log: (plan: FleetPlan, part: string): string => join(plan.directory, "logs", `${part}.log`),
} as const;

/** Replaces a file atomically, because readers poll it. */
export function writeFileAtomically(path: string, content: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  const partial = `${path}.${process.pid}.partial`;
  writeFileSync(partial, content, { mode });
  renameSync(partial, path);
}

export function writeJson(path: string, value: unknown): void {
  writeFileAtomically(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** The connection settings of the running local fleet, for the command line. */
export const SETTINGS_FILE = ".aviary/cli.json";

/** Holds the run directory of the most recently started fleet. */
export const CURRENT_FILE = ".aviary/current";

/** The checkout that contains this program; undefined for a bundle outside one. */
export function checkoutDirectory(): string | undefined {
  const directory = fileURLToPath(new URL("../../../", import.meta.url));
  return existsSync(join(directory, "examples/fleet/src/layout.ts")) ? directory : undefined;
}

/**
 * The run directory of the fleet most recently started from this project, or the default one. It does not depend on the working
 * directory.
 * @throws Error that names `--directory` outside a project
 */
export function currentDirectory(project: string | undefined = checkoutDirectory()): string {
  if (project === undefined) throw new Error("not inside an Aviary checkout; select the local fleet with --directory <folder>");
  try {
    return readFileSync(join(project, CURRENT_FILE), "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return join(project, ".aviary", "run");
  }
}

/** The plan of the fleet in this run directory. @throws Error with the fix if there is none. */
export function readPlan(directory: string): FleetPlan {
  let text: string;
  try {
    text = readFileSync(paths.plan(directory), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new Error(`${paths.plan(directory)} not found: start the local fleet first with \`npm start\``);
  }
  const plan = JSON.parse(text) as FleetPlan;
  if (plan.v !== 1)
    throw new Error(
      `${paths.plan(directory)} has version ${String(plan.v)}, expected 1: delete the directory and run npm start again`,
    );
  return plan;
}

/** Finds a gateway of the plan. @throws RangeError that lists the valid names. */
export function gatewayOf(plan: FleetPlan, name: string): FleetGateway {
  const found = plan.gateways.find((gateway) => gateway.name === name);
  if (!found)
    throw new RangeError(
      `unknown gateway ${JSON.stringify(name)}; gateways: ${plan.gateways.map((gateway) => gateway.name).join(", ")}`,
    );
  return found;
}
