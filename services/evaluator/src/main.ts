import { hostname } from "node:os";
import { deferredBus } from "@aviary/shared/bus/deferred.ts";
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { readEnv } from "@aviary/shared/runtime/config.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { createLogger } from "@aviary/shared/runtime/logger.ts";
import { createRegistry, registerProcessMetrics } from "@aviary/shared/runtime/metrics.ts";
import { natsLogin } from "@aviary/shared/runtime/nats-login.ts";
import { openAll } from "@aviary/shared/runtime/opened.ts";
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
    const login = await natsLogin(env);
    const connect = () => connectNats({ ...login, name: "aviary-evaluator", clock });
    const setup = resolveConfig(fleet, policies, policyHash);
    const holder = `${hostname()}-${process.pid}-${Math.round(clock.now())}`;
    return await openAll(async (opened) => {
      const bus = opened.add(deferredBus({ connect, clock, random: Math.random, log }));
      bus.arrived.catch(fail);
      const evaluator = opened.add(startEvaluator({ bus, setup, clock, log, metrics, holder, signal, onFatal: fail }));
      const ops = opened.add(
        await startOpsServer({
          registry: metrics,
          host: env.AVIARY_OPS_HOST,
          port: env.AVIARY_OPS_PORT,
          clock,
          checks: {
            broker: () => (bus.status === "connected" ? undefined : `the broker is ${bus.status}`),
            fold: () => evaluator.notReady(),
          },
        }),
      );
      log.info({ canaries: [...policies.keys()], ops: `http://${ops.host}:${ops.port}` }, "started");
    });
  },
});
