/** The shim's environment and files. */
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { loadAll } from "@aviary/shared/runtime/config.ts";
import { type Fleet, loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { portNumber, serviceEnv } from "@aviary/shared/runtime/service-env.ts";
import { z } from "zod";
import { readTokenFile } from "./auth/token-file.ts";
import { longestIntervalMs } from "./auth/token-rotation.ts";

export const shimEnv = serviceEnv(9_464, {
  /** The fleet file; policy paths are relative to it. */
  AVIARY_FLEET_FILE: z.string().min(1).default("aviary.yaml"),
  AVIARY_TOKENS_FILE: z.string().min(1).default("tokens.yaml"),
  AVIARY_SHIM_HOST: z.string().min(1).default("127.0.0.1"),
  AVIARY_SHIM_PORT: portNumber.default(8_080),
});

/**
 * Reads the fleet file and checks the token file, before anything is opened. Without a valid fleet the overlap of tokens is
 * checked for the shortest interval.
 * @throws ConfigError with every problem of both
 */
export async function loadShimConfig(env: z.output<typeof shimEnv>): Promise<Fleet> {
  const loading = loadFleet(env.AVIARY_FLEET_FILE);
  const intervalMs = loading.then(
    ({ fleet }) => longestIntervalMs(fleet),
    () => 0,
  );
  const tokens = intervalMs.then((ms) => readTokenFile(env.AVIARY_TOKENS_FILE, ms, systemClock.now()));
  const [fleet] = await loadAll([loading, tokens]);
  return fleet;
}
