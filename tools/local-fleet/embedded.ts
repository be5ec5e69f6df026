/**
 * The whole local fleet in one process, on the in-memory bus: for machines without NATS and Redis, and for a first look. It has the
 * same services and parts, but neither a build lane (which needs Redis) nor persistence.
 */
import { readFileSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Bus, BusStatus } from "@aviary/shared/bus/bus.ts";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { type Clock, systemClock } from "@aviary/shared/runtime/clock.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { createLogger, type Logger } from "@aviary/shared/runtime/logger.ts";
import { createRegistry } from "@aviary/shared/runtime/metrics.ts";
import { parse, stringify } from "yaml";
import { readDesiredFleet, watchDesiredState } from "../../examples/fleet/src/desired-state.ts";
import { resetFleet } from "../../examples/fleet/src/faults.ts";
import { startGatewayOf } from "../../examples/fleet/src/gateway.ts";
import { type FleetPlan, paths, writeFileAtomically, writeJson } from "../../examples/fleet/src/layout.ts";
import { startLoad } from "../../examples/fleet/src/load.ts";
import { makePlan } from "../../examples/fleet/src/make-plan.ts";
import { startProxy } from "../../examples/fleet/src/proxy.ts";
import { loadCollectorConfig } from "../../services/collector/src/config.ts";
import { type Collector, startCollector } from "../../services/collector/src/service.ts";
import { resolveConfig } from "../../services/evaluator/src/core/resolved-config.ts";
import { startEvaluator } from "../../services/evaluator/src/service.ts";
import { followTokenFile, readTokenFile } from "../../services/shim/src/auth/token-file.ts";
import { startShim } from "../../services/shim/src/service.ts";
import { writeCollectorFiles } from "./collector-files.ts";
import type { LocalFleet, LocalFleetOptions } from "./compose.ts";
import { openBoundedLog } from "./log-file.ts";
import { choosePorts } from "./ports.ts";
import { prepareTokens } from "./tokens.ts";

type Stop = () => void | PromiseLike<void>;

export async function startEmbedded(options: Omit<LocalFleetOptions, "servers">): Promise<Omit<LocalFleet, "supervisor">> {
  const { directory, print } = options;
  // The log is in memory only, so events of an earlier session would arrive without their history.
  rmSync(join(directory, "control"), { recursive: true, force: true });
  const ports = (names: readonly string[]) => choosePorts(names, join(directory, "ports.json"));
  const fleetFile = withoutLanes(options.fleetFile, join(directory, "config", "aviary.yaml"));
  const plan = await makePlan({ ...options, fleetFile, servers: false, proxy: "built-in", choosePorts: ports });
  writeJson(paths.plan(directory), plan);
  const tokens = prepareTokens(plan);
  resetFleet(plan, options.weight);

  const log = openBoundedLog(paths.log(plan, "embedded"));
  const logger = createLogger({ service: "embedded", pretty: false, write: (line) => log.write(line) });
  const stops: Stop[] = [() => log.close()];
  let ended: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    ended ??= (async () => {
      for (const end of stops.splice(0).reverse()) await end();
    })();
    return ended;
  };
  try {
    const bus = createMemoryBus();
    stops.push(() => bus[Symbol.asyncDispose]());
    await startServices(plan, bus, logger, stops, print);
    const parts = await startParts(plan, bus, logger, stops);
    stops.push(applyDesiredState(plan, parts, print));
    const load = startLoad(plan);
    stops.push(load.stop);
  } catch (error) {
    await stop();
    throw error;
  }
  return { plan, tokens, first: true, stop };
}

/**
 * The fleet file without its build lanes: a lane that cannot be measured would hold every verdict. @returns the path of the copy
 */
function withoutLanes(original: string, copy: string): string {
  const file = parse(readFileSync(original, "utf8")) as {
    lanes?: unknown;
    canaries: Record<string, { lanes?: unknown; policy: string }>;
  };
  delete file.lanes;
  for (const canary of Object.values(file.canaries)) {
    delete canary.lanes;
    canary.policy = resolve(dirname(original), canary.policy);
  }
  writeFileAtomically(copy, `# Generated from ${original} by npm start --embedded.\n${stringify(file)}`);
  return copy;
}

