/**
 * The main program of every service:
 * environment → logger → configuration → metrics → ops listener → bus → service, closed in reverse order.
 * A failed start closes what it has opened and exits with code 1.
 */
import type { z } from "zod";
import { type DeferredBus, deferredBus } from "../bus/deferred.ts";
import { connectNats } from "../bus/nats.ts";
import { type Clock, systemClock } from "./clock.ts";
import { ConfigError, checkEnv, loadAll } from "./config.ts";
import { createLogger, LOG_LEVELS } from "./logger.ts";
import { createRegistry, type Registry, registerProcessMetrics } from "./metrics.ts";
import { type NatsLogin, natsLogin } from "./nats-login.ts";
import { type Opened, openAll } from "./opened.ts";
import { type ReadyCheck, startOpsServer } from "./ops-server.ts";
import { runService, type ServiceContext } from "./run-service.ts";
import type { ServiceEnv } from "./service-env.ts";

export interface ServiceParts<Env, Config> extends ServiceContext {
  readonly env: Env;
  readonly config: Config;
  readonly metrics: Registry;
  /** Connects in the background: a service starts without its broker. */
  readonly bus: DeferredBus;
  /** Registers what the service opens; closed newest first. */
  readonly opened: Opened;
  /** Adds a check to `/readyz`. */
  readonly addCheck: (name: string, check: ReadyCheck) => void;
}

export interface ServiceDefinition<Schema extends z.ZodObject, Config> {
  readonly name: string;
  /** Built with `serviceEnv`. */
  readonly env: Schema;
  /** Reads the configuration files. @throws ConfigError with every problem */
  readonly load: (env: z.output<Schema>) => Promise<Config>;
  /** The client name shown by the broker's monitoring; `aviary-<name>` by default. */
  readonly clientName?: (config: Config) => string;
  /** Replaces the system clock, for drills with a wrong clock. */
  readonly clock?: (env: z.output<Schema>, system: Clock) => Clock;
  /** Opens the service's own parts and registers them with `opened`. */
  readonly start: (parts: ServiceParts<z.output<Schema>, Config>) => Promise<void>;
}

/** Runs the service until it is stopped or fails; sets the exit code of the process. Never rejects. */
export async function serviceMain<Schema extends z.ZodObject, Config>(service: ServiceDefinition<Schema, Config>): Promise<void> {
  const { name } = service;
  // An invalid level is reported by `load` together with all other problems of the environment.
  const level = LOG_LEVELS.find((known) => known === process.env.AVIARY_LOG_LEVEL) ?? "info";
  const log = createLogger({ service: name, level, clock: systemClock });
  await runService({
    name,
    log,
    start: (context) => openAll((opened) => open(service, context, opened)),
  });
}

async function open<Schema extends z.ZodObject, Config>(
  service: ServiceDefinition<Schema, Config>,
  context: ServiceContext,
  opened: Opened,
): Promise<void> {
  const { log, fail } = context;
  const { env, config, login } = await load(service);
  const common = env as unknown as ServiceEnv;
  const clock = service.clock?.(env, context.clock) ?? context.clock;
  const metrics = createRegistry();
  registerProcessMetrics(metrics, clock.now());
  const progress = { started: false };
  const ops = opened.add(await startOps(common, metrics, clock, () => (progress.started ? undefined : "starting")));
  log.info({ event: "ops.listening", host: ops.host, port: ops.port }, "serving /healthz, /readyz and /metrics");
  const client = service.clientName?.(config) ?? `aviary-${service.name}`;
  const connect = () => connectNats({ ...login, name: client, clock });
  const bus = opened.add(deferredBus({ connect, clock, random: Math.random, log }));
  bus.arrived.catch(fail);
  const addCheck = (name: string, check: ReadyCheck): void => void ops.addCheck(name, check);
  await service.start({ ...context, clock, env, config, metrics, bus, opened, addCheck });
  progress.started = true;
}

/** Reads environment, files and login. @throws ConfigError with the problems of all of them */
async function load<Schema extends z.ZodObject, Config>(service: ServiceDefinition<Schema, Config>) {
  const { problems, value: env } = checkEnv(service.env, process.env);
  if (env === undefined) throw new ConfigError(problems);
  const loads = [service.load(env), natsLogin(env as unknown as ServiceEnv)] as const;
  const [config, login] = await loadAll<[Config, NatsLogin]>(loads, problems);
  return { env, config, login };
}

function startOps(env: ServiceEnv, registry: Registry, clock: Clock, start: ReadyCheck) {
  return startOpsServer({ registry, host: env.AVIARY_OPS_HOST, port: env.AVIARY_OPS_PORT, clock, checks: { start } });
}

/** A readiness check for services that cannot work without their broker. */
export function brokerCheck(bus: DeferredBus): ReadyCheck {
  return () => (bus.status === "connected" ? undefined : `the broker is ${bus.status}`);
}
