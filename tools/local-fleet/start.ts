/**
 * `npm start`: a whole local fleet with real servers and services, until Ctrl-C.
 *
 *     npm start                      starts, or resumes the fleet below .aviary/run
 *     npm start -- --fresh           starts from scratch
 *     npm start -- --embedded        everything in one process, without NATS and Redis
 *     npm start -- --smoke           an end-to-end story as a test, one JSON line per step
 */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { release, stableVersion } from "../../examples/fleet/src/faults.ts";
import { recordFleet } from "./command-line-settings.ts";
import { PROJECT, startFleet } from "./compose.ts";
import { lockDirectory } from "./directory-lock.ts";
import { findServers, type ServerPrograms, versionOf } from "./servers.ts";
import { dim, welcome, wrapped } from "./terminal-output.ts";
import { watchVerdict } from "./watch-verdict.ts";

/** The release that the first run tests. */
const FIRST_CANARY = "2026.9.7";
const REQUESTS_PER_SECOND = 40;
const WEIGHT = 30;

const print = (line: string): void => console.log(line);

const HELP = `npm start -- [options]

Starts a whole local fleet and prints its dashboard, until Ctrl-C.

  --fresh              remove the data of earlier starts from the directory, then start
  --embedded           run everything in one process, without NATS and Redis
  --smoke              run an end-to-end story as a test; prints one JSON line per step
  --directory <folder> keep the fleet's data there (default .aviary/run, .aviary/embedded or .aviary/smoke)
  --help, -h           print this help
`;

function readFlags() {
  try {
    return parseArgs({
      options: {
        fresh: { type: "boolean", default: false },
        embedded: { type: "boolean", default: false },
        smoke: { type: "boolean", default: false },
        directory: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message.split(". ", 1)[0]}\n\n${HELP}`);
    process.exit(2);
  }
}

async function main(): Promise<void> {
  const values = readFlags();
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (values.smoke) {
    const { smoke } = await import("./smoke.ts");
    process.exit(await smoke(resolve(values.directory ?? join(PROJECT, ".aviary/smoke"))));
  }
  const startedAt = performance.now();
  const servers = values.embedded ? "--embedded" : findServers(print);
  const isEmbedded = typeof servers === "string";
  const directory = resolve(values.directory ?? join(PROJECT, ".aviary", isEmbedded ? "embedded" : "run"));
  process.once("exit", lockDirectory(directory));
  const stopping = new AbortController();
  const life = endOnSignals(stopping);
  const fleet = await begin(servers, directory, values.fresh, stopping.signal);
  life.stop = fleet.stop;
  if (stopping.signal.aborted) return life.end(0);

  process.once("exit", recordFleet(PROJECT, fleet.plan, fleet.tokens));
  if (fleet.first) release(fleet.plan, "canary", FIRST_CANARY);
  const token = fleet.tokens.operator;
  const now = fleet.first
    ? `The first run is opening: ${FIRST_CANARY} on the canary slice, next to ${stableVersion(fleet.plan)}, with ${WEIGHT}% of the traffic. Verdicts follow.`
    : "Resumed from the last start. Verdicts follow.";
  const tookMs = performance.now() - startedAt;
  print(
    welcome({
      plan: fleet.plan,
      token,
      servers: fleet.servers,
      tookMs,
      now,
      isKept: !isEmbedded,
      ...(fleet.lacks === undefined ? {} : { lacks: fleet.lacks }),
    }),
  );
  watchVerdict(fleet.plan, token, print);
}

async function begin(servers: ServerPrograms | string, directory: string, fresh: boolean, signal: AbortSignal) {
  const options = {
    directory,
    fleetFile: join(PROJECT, "examples/fleet/config/aviary.yaml"),
    fragments: join(PROJECT, "examples/fleet/config/conf.d"),
    fresh,
    seed: 1,
    requestsPerSecond: REQUESTS_PER_SECOND,
    weight: WEIGHT,
    print: (line: string) => {
      for (const part of wrapped(line, 2)) print(dim(part));
    },
    signal,
  };
  if (typeof servers === "string") {
    const { startEmbedded } = await import("./embedded.ts");
    const fleet = await startEmbedded(options);
    const lacks = `One process with an in-memory bus (${servers.split("\n", 1)[0]}): no build lane, and data in memory only.`;
    return { ...fleet, servers: "all in one process", lacks };
  }
  const parts = "Starting NATS, Redis, six gateways, their proxy, six collectors, the evaluator and the shim …";
  for (const line of wrapped(parts, 2)) print(dim(line));
  const fleet = await startFleet({ ...options, servers });
  const names = [
    versionOf(servers.nats),
    versionOf(servers.redis),
    servers.caddy === undefined ? "built-in proxy" : versionOf(servers.caddy),
  ];
  return { ...fleet, servers: names.join(", "), lacks: undefined };
}

/** On Ctrl-C, a closed terminal or a defect, all started processes are stopped first. A second Ctrl-C does not wait. */
function endOnSignals(stopping: AbortController) {
  const life = {
    stop: async (): Promise<void> => {},
    end: async (code: number): Promise<void> => {
      await life.stop().catch((error: Error) => console.error(error.message));
      process.exit(code);
    },
  };
  const end = (code: number): void => {
    if (stopping.signal.aborted) return;
    stopping.abort(new Error("stopped"));
    void life.end(code);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (stopping.signal.aborted) process.exit(130);
      print(dim("\n  Stopping … (press Ctrl-C again to stop immediately)"));
      end(0);
    });
  }
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error: unknown) => {
      console.error(error instanceof Error ? (error.stack ?? error.message) : error);
      end(1);
    });
  }
  return life;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
