/**
 * Real servers for tests, benchmarks and the example fleet: started on free loopback ports, each with its own data folder, and
 * stopped with the process that started them.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { howToInstall, locateServer, serverCandidates } from "./fetch-servers.ts";

/** `nats-2.9` is any server older than 2.10 (as in Debian 12), `nats-current` any server from 2.11 on. */
export type TestServer = "nats" | "nats-2.9" | "nats-current" | "redis" | "caddy" | "nginx" | "rsync";

export interface RunningServer {
  readonly port: number;
  readonly pid: number;
  /** Kills the process without warning and waits until it has exited. Its data is kept. */
  kill9(): Promise<void>;
  /** Restarts the server on the same port and data, and waits until it responds. */
  restart(): Promise<void>;
  /** Stops the server and removes its folder. */
  stop(): Promise<void>;
}

export interface RunningNats extends RunningServer {
  readonly url: string;
  readonly monitorUrl: string;
  /** JetStream's data directory. */
  readonly storeDir: string;
}

const READY_MS = 30_000;
const POLL_MS = 25;

/** The program's path, or undefined if this machine does not have it. */
export function locateTestServer(name: TestServer): string | undefined {
  if (name === "redis") return locateServer("redis-server");
  if (name === "caddy" || name === "nginx" || name === "rsync") return locateServer(name);
  return serverCandidates("nats-server").find((path) => {
    const [major = 0, minor = 0] = natsVersion(path).split(".").map(Number);
    if (name === "nats-2.9") return major === 2 && minor < 10;
    return name === "nats" || major > 2 || (major === 2 && minor >= 11);
  });
}

/**
 * Why tests that need the server cannot run here, or undefined. @throws Error with the reason if `CI` is set, where no server may
 * be missing
 */
export function missingServer(name: TestServer): string | undefined {
  if (locateTestServer(name) !== undefined) return undefined;
  const program =
    name === "redis" ? "redis-server" : name.startsWith("nats") ? "nats-server" : (name as "caddy" | "nginx" | "rsync");
  const version = name === "nats-2.9" ? " older than 2.10" : name === "nats-current" ? " 2.11 or newer" : "";
  const reason = `needs ${program}${version}; ${howToInstall(program)}`;
  if (process.env.CI) throw new Error(reason);
  return reason;
}

/**
 * Whether the test can continue; without the server it is skipped with the reason, or fails if `CI` is set.
 * Return from the test if this returns false.
 */
export function requireServer(test: Pick<TestContext, "skip">, name: TestServer): boolean {
  const reason = missingServer(name);
  if (reason !== undefined) test.skip(reason);
  return reason === undefined;
}

function binaryOf(name: TestServer, given: string | undefined): string {
  const binary = given ?? locateTestServer(name);
  if (binary === undefined) throw new Error(missingServer(name));
  return binary;
}

/** A TCP port of the loopback interface that is currently free. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

/**
 * Starts nats-server with JetStream and monitoring: any version, unless one is named or a program given. `config` is appended
 * to its configuration file.
 */
export async function startNats(
  options: {
    version?: "nats" | "nats-2.9" | "nats-current";
    binary?: string;
    storeDir?: string;
    port?: number;
    config?: string;
    /** JetStream's storage on disk. */
    storeLimit?: string;
  } = {},
): Promise<RunningNats> {
  const folder = makeFolder("nats");
  const storeDir = options.storeDir ?? join(folder, "data");
  const port = options.port ?? (await freePort());
  const monitorPort = await freePort();
  const monitorUrl = `http://127.0.0.1:${monitorPort}`;
  const config = join(folder, "nats.conf");
  writeFileSync(
    config,
    `host: 127.0.0.1\nport: ${port}\nhttp: "127.0.0.1:${monitorPort}"\nserver_name: test\njetstream { store_dir: ${JSON.stringify(storeDir)}, max_mem: 256MB, max_file: ${options.storeLimit ?? "8GB"} }\n${options.config ?? ""}\n`,
  );
  const isReady = async (): Promise<boolean> => (await fetch(`${monitorUrl}/healthz`, { signal: AbortSignal.timeout(1000) })).ok;
  const server = await startServer({
    name: "nats-server",
    binary: binaryOf(options.version ?? "nats", options.binary),
    args: ["-c", config],
    folder,
    port,
    isReady,
  });
  return Object.assign(server, { url: `nats://127.0.0.1:${port}`, monitorUrl, storeDir });
}

/** Starts redis-server (or valkey) without persistence, as required for the job queue. */
export async function startRedis(options: {
  binary: string;
  port?: number;
  args?: readonly string[];
}): Promise<RunningServer & { readonly url: string }> {
  const folder = makeFolder("redis");
  const port = options.port ?? (await freePort());
  const fixed = [
    "--port",
    String(port),
    "--bind",
    "127.0.0.1",
    "--dir",
    folder,
    "--daemonize",
    "no",
    "--maxmemory-policy",
    "noeviction",
  ];
  const args = [...fixed, "--save", "", "--appendonly", "no", ...(options.args ?? [])];
  const isReady = (): Promise<boolean> => answersPing(port);
  const server = await startServer({
    name: "redis-server",
    binary: binaryOf("redis", options.binary),
    args,
    folder,
    port,
    isReady,
  });
  return Object.assign(server, { url: `redis://127.0.0.1:${port}` });
}

