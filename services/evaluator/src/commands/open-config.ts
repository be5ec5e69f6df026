/** The resolved configuration of a command, from its fleet file. */
import { FLEET_OPTION_HINT } from "@aviary/shared/commands/options.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { type ResolvedConfig, resolveConfig } from "../core/resolved-config.ts";

/** @throws ConfigError with every problem of the fleet file and its policies */
export async function openConfig(path: string): Promise<ResolvedConfig> {
  const { fleet, policies, policyHash } = await loadFleet(path, FLEET_OPTION_HINT);
  return resolveConfig(fleet, policies, policyHash);
}
