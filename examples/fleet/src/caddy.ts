/** A real Caddy as the fleet's reverse proxy: its configuration, its process, and weight updates through its admin API. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { readDesiredRollout, watchDesiredState } from "./desired-state.ts";
import { type FleetPlan, paths, writeJson } from "./layout.ts";
import { sharesAt } from "./shares.ts";

/** Runs an informational Caddy command and returns its output. */
function runCaddy(command: string, subcommand: string): string {
  return execFileSync(command, [subcommand], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: 10_000 });
}

const READY_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 3_000;
const LOG_MEGABYTES = 16;

export interface RunningProxy {
  /** For display: `caddy 2.6.2` or `built-in`. */
  readonly kind: string;
  stop(): Promise<void>;
}

export interface CaddyBinary {
  readonly command: string;
  readonly version: string;
  /** Whether the weighted selection policy exists (Caddy 2.7 and later). */
  readonly isWeighted: boolean;
}

/** The Caddy on the PATH (or `AVIARY_CADDY_BIN`). Undefined if there is none that runs. */
export function findCaddy(env: NodeJS.ProcessEnv = process.env): CaddyBinary | undefined {
  const command = env.AVIARY_CADDY_BIN ?? "caddy";
  try {
    const version = runCaddy(command, "version").trim().replace(/^v/, "").split(" ", 1)[0] ?? "";
    const modules = runCaddy(command, "list-modules");
    return { command, version, isWeighted: modules.includes("http.reverse_proxy.selection_policies.weighted_round_robin") };
  } catch {
    return undefined;
  }
}

/** Caddy's JSON configuration for one weight (https://caddyserver.com/docs/json/). */
export function caddyConfig(plan: FleetPlan, weight: number, weighted: boolean): Record<string, unknown> {
  const local = (port: number): string => `${plan.host}:${port}`;
  const shares = sharesAt(plan.gateways, weight);
  const upstreams = shares.flatMap(({ gateway, parts }) =>
    // Without the weighted policy, a gateway is repeated by its share, and the random policy picks one entry.
    Array.from({ length: weighted ? 1 : parts }, () => ({ dial: local(gateway.proxyPort) })),
  );
  const selection = weighted
    ? { policy: "weighted_round_robin", weights: shares.map((share) => share.parts) }
    : { policy: "random" };
  const server = (
    port: number,
    handler: Record<string, unknown>,
    rest: Record<string, unknown> = {},
  ): Record<string, unknown> => ({
    listen: [local(port)],
    automatic_https: { disable: true },
    routes: [{ handle: [{ handler: "reverse_proxy", ...handler }] }],
    ...rest,
  });
  const logs: Record<string, unknown> = {
    default: { level: "WARN", writer: { output: "stderr" }, exclude: ["http.log.access"] },
  };
  const servers: Record<string, unknown> = {
    vip: server(plan.vipPort, { upstreams, load_balancing: { selection_policy: selection } }),
  };
  for (const gateway of plan.gateways) {
    servers[gateway.name] = server(
      gateway.proxyPort,
      { upstreams: [{ dial: local(gateway.port) }] },
      { logs: { default_logger_name: gateway.name } },
    );
    logs[gateway.name] = {
      include: [`http.log.access.${gateway.name}`],
      encoder: { format: "json" },
      writer: { output: "file", filename: paths.accessLog(plan, gateway.name), roll_size_mb: LOG_MEGABYTES, roll_keep: 1 },
    };
  }
  return {
    admin: { listen: local(plan.proxyAdminPort), config: { persist: false } },
    logging: { logs },
    // No grace_period: with one, Caddy 2.6 immediately drops the old configuration's connections on reload.
    apps: { http: { servers } },
  };
}

/**
 * Starts Caddy and follows the rollout file. Undefined if no Caddy is found. `onExit` is called when Caddy exits
 * unexpectedly.
 */
export async function startCaddyProxy(plan: FleetPlan, onExit: () => void): Promise<RunningProxy | undefined> {
  const binary = findCaddy();
  if (binary === undefined) return undefined;
  for (const gateway of plan.gateways) {
    const log = paths.accessLog(plan, gateway.name);
    mkdirSync(dirname(log), { recursive: true });
    // Caddy creates the file at the first request. Without a file, a collector cannot distinguish "no traffic" from "wrong path".
    appendFileSync(log, "");
  }
  const home = join(plan.directory, "caddy");
  const file = join(home, "caddy.json");
  let weight = readDesiredRollout(plan).weight;
  writeJson(file, caddyConfig(plan, weight, binary.isWeighted));
  const child = spawn(binary.command, ["run", "--config", file], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home, XDG_DATA_HOME: home },
  });
  await waitUntilReady(plan, child);
  const stopWatching = watchDesiredState(
    paths.rollout(plan),
    () => readDesiredRollout(plan),
    (rollout) => {
      if (rollout.weight === weight) return;
      weight = rollout.weight;
      loadConfig(plan, caddyConfig(plan, weight, binary.isWeighted)).catch((error: Error) =>
        process.stderr.write(`caddy rejected weight ${weight}: ${error.message}\n`),
      );
    },
  );
  let stopping = false;
  child.once("exit", () => {
    if (!stopping) onExit();
  });
  return {
    kind: `caddy ${binary.version}`,
    stop: async () => {
      stopping = true;
      stopWatching();
      await terminate(child);
    },
  };
}

async function loadConfig(plan: FleetPlan, config: Record<string, unknown>): Promise<void> {
  const response = await fetch(`http://${plan.host}:${plan.proxyAdminPort}/load`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(config),
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
}

async function waitUntilReady(plan: FleetPlan, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`caddy exited with status ${child.exitCode}; see the proxy's log`);
    try {
      await fetch(`http://${plan.host}:${plan.proxyAdminPort}/config/`, { signal: AbortSignal.timeout(1_000) });
      return;
    } catch (error) {
      if (performance.now() > deadline)
        throw new Error(`caddy was not ready within ${READY_TIMEOUT_MS / 1000} s`, { cause: error });
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function terminate(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(killer);
}
