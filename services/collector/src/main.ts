/** The collector process, one per Mac. */
import { brokerCheck, serviceMain } from "@aviary/shared/runtime/service-main.ts";
import { collectorEnv, loadCollectorConfig } from "./config.ts";
import { startCollector } from "./service.ts";

await serviceMain({
  name: "collector",
  env: collectorEnv,
  load: (env) => loadCollectorConfig(env.AVIARY_COLLECTOR_FILE),
  clientName: ({ gateway }) => `aviary-collector-${gateway.gateway}`,
  clock: (env, system) => ({ ...system, now: () => system.now() + env.AVIARY_TEST_CLOCK_OFFSET_MS }),
  start: async ({ env: { AVIARY_DATA_DIR: dataDir }, config, bus, clock, log, metrics, opened, addCheck }) => {
    if (dataDir === undefined)
      log.warn({ event: "spool.disabled" }, "AVIARY_DATA_DIR is not set: signals are buffered in memory only");
    const spool = dataDir === undefined ? {} : { dataDir };
    opened.add(startCollector({ config, bus, clock, logger: log, metrics, ...spool }));
    addCheck("broker", brokerCheck(bus));
  },
});
