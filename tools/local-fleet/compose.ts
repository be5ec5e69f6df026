/**
 * Starts one local fleet as real processes, in dependency order, and applies its desired state: kill a gateway, cut a zone off,
 * skew a collector's clock.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readDesiredFleet, watchDesiredState } from "../../examples/fleet/src/desired-state.ts";
import { resetFleet } from "../../examples/fleet/src/faults.ts";
import { type FleetPlan, paths, writeJson } from "../../examples/fleet/src/layout.ts";
import { makePlan } from "../../examples/fleet/src/make-plan.ts";
import { type Relay, startRelay } from "../../examples/fleet/src/relay.ts";
import { COLLECTOR_NODE_FLAGS } from "../../scripts/node-flags.ts";
import { writeCollectorFiles } from "./collector-files.ts";
import { emptyDirectory } from "./directory-lock.ts";
import { waitForGuards } from "./orphan-reaper.ts";
import { choosePorts } from "./ports.ts";
import { accepts, answers, applyLocalStreams, natsSpec, redisSpec, type ServerPrograms } from "./servers.ts";
import { type ChildSpec, createSupervisor, type Supervisor } from "./supervisor.ts";
import { type LocalTokens, prepareTokens } from "./tokens.ts";

export const PROJECT = fileURLToPath(new URL("../..", import.meta.url));
const PARTS = join(PROJECT, "examples/fleet/src/main.ts");
const SERVICES = {
  collector: join(PROJECT, "services/collector/src/main.ts"),
  evaluator: join(PROJECT, "services/evaluator/src/main.ts"),
  shim: join(PROJECT, "services/shim/src/main.ts"),
} as const;

export interface LocalFleetOptions {
  /** The fleet's directory. Absolute. */
  readonly directory: string;
  readonly fleetFile: string;
  /** Configuration fragments for every collector. */
  readonly fragments: string;
  /** Start with an empty directory; the caller holds its lock. */
  readonly fresh: boolean;
  readonly servers: ServerPrograms;
  readonly seed: number;
  readonly requestsPerSecond: number;
  /** Percent of the traffic on the canary slice, when the fleet is set up for the first time. */
  readonly weight: number;
  readonly print: (line: string) => void;
  /** Stops everything started so far. */
  readonly signal?: AbortSignal;
}

export interface LocalFleet {
  readonly plan: FleetPlan;
  readonly tokens: LocalTokens;
  /** Whether the directory contained no earlier fleet. */
  readonly first: boolean;
  readonly supervisor: Supervisor;
  stop(): Promise<void>;
}

/** Starts everything, or stops what was started and throws the reason. */
export async function startFleet(options: LocalFleetOptions): Promise<LocalFleet> {
  const { directory, servers, print } = options;
  const groupsFile = join(directory, "groups");
  // This precedes emptying the directory and choosing ports, because the processes of a killed starter still use both.
  await waitForGuards(groupsFile);
  if (options.fresh) emptyDirectory(directory);
  const plan = await makePlan({
    directory,
    fleetFile: options.fleetFile,
    fragments: options.fragments,
    seed: options.seed,
    requestsPerSecond: options.requestsPerSecond,
    servers: true,
    proxy: servers.caddy === undefined ? "built-in" : "caddy",
    choosePorts: (names) => choosePorts(names, join(directory, "ports.json")),
  });
  const first = isNew(plan);
  writeJson(paths.plan(directory), plan);
  const tokens = prepareTokens(plan);
  if (first) resetFleet(plan, options.weight);
  for (const gateway of plan.gateways) writeCollectorFiles(plan, gateway);

  const supervisor = createSupervisor({ groupsFile, print });
  const relays = new Map<string, Relay>();
  let stopWatching = (): void => {};
  let ended: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    ended ??= (async () => {
      stopWatching();
      await supervisor.stopAll();
      await Promise.all([...relays.values()].map((relay) => relay.stop()));
    })();
    return ended;
  };
  options.signal?.addEventListener("abort", () => void stop(), { once: true });
  try {
    await Promise.all([supervisor.start(natsSpec(plan, servers.nats)), supervisor.start(redisSpec(plan, servers.redis))]);
    await applyLocalStreams(plan);
    for (const [az, port] of Object.entries(plan.relayPorts))
      relays.set(az, await startRelay(plan.host, port, plan.natsPort ?? 0));
    const desired = readDesiredFleet(plan);
    await Promise.all([
      ...plan.gateways
        .filter(({ name }) => !desired.dead.includes(name))
        .map(({ name }) => supervisor.start(gatewaySpec(plan, name))),
      supervisor.start(partSpec(plan, "proxy", () => accepts(plan.host, plan.vipPort), servers)),
      supervisor.start(partSpec(plan, "lane", async () => true)),
      supervisor.start(evaluatorSpec(plan)),
      supervisor.start(shimSpec(plan)),
    ]);
    await Promise.all(
      plan.gateways.map(({ name }) => supervisor.start(collectorSpec(plan, name, desired.clockOffsetMs[name] ?? 0))),
    );
    await supervisor.start(partSpec(plan, "load", async () => true));
    stopWatching = applyDesiredState(plan, supervisor, relays, print);
  } catch (error) {
    await stop();
    throw error;
  }
  return { plan, tokens, first, supervisor, stop };
}

function isNew(plan: FleetPlan): boolean {
  return plan.gateways.some(({ name }) => !existsSync(paths.gatewayControl(plan, name)));
}

