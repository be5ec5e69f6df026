/** NATS and Redis for the local fleet: how they are started, and the streams. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { connect } from "node:net";
import { basename, join } from "node:path";
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { LOCAL_MAX_BYTES, topology } from "@aviary/shared/bus/streams.ts";
import { applyStreams } from "@aviary/shared/bus/streams-apply.ts";
import { type FleetPlan, paths, writeFileAtomically } from "../../examples/fleet/src/layout.ts";
import { fetchServer, locateServer, type ServerName } from "../../libs/shared/src/testing/fetch-servers.ts";
import type { ChildSpec } from "./supervisor.ts";

export interface ServerPrograms {
  readonly nats: string;
  readonly redis: string;
  readonly caddy: string | undefined;
}

/**
 * The programs on this machine; missing ones are fetched if possible.
 * @returns the reason as a sentence, if NATS or Redis is unavailable
 */
export function findServers(print: (line: string) => void): ServerPrograms | string {
  const find = (name: ServerName): string => {
    const found = locateServer(name);
    if (found !== undefined) return found;
    print(`${name} is not installed; fetching it for this project only …`);
    return fetchServer(name);
  };
  try {
    return { nats: find("nats-server"), redis: find("redis-server"), caddy: locateServer("caddy") };
  } catch (error) {
    return (error as Error).message;
  }
}

/** A program and its version as text, such as `nats-server 2.15.2`. */
export function versionOf(program: string): string {
  const name = basename(program);
  try {
    const verb = name === "caddy" ? "version" : "--version";
    const output = execFileSync(program, [verb], { encoding: "utf8", timeout: 10_000, stdio: ["ignore", "pipe", "ignore"] });
    return `${name} ${/\d+\.\d+(?:\.\d+)?/.exec(output)?.[0] ?? ""}`.trimEnd();
  } catch {
    return name;
  }
}

export function natsSpec(plan: FleetPlan, program: string): ChildSpec {
  const file = join(plan.directory, "nats", "nats.conf");
  const store = join(plan.directory, "nats", "data");
  mkdirSync(store, { recursive: true });
  const lines = [
    "server_name: aviary-local",
    `host: ${plan.host}`,
    `port: ${plan.natsPort}`,
    `http: "${plan.host}:${plan.natsMonitorPort}"`,
    `jetstream { store_dir: ${JSON.stringify(store)}, max_mem: 64MB, max_file: 1GB }`,
  ];
  writeFileAtomically(file, `${lines.join("\n")}\n`);
  return {
    name: "nats-server",
    command: program,
    args: ["-c", file],
    logFile: paths.log(plan, "nats-server"),
    ready: () => answers(`http://${plan.host}:${plan.natsMonitorPort}/healthz`),
    phase: 0,
  };
}

export function redisSpec(plan: FleetPlan, program: string): ChildSpec {
  const directory = join(plan.directory, "redis");
  mkdirSync(directory, { recursive: true });
  // Nothing is written to disk: the demo lane may be lost at a stop.
  const settings = ["--bind", plan.host, "--dir", directory, "--daemonize", "no", "--save", "", "--appendonly", "no"];
  return {
    name: "redis-server",
    command: program,
    args: ["--port", String(plan.redisPort), ...settings, "--maxmemory-policy", "noeviction"],
    logFile: paths.log(plan, "redis-server"),
    ready: () => accepts(plan.host, plan.redisPort ?? 0),
    phase: 0,
  };
}

/** Creates or updates streams, buckets and consumers. @returns the number of changes */
export async function applyLocalStreams(plan: FleetPlan): Promise<number> {
  const bus = await connectNats({
    servers: `nats://${plan.host}:${plan.natsPort}`,
    name: "aviary-start",
    waitOnFirstConnect: true,
  });
  try {
    return (await applyStreams(bus.connection, topology({ maxBytes: LOCAL_MAX_BYTES, lanes: [plan.lane] }))).length;
  } finally {
    await bus[Symbol.asyncDispose]();
  }
}

/** Whether this URL responds with a success status. */
export async function answers(url: string): Promise<boolean> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await answer.arrayBuffer();
  return answer.ok;
}

/** Whether a TCP connection is accepted at this port. */
export function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2_000 });
    const finish = (value: boolean): void => {
      socket.destroy();
      resolve(value);
    };
    socket.once("connect", () => finish(true));
    socket.once("timeout", () => finish(false));
    socket.once("error", () => finish(false));
  });
}
