/** The shim's environment and files. */
import { loadAll } from "@aviary/shared/runtime/config.ts";
import { type Fleet, loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { portNumber, serviceEnv } from "@aviary/shared/runtime/service-env.ts";
import { z } from "zod";
import { readTokenFile, type TokenFileContent } from "./auth/token-file.ts";

export const shimEnv = serviceEnv(9_464, {
  /** The fleet file; policy paths are relative to it. */
  AVIARY_FLEET_FILE: z.string().min(1).default("aviary.yaml"),
  AVIARY_TOKENS_FILE: z.string().min(1).default("tokens.yaml"),
  AVIARY_SHIM_HOST: z.string().min(1).default("127.0.0.1"),
  AVIARY_SHIM_PORT: portNumber.default(8_080),
});

export interface ShimConfig extends Fleet {
  readonly tokens: TokenFileContent;
}

export interface ShimFiles {
  readonly fleetFile: string;
  readonly tokensFile: string;
}

/**
 * Reads the fleet file, its policies and the token file.
 * @throws ConfigError with every problem of every file
 */
export async function loadShimConfig({ fleetFile, tokensFile }: ShimFiles, nowMs: number): Promise<ShimConfig> {
  const [fleet, tokens] = await loadAll([loadFleet(fleetFile), readTokenFile(tokensFile, nowMs)]);
  return { ...fleet, tokens };
}
