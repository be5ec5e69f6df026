/**
 * Starts child processes, writes their output to bounded logs, restarts them when they exit, and stops them all.
 *
 *     starting ──ready──▶ running ──exits──▶ waiting (0.5 s, 1 s, 2 s … 30 s) ──▶ starting
 *         │                  └──stop()──▶ stopped ◀──stop()──┘
 *         └──exits or is not ready in time: start() rejects, with the end of its log
 *
 * After a minute of running, a child's back-off is reset. Every child leads its own process group, so that its descendants stop
 * with it, and a Ctrl-C in the terminal reaches the starter only.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { lastLines, openBoundedLog } from "./log-file.ts";
import { startGuard } from "./orphan-reaper.ts";

export interface ChildSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly logFile: string;
  /** Resolves to true once the child serves; polled. */
  readonly ready: () => Promise<boolean>;
  /** Later phases stop first, so users and services stop before the servers they use. */
  readonly phase: number;
}

export interface Supervisor {
  /** Starts a child and waits until it is ready. @throws Error with the end of its log */
  start(spec: ChildSpec): Promise<void>;
  /** Stops a child and keeps it stopped; no effect if the child is unknown. `kill` kills it without warning. */
  stop(name: string, how?: "ask" | "kill"): Promise<void>;
  isRunning(name: string): boolean;
  /** Whether it is running, or about to be restarted. */
  isKept(name: string): boolean;
  /** The child's process id while it runs. */
  pid(name: string): number | undefined;
  /** Stops everything, the last phase first. */
  stopAll(): Promise<void>;
}

export interface SupervisorOptions {
  /** The beginning of the path of the guard's file (`orphan-reaper.ts`). */
  readonly groupsFile: string;
  /** Receives one line for the terminal. */
  readonly print: (line: string) => void;
  /** A child that has not exited by then is killed; 6 s by default. */
  readonly stopWithinMs?: number;
}

interface Child {
  readonly spec: ChildSpec;
  process: ChildProcess | undefined;
  exited: Promise<void>;
  wanted: boolean;
  deaths: number;
  startedAt: number;
  readonly cancelWait: AbortController;
}

const READY_WITHIN_MS = 60_000;
const ASK_EVERY_MS = 100;
const STOP_WITHIN_MS = 6_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const RESET_BACKOFF_AFTER_MS = 60_000;
const SHOWN_LINES = 12;

export function createSupervisor({ groupsFile, print, stopWithinMs = STOP_WITHIN_MS }: SupervisorOptions): Supervisor {
  const children = new Map<string, Child>();
  const guard = startGuard(groupsFile);
  let ending = false;

  const record = (): void =>
    guard.keep([...children.values()].flatMap((child) => (child.process?.pid === undefined ? [] : [child.process.pid])));

  const launch = (child: Child): void => {
    const { spec } = child;
    const log = openBoundedLog(spec.logFile);
    log.write(`--- ${new Date().toISOString()} ${spec.command} ${spec.args.join(" ")}\n`);
    const running = spawn(spec.command, spec.args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...spec.env },
      detached: true,
    });
    child.process = running;
    child.startedAt = performance.now();
    running.stdout?.on("data", (data: Uint8Array) => log.write(data));
    running.stderr?.on("data", (data: Uint8Array) => log.write(data));
    child.exited = new Promise((resolve) => {
      const over = (how: string): void => {
        if (child.process !== running) return;
        child.process = undefined;
        // Its descendants would keep its ports in use.
        signalGroup(running, "SIGKILL");
        log.write(`--- ${new Date().toISOString()} ${how}\n`);
        log.close();
        record();
        resolve();
        if (child.wanted && !ending) void revive(child, how);
      };
      running.once("error", (error) => over(`could not be started: ${error.message}`));
      running.once("exit", (code, signal) => over(signal === null ? `exited with ${code}` : `was killed by ${signal}`));
    });
    record();
  };

  const revive = async (child: Child, how: string): Promise<void> => {
    if (performance.now() - child.startedAt > RESET_BACKOFF_AFTER_MS) child.deaths = 0;
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** child.deaths);
    child.deaths += 1;
    print(`${child.spec.name} ${how}; restarting in ${pauseMs / 1000} s (log: ${child.spec.logFile})`);
    await sleep(pauseMs, undefined, { signal: child.cancelWait.signal }).catch(() => undefined);
    if (child.wanted && !ending) launch(child);
  };

  const waitUntilReady = async (child: Child): Promise<void> => {
    const { spec } = child;
    const deadline = performance.now() + READY_WITHIN_MS;
    while (!(await spec.ready().catch(() => false))) {
      const died = child.process === undefined;
      if (died || performance.now() > deadline) {
        const why = died ? "exited before it was ready" : `was not ready within ${READY_WITHIN_MS / 1000} s`;
        throw new Error(`${spec.name} ${why}. The end of ${spec.logFile}:\n${lastLines(spec.logFile, SHOWN_LINES)}`);
      }
      await sleep(ASK_EVERY_MS);
    }
  };

  const end = async (child: Child, how: "ask" | "kill"): Promise<void> => {
    child.wanted = false;
    child.cancelWait.abort();
    if (child.process === undefined) return;
    signalGroup(child.process, how === "kill" ? "SIGKILL" : "SIGTERM");
    const killTimer = new AbortController();
    const killer = sleep(stopWithinMs, undefined, { signal: killTimer.signal }).then(
      () => child.process && signalGroup(child.process, "SIGKILL"),
      () => undefined,
    );
    await child.exited;
    killTimer.abort();
    await killer;
  };

  return {
    start: async (spec) => {
      if (ending) throw new Error(`cannot start ${spec.name}: the fleet is shutting down`);
      if (children.get(spec.name)?.wanted) throw new Error(`${spec.name} is already running`);
      const child: Child = {
        spec,
        process: undefined,
        exited: Promise.resolve(),
        // Only a child that was ready once is restarted, because one that cannot start is misconfigured.
        wanted: false,
        deaths: 0,
        startedAt: 0,
        cancelWait: new AbortController(),
      };
      children.set(spec.name, child);
      launch(child);
      await waitUntilReady(child);
      child.wanted = true;
    },
    stop: async (name, how = "ask") => {
      const child = children.get(name);
      if (child) await end(child, how);
    },
    isRunning: (name) => children.get(name)?.process !== undefined,
    isKept: (name) => children.get(name)?.wanted === true,
    pid: (name) => children.get(name)?.process?.pid,
    stopAll: async () => {
      ending = true;
      const phases = [...new Set([...children.values()].map((child) => child.spec.phase))].sort((a, b) => b - a);
      for (const phase of phases) {
        await Promise.all([...children.values()].filter((child) => child.spec.phase === phase).map((child) => end(child, "ask")));
      }
      guard.close();
    },
  };
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
