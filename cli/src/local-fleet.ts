/**
 * What `npm start` leaves for the command line: where the local fleet answers. Environment variables go before it, and where one of them
 * names a shim or a broker nothing is taken from here: half a command must not go to the local fleet while the other half goes elsewhere.
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const FILE = fileURLToPath(new URL("../../.aviary/cli.json", import.meta.url));
const NAMES = ["AVIARY_URL", "AVIARY_TOKEN", "AVIARY_NATS_URL", "AVIARY_FLEET_FILE"] as const;
/** Each names a place; the token and the fleet file may be others for the same place. */
const PLACES = ["AVIARY_URL", "AVIARY_NATS_URL"] as const;
/** Says that the broker has the small streams of a local fleet; goes with its address only. */
const LOCAL_STREAMS = "AVIARY_LOCAL_STREAMS";

/** The environment with what the local fleet's file adds to it; without one, or with a place that the environment names, as it is. */
export async function withLocalFleet(env: NodeJS.ProcessEnv, file: string = FILE): Promise<NodeJS.ProcessEnv> {
  if (PLACES.some((name) => env[name] !== undefined)) return env;
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return env;
  const told = JSON.parse(text) as Partial<Record<(typeof NAMES)[number], string>>;
  const added: NodeJS.ProcessEnv = {};
  for (const name of NAMES) if (env[name] === undefined && told[name] !== undefined) added[name] = told[name];
  if (added.AVIARY_NATS_URL !== undefined) added[LOCAL_STREAMS] = "1";
  return { ...env, ...added };
}
