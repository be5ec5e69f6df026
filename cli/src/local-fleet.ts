/**
 * The connection settings that `npm start` writes for the command line.
 *
 * Environment variables take precedence. If one of them names a shim or a broker, the file is ignored, because one command must not
 * reach two fleets.
 * An empty variable counts as absent.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { checkoutDirectory, SETTINGS_FILE } from "@aviary/example-fleet/layout.ts";
import type { LocalFleetSettings } from "@aviary/shared/commands/command.ts";

const VARIABLES = ["AVIARY_URL", "AVIARY_TOKEN", "AVIARY_NATS_URL", "AVIARY_FLEET_FILE"] as const;
/** The variables that select a fleet; a token or a fleet file may be overridden for the same fleet. */
const ADDRESSES = ["AVIARY_URL", "AVIARY_NATS_URL"] as const;
/** Set if the broker uses a local fleet's smaller streams. */
const LOCAL_STREAMS = "AVIARY_LOCAL_STREAMS";

export interface CompletedEnvironment {
  readonly env: NodeJS.ProcessEnv;
  readonly localFleet?: LocalFleetSettings;
}

/**
 * The environment, completed from the local fleet's settings unless it names an address itself.
 * @throws Error if the settings exist and cannot be read
 */
export async function withLocalFleet(env: NodeJS.ProcessEnv, path = settingsPath()): Promise<CompletedEnvironment> {
  if (path === undefined || ADDRESSES.some((name) => isSet(env[name]))) return { env };
  const settings = await readSettings(path);
  if (settings === undefined) return { env };
  const variables: NodeJS.ProcessEnv = {};
  for (const name of VARIABLES) {
    const value = settings[name];
    if (!isSet(env[name]) && typeof value === "string") variables[name] = value;
  }
  // `npm start -- --embedded` records null. A file without the variable does not name a broker either.
  const hasBroker = variables.AVIARY_NATS_URL !== undefined;
  if (hasBroker) variables[LOCAL_STREAMS] = "1";
  return { env: { ...env, ...variables }, localFleet: { variables, hasBroker } };
}

function settingsPath(): string | undefined {
  const checkout = checkoutDirectory();
  return checkout === undefined ? undefined : join(checkout, SETTINGS_FILE);
}

const isSet = (value: string | undefined): boolean => (value ?? "") !== "";

async function readSettings(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(`${path}, the settings of the local fleet, cannot be read: ${(error as Error).message}`, { cause: error });
  }
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new Error(`${path}, the settings of the local fleet, is not JSON; delete it: the next \`npm start\` writes it again`, {
      cause: error,
    });
  }
}
