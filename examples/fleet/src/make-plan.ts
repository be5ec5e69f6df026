/** Builds a plan from a fleet file and the caller's ports. */
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { type FleetPlan, STABLE_VERSION } from "./layout.ts";

export interface PlanOptions {
  readonly directory: string;
  readonly fleetFile: string;
  readonly fragments: string;
  readonly seed: number;
  readonly requestsPerSecond: number;
  /** Whether the fleet has NATS and Redis; false with `--embedded`. */
  readonly servers: boolean;
  readonly proxy: FleetPlan["proxy"];
  /** Chooses a port for each name. */
  readonly choosePorts: (names: readonly string[]) => Promise<Readonly<Record<string, number>>>;
}

/** Reads the fleet file and its policies, and plans its first canary. @throws ConfigError with every problem of these files. */
export async function makePlan(options: PlanOptions): Promise<FleetPlan> {
  const { fleet: file } = await loadFleet(options.fleetFile);
  const [canary, entry] = Object.entries(file.canaries)[0] ?? [];
  if (canary === undefined || entry === undefined)
    throw new Error(`${options.fleetFile} lists no canary: add one under "canaries"`);
  const gateways = file.fleets[entry.fleet]?.gateways ?? [];
  const lane = entry.lanes[0] ?? "build";
  const azs = [...new Set(gateways.map((gateway) => gateway.az))];
  const collectors = gateways.map((gateway) => `collector-${gateway.name}`);
  const names = [
    "vip",
    "shim",
    ...gateways.flatMap(({ name }) => [`gateway-${name}`, `proxy-${name}`]),
    ...["proxy-admin", "evaluator", "shim-ops", ...collectors],
    ...(options.servers ? ["nats", "nats-monitor", "redis", ...azs.map((az) => `relay-${az}`)] : []),
  ];
  const ports = await options.choosePorts(names);
  const port = (name: string): number => {
    const chosen = ports[name];
    if (chosen === undefined) throw new Error(`choosePorts returned no port for ${name}`);
    return chosen;
  };
  return {
    v: 1,
    directory: options.directory,
    host: "127.0.0.1",
    seed: options.seed,
    fleet: entry.fleet,
    canary,
    lane,
    laneAz: file.lanes[lane]?.az ?? "",
    gateways: gateways.map((gateway) => ({
      ...gateway,
      port: port(`gateway-${gateway.name}`),
      proxyPort: port(`proxy-${gateway.name}`),
    })),
    vipPort: port("vip"),
    proxy: options.proxy,
    proxyAdminPort: port("proxy-admin"),
    ...(options.servers ? { natsPort: port("nats"), natsMonitorPort: port("nats-monitor"), redisPort: port("redis") } : {}),
    relayPorts: options.servers ? Object.fromEntries(azs.map((az) => [az, port(`relay-${az}`)])) : {},
    shimPort: port("shim"),
    opsPorts: Object.fromEntries(["evaluator", "shim-ops", ...collectors].map((name) => [name, port(name)])),
    stableVersion: STABLE_VERSION,
    requestsPerSecond: options.requestsPerSecond,
    fleetFile: options.fleetFile,
    fragments: options.fragments,
  };
}
