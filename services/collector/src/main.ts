/** The collector as a service: one on every Mac. */
import { deferredBus } from "@aviary/shared/bus/deferred.ts";
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { readEnv } from "@aviary/shared/runtime/config.ts";
import { createLogger } from "@aviary/shared/runtime/logger.ts";
import { createRegistry, registerProcessMetrics } from "@aviary/shared/runtime/metrics.ts";
import { natsLogin } from "@aviary/shared/runtime/nats-login.ts";
import { openAll } from "@aviary/shared/runtime/opened.ts";
import { startOpsServer } from "@aviary/shared/runtime/ops-server.ts";
import { runService } from "@aviary/shared/runtime/run-service.ts";
import { envSchema, loadCollectorConfig } from "./config.ts";
import { startCollector } from "./service.ts";

const NAME = "collector";

await runService({
  name: NAME,
  log: createLogger({ service: NAME }),
  start: async ({ log: early, clock: machineClock, fail }) => {
    const env = readEnv(envSchema, process.env);
    const clock = { ...machineClock, now: () => machineClock.now() + env.AVIARY_TEST_CLOCK_OFFSET_MS };
    const log = env.AVIARY_LOG_LEVEL === "info" ? early : createLogger({ service: NAME, level: env.AVIARY_LOG_LEVEL });
    const config = await loadCollectorConfig(env.AVIARY_COLLECTOR_FILE);
    const registry = createRegistry();
    registerProcessMetrics(registry, clock.now());
    const login = await natsLogin(env);
    const connect = () => connectNats({ ...login, name: `${NAME}-${config.gateway.gateway}`, clock });
    const dataDir = env.AVIARY_DATA_DIR === undefined ? {} : { dataDir: env.AVIARY_DATA_DIR };
    if (env.AVIARY_DATA_DIR === undefined)
      log.warn("AVIARY_DATA_DIR is not set: signals are not kept on disk while the broker is away");
    return await openAll(async (opened) => {
      const bus = opened.add(deferredBus({ connect, clock, random: Math.random, log }));
      bus.arrived.catch(fail);
      const ops = opened.add(
        await startOpsServer({
          registry,
          host: env.AVIARY_OPS_HOST,
          port: env.AVIARY_OPS_PORT,
          clock,
          checks: { broker: () => (bus.status === "connected" ? undefined : `the broker is ${bus.status}`) },
        }),
      );
      opened.add(startCollector({ config, bus, clock, logger: log, metrics: registry, ...dataDir }));
      log.info({ ops: `http://${ops.host}:${ops.port}`, gateway: config.gateway, slice: config.slice }, "collecting");
    });
  },
});
