/** The evaluator process. */
import { hostname } from "node:os";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { brokerCheck, serviceMain } from "@aviary/shared/runtime/service-main.ts";
import { evaluatorEnv } from "./config.ts";
import { resolveConfig } from "./core/resolved-config.ts";
import { startEvaluator } from "./service.ts";

await serviceMain({
  name: "evaluator",
  env: evaluatorEnv,
  load: async (env) => {
    const { fleet, policies, policyHash } = await loadFleet(env.AVIARY_FLEET_FILE);
    return resolveConfig(fleet, policies, policyHash);
  },
  start: async ({ config, bus, clock, log, metrics, signal, fail, opened, addCheck }) => {
    const holder = `${hostname()}-${process.pid}-${Math.round(clock.now())}`;
    const evaluator = opened.add(startEvaluator({ bus, config, clock, log, metrics, holder, signal, onFatal: fail }));
    addCheck("broker", brokerCheck(bus));
    addCheck("event-log", () => evaluator.notReady());
  },
});
