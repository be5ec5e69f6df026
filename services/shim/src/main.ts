/** The shim process. */
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { serviceMain } from "@aviary/shared/runtime/service-main.ts";
import { followTokenFile } from "./auth/token-file.ts";
import { longestIntervalMs } from "./auth/token-rotation.ts";
import { loadShimConfig, shimEnv } from "./config.ts";
import { startShim } from "./service.ts";

await serviceMain({
  name: "shim",
  env: shimEnv,
  load: ({ AVIARY_FLEET_FILE: fleetFile, AVIARY_TOKENS_FILE: tokensFile }) =>
    loadShimConfig({ fleetFile, tokensFile }, systemClock.now()),
  // No readiness check for the broker: without the broker, the shim still answers with holds.
  start: async ({ env, config: { fleet, policies, tokens: content }, bus, clock, log, metrics, opened, addCheck }) => {
    const tokens = opened.add(followTokenFile({ content, clock, log, intervalMs: longestIntervalMs(fleet) }));
    const { AVIARY_SHIM_HOST: host, AVIARY_SHIM_PORT: port } = env;
    const shim = opened.add(await startShim({ bus, fleet, policies, tokens, host, port, clock, logger: log, metrics }));
    addCheck("shim", shim.notReady);
    addCheck("tokens", () => tokens.problem());
  },
});