/** Applies the desired state to the processes, one change after the other. @returns a function that stops it */
function applyDesiredState(
  plan: FleetPlan,
  supervisor: Supervisor,
  relays: ReadonlyMap<string, Relay>,
  print: (line: string) => void,
): () => void {
  let offsets = readDesiredFleet(plan).clockOffsetMs;
  let work = Promise.resolve();
  const apply = async (): Promise<void> => {
    const desired = readDesiredFleet(plan);
    for (const { name } of plan.gateways) {
      const dead = desired.dead.includes(name);
      if (dead && supervisor.isRunning(`gateway-${name}`)) await supervisor.stop(`gateway-${name}`, "kill");
      if (!dead && !supervisor.isKept(`gateway-${name}`)) await supervisor.start(gatewaySpec(plan, name));
      const offset = desired.clockOffsetMs[name] ?? 0;
      if (offset !== (offsets[name] ?? 0)) {
        await supervisor.stop(`collector-${name}`);
        await supervisor.start(collectorSpec(plan, name, offset));
      }
    }
    offsets = desired.clockOffsetMs;
    for (const [az, relay] of relays) await (desired.cut.includes(az) ? relay.cut() : relay.heal());
  };
  return watchDesiredState(
    paths.fleetControl(plan),
    () => readDesiredFleet(plan),
    () => {
      work = work.then(apply).catch((error: Error) => print(`applying a fleet change failed: ${error.message}`));
    },
  );
}

function partSpec(
  plan: FleetPlan,
  part: "proxy" | "lane" | "load",
  ready: () => Promise<boolean>,
  servers?: ServerPrograms,
): ChildSpec {
  return {
    ...nodeSpec(plan, part, PARTS, [part, plan.directory]),
    env: { ...nodeEnv(plan), ...(servers?.caddy === undefined ? {} : { AVIARY_CADDY_BIN: servers.caddy }) },
    ready,
    phase: part === "load" ? 3 : 1,
  };
}

function gatewaySpec(plan: FleetPlan, name: string): ChildSpec {
  const { port } = plan.gateways.find((gateway) => gateway.name === name) ?? { port: 0 };
  return {
    ...nodeSpec(plan, `gateway-${name}`, PARTS, ["gateway", plan.directory, name]),
    ready: () => answers(`http://${plan.host}:${port}/healthz`),
    phase: 1,
  };
}

export function evaluatorSpec(plan: FleetPlan): ChildSpec {
  const port = plan.opsPorts.evaluator ?? 0;
  return {
    ...nodeSpec(plan, "evaluator", SERVICES.evaluator, []),
    env: { ...nodeEnv(plan), AVIARY_FLEET_FILE: plan.fleetFile, AVIARY_NATS_URL: natsUrl(plan), AVIARY_OPS_PORT: String(port) },
    ready: () => answers(`http://${plan.host}:${port}/readyz`),
    phase: 2,
  };
}

export function shimSpec(plan: FleetPlan): ChildSpec {
  const port = plan.opsPorts["shim-ops"] ?? 0;
  return {
    ...nodeSpec(plan, "shim", SERVICES.shim, []),
    env: {
      ...nodeEnv(plan),
      AVIARY_FLEET_FILE: plan.fleetFile,
      AVIARY_TOKENS_FILE: paths.tokensFile(plan),
      AVIARY_NATS_URL: natsUrl(plan),
      AVIARY_SHIM_HOST: plan.host,
      AVIARY_SHIM_PORT: String(plan.shimPort),
      AVIARY_OPS_PORT: String(port),
    },
    // The operations listener opens before the shim's own.
    ready: async () => (await answers(`http://${plan.host}:${port}/healthz`)) && accepts(plan.host, plan.shimPort),
    phase: 2,
  };
}

export function collectorSpec(plan: FleetPlan, name: string, clockOffsetMs: number): ChildSpec {
  const port = plan.opsPorts[`collector-${name}`] ?? 0;
  const az = plan.gateways.find((gateway) => gateway.name === name)?.az ?? "";
  return {
    ...nodeSpec(plan, `collector-${name}`, SERVICES.collector, [], COLLECTOR_NODE_FLAGS),
    env: {
      ...nodeEnv(plan),
      AVIARY_COLLECTOR_FILE: paths.collectorConfig(plan, name),
      AVIARY_DATA_DIR: paths.collectorData(plan, name),
      // Through the relay of its zone, so that the zone can be cut off.
      AVIARY_NATS_URL: `nats://${plan.host}:${plan.relayPorts[az]}`,
      AVIARY_OPS_PORT: String(port),
      ...(clockOffsetMs === 0 ? {} : { AVIARY_TEST_CLOCK_OFFSET_MS: String(clockOffsetMs) }),
    },
    ready: () => answers(`http://${plan.host}:${port}/healthz`),
    phase: 2,
  };
}

const natsUrl = (plan: FleetPlan): string => `nats://${plan.host}:${plan.natsPort}`;

function nodeSpec(
  plan: FleetPlan,
  name: string,
  file: string,
  args: readonly string[],
  flags: readonly string[] = [],
): Pick<ChildSpec, "name" | "command" | "args" | "env" | "logFile"> {
  return {
    name,
    command: process.execPath,
    args: [...flags, file, ...args],
    env: nodeEnv(plan),
    logFile: paths.log(plan, name),
  };
}

/** Compiled code is cached between starts: twenty processes start in half the time. */
function nodeEnv(plan: FleetPlan): Readonly<Record<string, string>> {
  return { NODE_COMPILE_CACHE: join(plan.directory, "..", "compile-cache"), NODE_NO_WARNINGS: "1" };
}
