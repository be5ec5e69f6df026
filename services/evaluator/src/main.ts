import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { deferredBus } from "@aviary/shared/bus/deferred.ts";
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { readEnv } from "@aviary/shared/runtime/config.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { createLogger } from "@aviary/shared/runtime/logger.ts";
import { createRegistry, registerProcessMetrics } from "@aviary/shared/runtime/metrics.ts";
import { startOpsServer } from "@aviary/shared/runtime/ops-server.ts";
import { runService } from "@aviary/shared/runtime/run-service.ts";
import { evaluatorEnv } from "./config.ts";
import { resolveConfig } from "./core/resolved-config.ts";
import { startEvaluator } from "./service.ts";

await runService({
  name: "evaluator",
  start: async ({ signal, clock, fail }) => {
    const env = readEnv(evaluatorEnv, process.env);
    const log = createLogger({ service: "evaluator", level: env.AVIARY_LOG_LEVEL, clock });
    const { fleet, policies, policyHash } = await loadFleet(env.AVIARY_FLEET_FILE);
    const metrics = createRegistry();
    registerProcessMetrics(metrics, clock.now());
    const creds = env.AVIARY_NATS_CREDS_FILE === undefined ? {} : { creds: await readFile(env.AVIARY_NATS_CREDS_FILE, "utf8") };
    const connect = () => connectNats({ servers: env.AVIARY_NATS_URL.split(","), name: "aviary-evaluator", clock, ...creds });
    const bus = deferredBus({ connect, clock, random: Math.random, log });
    bus.arrived.catch(fail);
    const holder = `${hostname()}-${process.pid}-${Math.round(clock.now())}`;
    const evaluator = startEvaluator({
      bus,
      setup: resolveConfig(fleet, policies, policyHash),
      clock,
      log,
      metrics,
      holder,
      signal,
      onFatal: fail,
    });
    const ops = await startOpsServer({
      registry: metrics,
      host: env.AVIARY_OPS_HOST,
      port: env.AVIARY_OPS_PORT,
      clock,
      checks: {
        broker: () => (bus.status === "connected" ? undefined : `the broker is ${bus.status}`),
        fold: () => evaluator.notReady(),
      },
    });
    log.info({ canaries: [...policies.keys()], ops: `http://${ops.host}:${ops.port}` }, "started");
    return {
      [Symbol.asyncDispose]: async () => {
        await ops[Symbol.asyncDispose]();
        await evaluator[Symbol.asyncDispose]();
        await bus[Symbol.asyncDispose]();
      },
    };
  },
});