async function startServices(
  plan: FleetPlan,
  bus: Bus,
  logger: Logger,
  stops: Stop[],
  print: (line: string) => void,
): Promise<void> {
  const { fleet, policies, policyHash } = await loadFleet(plan.fleetFile);
  const clock = systemClock;
  const end = new AbortController();
  const evaluator = startEvaluator({
    bus,
    config: resolveConfig(fleet, policies, policyHash),
    clock,
    log: logger.child("evaluator"),
    metrics: createRegistry(),
    holder: `embedded-${process.pid}`,
    signal: end.signal,
    onFatal: (error) => print(`the evaluator stopped: ${error instanceof Error ? error.message : String(error)}`),
  });
  stops.push(() => evaluator[Symbol.asyncDispose]());
  const content = await readTokenFile(paths.tokensFile(plan), clock.now());
  const file = followTokenFile({ content, clock, log: logger, intervalMs: 60_000 });
  stops.push(() => file[Symbol.dispose]());
  const shim = await startShim({ bus, fleet, policies, tokens: file, host: plan.host, port: plan.shimPort, clock, logger });
  stops.push(() => shim[Symbol.asyncDispose]());
}

interface Parts {
  readonly gateways: ReturnType<typeof switchable>[];
  readonly links: ReadonlyMap<string, ZoneConnection>;
  readonly offsets: Map<string, number>;
}

async function startParts(plan: FleetPlan, bus: Bus, logger: Logger, stops: Stop[]): Promise<Parts> {
  const gateways = plan.gateways.map(({ name }) => switchable(name, () => startGatewayOf(plan, name)));
  for (const gateway of gateways) {
    await gateway.set(true);
    stops.push(() => gateway.set(false));
  }
  const proxy = await startProxy(plan, () => undefined);
  stops.push(proxy.stop);
  const links = new Map([...new Set(plan.gateways.map(({ az }) => az))].map((az) => [az, createZoneConnection(bus)]));
  const offsets = new Map<string, number>();
  for (const gateway of plan.gateways) {
    writeCollectorFiles(plan, gateway);
    const collector: Collector = startCollector({
      config: await loadCollectorConfig(paths.collectorConfig(plan, gateway.name)),
      bus: links.get(gateway.az) as ZoneConnection,
      clock: wrongClock(() => offsets.get(gateway.name) ?? 0),
      logger: logger.child(`collector-${gateway.name}`),
      metrics: createRegistry(),
      dataDir: paths.collectorData(plan, gateway.name),
    });
    stops.push(() => collector[Symbol.asyncDispose]());
  }
  return { gateways, links, offsets };
}

function applyDesiredState(plan: FleetPlan, { gateways, links, offsets }: Parts, print: (line: string) => void): () => void {
  let work = Promise.resolve();
  const apply = async (): Promise<void> => {
    const desired = readDesiredFleet(plan);
    for (const gateway of gateways) await gateway.set(!desired.dead.includes(gateway.name));
    for (const [az, link] of links) link.set(!desired.cut.includes(az));
    for (const { name } of plan.gateways) offsets.set(name, desired.clockOffsetMs[name] ?? 0);
  };
  return watchDesiredState(
    paths.fleetControl(plan),
    () => readDesiredFleet(plan),
    () => {
      work = work.then(apply).catch((error: Error) => print(`applying a fleet change failed: ${error.message}`));
    },
  );
}

/** A part that can be stopped and started again under one name. */
function switchable(name: string, start: () => Promise<{ stop(): Promise<void> }>) {
  let running: { stop(): Promise<void> } | undefined;
  return {
    name,
    set: async (on: boolean): Promise<void> => {
      if (on === (running !== undefined)) return;
      if (running === undefined) running = await start();
      else {
        const stopping = running;
        running = undefined;
        await stopping.stop();
      }
    },
  };
}

/** The connection of one zone's collectors to the bus, which can be cut. */
interface ZoneConnection {
  readonly status: BusStatus;
  onStatus(listener: (status: BusStatus) => void): () => void;
  publish: Bus["publish"];
  set(whole: boolean): void;
}

function createZoneConnection(bus: Bus): ZoneConnection {
  const listeners = new Set<(status: BusStatus) => void>();
  let whole = true;
  const status = (): BusStatus => (whole ? bus.status : "reconnecting");
  return {
    get status() {
      return status();
    },
    onStatus: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    publish: (message) =>
      whole ? bus.publish(message) : Promise.reject(retryable("broker_unavailable", "the zone is cut off from the bus")),
    set: (next) => {
      if (next === whole) return;
      whole = next;
      for (const listener of [...listeners]) listener(status());
    },
  };
}

function wrongClock(offsetMs: () => number): Clock {
  return { ...systemClock, now: () => systemClock.now() + offsetMs() };
}
