/**
 * The connection settings that `npm start` writes for the command line.
 *
 * Environment variables win. Where one of them names a shim or a broker, the file is ignored: one command must not reach two
 * fleets.
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const SETTINGS_FILE = fileURLToPath(new URL("../../.aviary/cli.json", import.meta.url));
const VARIABLES = ["AVIARY_URL", "AVIARY_TOKEN", "AVIARY_NATS_URL", "AVIARY_FLEET_FILE"] as const;
/** The variables that select a fleet; a token or a fleet file may be overridden for the same fleet. */
const ADDRESSES = ["AVIARY_URL", "AVIARY_NATS_URL"] as const;
/** Set when the broker uses a local fleet's smaller streams. */
const LOCAL_STREAMS = "AVIARY_LOCAL_STREAMS";

/** The environment, completed from the local fleet's settings unless it names an address itself. */
export async function withLocalFleet(env: NodeJS.ProcessEnv, path: string = SETTINGS_FILE): Promise<NodeJS.ProcessEnv> {
  if (ADDRESSES.some((name) => env[name] !== undefined)) return env;
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return env;
  const settings = JSON.parse(text) as Partial<Record<(typeof VARIABLES)[number], string>>;
  const added: NodeJS.ProcessEnv = {};
  for (const name of VARIABLES) if ((env[name] ?? "") === "" && settings[name] !== undefined) added[name] = settings[name];
  if (added.AVIARY_NATS_URL !== undefined) added[LOCAL_STREAMS] = "1";
  return { ...env, ...added };
}
