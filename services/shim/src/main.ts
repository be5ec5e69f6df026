/** The shim as a process of its own. */
import { readFile } from "node:fs/promises";
import { deferredBus } from "@aviary/shared/bus/deferred.ts";
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { readEnv } from "@aviary/shared/runtime/config.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { createLogger } from "@aviary/shared/runtime/logger.ts";
import { createRegistry, registerProcessMetrics } from "@aviary/shared/runtime/metrics.ts";
import { startOpsServer } from "@aviary/shared/runtime/ops-server.ts";
import { runService, type ServiceContext } from "@aviary/shared/runtime/run-service.ts";
import { openTokenFile } from "./auth/token-file.ts";
import { shimEnvSchema } from "./config.ts";
import { startShim } from "./server.ts";

/** The longest interval of any controller in the fleet decides how long two tokens must overlap at least. */
function longestIntervalMs(fleet: Awaited<ReturnType<typeof loadFleet>>["fleet"]): number {
  const intervals = Object.values(fleet.canaries).flatMap(({ callers }) =>
    Object.values(callers).map((caller) => caller?.interval ?? 0),
  );
  return Math.max(60_000, ...intervals);
}

async function start({ log, clock, fail }: ServiceContext): Promise<AsyncDisposable> {
  const env = readEnv(shimEnvSchema, process.env);
  const { fleet, policies } = await loadFleet(env.AVIARY_FLEET_FILE);
  const metrics = createRegistry();
  registerProcessMetrics(metrics, clock.now());
  const open: (() => void | PromiseLike<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const dispose of open.splice(0).reverse()) await dispose();
  };
  try {
    const tokens = await openTokenFile({ path: env.AVIARY_TOKENS_FILE, clock, log, intervalMs: longestIntervalMs(fleet) });
    open.push(() => tokens[Symbol.dispose]());
    const servers = env.AVIARY_NATS_URL.split(",");
    const creds = env.AVIARY_NATS_CREDS_FILE === undefined ? {} : { creds: await readFile(env.AVIARY_NATS_CREDS_FILE, "utf8") };
    const connect = () => connectNats({ servers, name: "aviary-shim", clock, ...creds });
    // Controllers are answered, with a hold, whether or not there is a broker.
    const bus = deferredBus({ connect, clock, random: Math.random, log });
    bus.arrived.catch(fail);
    open.push(() => bus[Symbol.asyncDispose]());
    const { AVIARY_SHIM_HOST: host, AVIARY_SHIM_PORT: port } = env;
    const shim = await startShim({ bus, fleet, policies, tokens, host, port, clock, logger: log, metrics });
    open.push(() => shim[Symbol.asyncDispose]());
    const checks = { shim: shim.notReady, tokens: () => tokens.problem() };
    const ops = await startOpsServer({ registry: metrics, host: env.AVIARY_OPS_HOST, port: env.AVIARY_OPS_PORT, clock, checks });
    open.push(() => ops[Symbol.asyncDispose]());
    return { [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

// A level that cannot be read is told by `start`, together with whatever else is wrong in the environment.
const level = shimEnvSchema.pick({ AVIARY_LOG_LEVEL: true }).safeParse(process.env).data?.AVIARY_LOG_LEVEL ?? "info";
await runService({ name: "shim", start, log: createLogger({ service: "shim", level, clock: systemClock }) });