/** Starts caddy with a Caddyfile for its port; the admin endpoint is disabled and its files are in its own folder. */
export async function startCaddy(options: {
  binary: string;
  caddyfile: (port: number) => string;
}): Promise<RunningServer & { readonly url: string }> {
  const folder = makeFolder("caddy");
  const port = await freePort();
  const file = join(folder, "Caddyfile");
  writeFileSync(file, `{\n  admin off\n  auto_https off\n}\n${options.caddyfile(port)}\n`);
  const args = ["run", "--config", file, "--adapter", "caddyfile"];
  const env = { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder };
  const server = await startServer({
    name: "caddy",
    binary: options.binary,
    args,
    folder,
    port,
    env,
    isReady: () => accepts(port),
  });
  return Object.assign(server, { url: `http://127.0.0.1:${port}` });
}

/**
 * Starts nginx with `http` blocks for its port, in its own folder, as one process.
 * @param options.http the content of the block `http`
 */
export async function startNginx(options: {
  binary: string;
  http: (port: number) => string;
}): Promise<RunningServer & { readonly url: string }> {
  const folder = makeFolder("nginx");
  const port = await freePort();
  const file = join(folder, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  );
  const user = process.getuid?.() === 0 ? "user root;\n" : "";
  writeFileSync(
    file,
    `${user}daemon off;\nmaster_process off;\npid ${join(folder, "pid")};\nerror_log stderr notice;\nevents {}\nhttp {\n${temporary.join("\n")}\naccess_log off;\n${options.http(port)}\n}\n`,
  );
  const args = ["-p", folder, "-c", file, "-e", "stderr"];
  const server = await startServer({
    name: "nginx",
    binary: options.binary,
    args,
    folder,
    port,
    isReady: () => accepts(port),
  });
  return Object.assign(server, { url: `http://127.0.0.1:${port}` });
}

interface StartPlan {
  readonly name: string;
  readonly binary: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly port: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly isReady: () => Promise<boolean>;
}

async function startServer(plan: StartPlan): Promise<RunningServer> {
  let child = launch(plan);
  const endWithUs = (): void => void child.kill("SIGKILL");
  process.on("exit", endWithUs);
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    const gone = exited(child);
    child.kill(signal);
    await gone;
  };
  const stop = async (): Promise<void> => {
    const force = setTimeout(() => child.kill("SIGKILL"), 5000);
    await kill("SIGTERM");
    clearTimeout(force);
    process.off("exit", endWithUs);
    rmSync(plan.folder, { recursive: true, force: true });
  };
  try {
    await untilReady(plan, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port: plan.port,
    get pid() {
      return child.pid as number;
    },
    kill9: () => kill("SIGKILL"),
    async restart() {
      if (child.exitCode === null && child.signalCode === null) await kill("SIGTERM");
      child = launch(plan);
      await untilReady(plan, child);
    },
    stop,
  };
}

function launch(plan: StartPlan): ChildProcess {
  const log = openSync(join(plan.folder, "log"), "a");
  const child = spawn(plan.binary, plan.args, {
    cwd: plan.folder,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...plan.env },
  });
  child.once("error", () => undefined);
  closeSync(log);
  return child;
}

async function untilReady(plan: StartPlan, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    if (await plan.isReady().catch(() => false)) return;
    const ended = child.exitCode ?? child.signalCode;
    if (ended !== null || child.pid === undefined || performance.now() > deadline) {
      const why = ended === null ? `did not respond within ${READY_MS} ms` : `exited with ${ended}`;
      throw new Error(`${plan.binary} ${why}; last output:\n${readFileSync(join(plan.folder, "log"), "utf8").slice(-2000)}`);
    }
    await sleep(POLL_MS);
  }
}

function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
  return new Promise((resolve) => child.once("exit", () => resolve()));
}

function makeFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `aviary-${name}-`));
  mkdirSync(folder, { recursive: true });
  return folder;
}

function natsVersion(binary: string): string {
  try {
    return /v(\d+\.\d+\.\d+)/.exec(execFileSync(binary, ["--version"], { encoding: "utf8", timeout: 10_000 }))?.[1] ?? "0.0.0";
  } catch {
    return "0.0.0";
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.once("error", () => resolve(false)).once("connect", () => socket.destroy());
  });
}

function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.setTimeout(1000, () => socket.destroy());
    socket.once("data", (data) => {
      resolve(data.toString().startsWith("+PONG"));
      socket.destroy();
    });
    socket.once("error", () => resolve(false)).once("close", () => resolve(false));
  });
}
