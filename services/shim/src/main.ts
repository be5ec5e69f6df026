/** The shim as a process of its own. */
import { deferredBus } from "@aviary/shared/bus/deferred.ts";
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { readEnv } from "@aviary/shared/runtime/config.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { createLogger } from "@aviary/shared/runtime/logger.ts";
import { createRegistry, registerProcessMetrics } from "@aviary/shared/runtime/metrics.ts";
import { natsLogin } from "@aviary/shared/runtime/nats-login.ts";
import { openAll } from "@aviary/shared/runtime/opened.ts";
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
  return await openAll(async (opened) => {
    const tokens = opened.add(
      await openTokenFile({ path: env.AVIARY_TOKENS_FILE, clock, log, intervalMs: longestIntervalMs(fleet) }),
    );
    const login = await natsLogin(env);
    const connect = () => connectNats({ ...login, name: "aviary-shim", clock });
    // Controllers are answered, with a hold, whether or not there is a broker.
    const bus = opened.add(deferredBus({ connect, clock, random: Math.random, log }));
    bus.arrived.catch(fail);
    const { AVIARY_SHIM_HOST: host, AVIARY_SHIM_PORT: port } = env;
    const shim = opened.add(await startShim({ bus, fleet, policies, tokens, host, port, clock, logger: log, metrics }));
    const checks = { shim: shim.notReady, tokens: () => tokens.problem() };
    opened.add(await startOpsServer({ registry: metrics, host: env.AVIARY_OPS_HOST, port: env.AVIARY_OPS_PORT, clock, checks }));
  });
}

// A level that cannot be read is told by `start`, together with whatever else is wrong in the environment.
const level = shimEnvSchema.pick({ AVIARY_LOG_LEVEL: true }).safeParse(process.env).data?.AVIARY_LOG_LEVEL ?? "info";
await runService({ name: "shim", start, log: createLogger({ service: "shim", level, clock: systemClock }) });
