/** Evaluator and shim as shipped to a server: separate processes on their own broker. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { PolicyFile } from "@aviary/shared/contract/policy.ts";
import { freePort } from "@aviary/shared/testing/servers.ts";
import { generateToken } from "../../services/shim/src/auth/tokens.ts";
import { type Broker, startBroker } from "./broker.ts";
import { benchFleetFile } from "./signals.ts";

export interface ServiceProcess {
  readonly pid: number;
  /** Reads a figure from its `/metrics`. */
  metric(name: string): Promise<number>;
}

export interface Stack {
  readonly broker: Broker;
  readonly evaluator: ServiceProcess;
  readonly shim: ServiceProcess;
  readonly shimPort: number;
  /** The current and the previous token of Flagger, both valid. */
  readonly tokens: readonly string[];
  readonly operatorToken: string;
}

const READY_MS = 30_000;
const STOP_MS = 5_000;

/**
 * Starts one of Aviary's programs (Node, path and arguments), waits for its `/readyz`, and stops it when the stack is disposed.
 */
export async function startService(
  cleanup: AsyncDisposableStack,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  readyPath = "/readyz",
): Promise<ServiceProcess> {
  const port = await freePort();
  const child = spawn(process.execPath, args, {
    env: { ...process.env, AVIARY_LOG_LEVEL: "error", ...env, AVIARY_OPS_PORT: String(port) },
    stdio: ["ignore", "ignore", "inherit"],
  });
  cleanup.defer(() => end(child));
  process.once("exit", () => child.kill("SIGKILL"));
  const url = `http://127.0.0.1:${port}`;
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const answer = await fetch(url + readyPath, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined);
    if (answer?.ok) break;
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${args.join(" ")} did not become ready`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    pid: child.pid as number,
    async metric(name) {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const force = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  child.kill("SIGTERM");
  await gone;
  clearTimeout(force);
}

/** A temporary folder that is removed when the stack is disposed. */
export function temporaryFolder(cleanup: AsyncDisposableStack): string {
  const folder = mkdtempSync(join(tmpdir(), "aviary-bench-"));
  cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export async function startStack(cleanup: AsyncDisposableStack, canaries: readonly string[], policy: PolicyFile): Promise<Stack> {
  const folder = temporaryFolder(cleanup);
  const broker = await startBroker(cleanup);
  const [current, previous, operator] = [generateToken(), generateToken(), generateToken()];
  const inAWeek = new Date(Date.now() + 7 * 86_400_000).toISOString();
  const files = {
    // JSON is YAML.
    "aviary.yaml": benchFleetFile(canaries),
    "policy.yaml": policy,
    "tokens.yaml": [
      { id: "flagger", caller: "flagger", sha256: current.sha256 },
      { id: "flagger", caller: "flagger", sha256: previous.sha256, notAfter: inAWeek },
      { id: "operator", caller: "operator", sha256: operator.sha256 },
    ],
  };
  for (const [name, value] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(value));
  const env = { AVIARY_FLEET_FILE: join(folder, "aviary.yaml"), AVIARY_NATS_URL: broker.url };
  const shimPort = await freePort();
  const program = (path: string): string => fileURLToPath(new URL(`../../services/evaluator/src/${path}`, import.meta.url));
  const evaluator = await startService(cleanup, [program("main.ts")], env);
  const shim = await startService(cleanup, [program("shim/main.ts")], {
    ...env,
    AVIARY_TOKENS_FILE: join(folder, "tokens.yaml"),
    AVIARY_SHIM_PORT: String(shimPort),
  });
  return { broker, evaluator, shim, shimPort, tokens: [current.token, previous.token], operatorToken: operator.token };
}
