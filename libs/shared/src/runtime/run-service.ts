/**
 * The lifecycle of a service process: start, run until stopped, dispose, and set the exit code.
 *
 *     starting ──start() resolves──▶ running ──SIGINT, SIGTERM, fail(), uncaught error──▶ stopping ──disposed──▶ stopped
 *         └────start() rejects, or a signal arrives: its abort signal fires─────────────────▶ │
 *     stopping for longer than the grace period: log the open resources, then process.exit
 *     stopping, and a second SIGINT: process.exit immediately with 130
 *     stopped, and the process is still kept alive when the grace period ends: log the open resources, then process.exit
 *
 * The exit code is 0 after a requested stop and 1 after any failure. An unhandled rejection or uncaught exception is a failure:
 * it is logged and the service stops, because the state of the program is unknown.
 * The body is try/finally over `Symbol.asyncDispose` instead of `await using`, because Node 22 cannot parse that syntax.
 */
import { type Clock, systemClock } from "./clock.ts";
import { ConfigError, formatProblem } from "./config.ts";
import { createLogger, type Logger } from "./logger.ts";

export interface ServiceContext {
  /** Aborts when the service must stop; pass it to everything that waits. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly clock: Clock;
  /** Stops the service as failed, for background errors that cannot be thrown to a caller. */
  readonly fail: (error: unknown) => void;
}

type Listener = (argument: unknown) => void;

/** The parts of `process` that a service needs; tests pass their own. */
export interface ProcessHost {
  on(event: string, listener: Listener): void;
  off(event: string, listener: Listener): void;
  exit(code: number): void;
  setExitCode(code: number): void;
  /** The kinds of resources that keep the process alive, one entry each. */
  openResources(): string[];
}

const thisProcess: ProcessHost = {
  on: (event, listener) => void process.on(event, listener),
  off: (event, listener) => void process.off(event, listener),
  exit: (code) => process.exit(code),
  setExitCode: (code) => {
    process.exitCode = code;
  },
  openResources: () => process.getActiveResourcesInfo(),
};

export interface ServiceOptions {
  readonly name: string;
  /** Starts the service; its result is disposed when the service stops. Must return when the context's signal aborts. */
  readonly start: (context: ServiceContext) => Promise<AsyncDisposable>;
  /** How long stopping may take before the process exits; 10 s by default. Keep it below the supervisor's limit. */
  readonly graceMs?: number;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly host?: ProcessHost;
}

const DEFAULT_GRACE_MS = 10_000;
const EXIT_INTERRUPTED = 130;

/** Runs a service until it has stopped and the exit code is set. Never rejects. */
export async function runService(options: ServiceOptions): Promise<void> {
  const { name, graceMs = DEFAULT_GRACE_MS, clock = systemClock } = options;
  const host = options.host ?? thisProcess;
  const log = options.log ?? createLogger({ service: name, clock });
  const stopping = new AbortController();
  const life = { phase: "starting" as "starting" | "running" | "stopping" | "stopped", failed: false, interrupts: 0 };
  let stopDeadline = Number.POSITIVE_INFINITY;
  let cancelGrace = (): void => {};

  const giveUp = (): void => {
    const open = countEach(host.openResources());
    log.fatal(
      { event: "service.stop_timeout", phase: life.phase, open, graceMs },
      `${name} did not stop within its grace period; exiting`,
    );
    host.exit(life.phase === "stopped" && !life.failed ? 0 : 1);
  };
  const stop = (reason: string): void => {
    if (stopping.signal.aborted) return;
    log.info({ event: "service.stopping", reason }, `${name} is stopping`);
    stopDeadline = clock.monotonicMs() + graceMs;
    cancelGrace = clock.setTimer(graceMs, giveUp);
    stopping.abort(new Error(`${name} is stopping: ${reason}`));
  };
  const fail = (error: unknown, what = "failed", event = "service.failed"): void => {
    life.failed = true;
    logFailure(log, error, event, `${name} ${what}`);
    stop(what);
  };

  const listeners: Readonly<Record<string, Listener>> = {
    SIGTERM: () => stop("SIGTERM"),
    SIGINT: () => {
      life.interrupts += 1;
      if (life.interrupts > 1) host.exit(EXIT_INTERRUPTED);
      else stop("SIGINT");
    },
    unhandledRejection: (reason) => fail(reason, "failed: unhandled rejection"),
    uncaughtException: (error) => fail(error, "failed: uncaught exception"),
  };
  for (const [event, listener] of Object.entries(listeners)) host.on(event, listener);

  // A service that only waits for messages may have nothing that keeps its process alive.
  const releaseProcess = clock.setTimer(Number.POSITIVE_INFINITY, () => {});
  try {
    const service = await options.start({ signal: stopping.signal, log, clock, fail: (error) => fail(error) });
    try {
      if (!stopping.signal.aborted) {
        life.phase = "running";
        log.info({ event: "service.started" }, `${name} started`);
        await new Promise((resolve) => stopping.signal.addEventListener("abort", resolve, { once: true }));
      }
    } finally {
      life.phase = "stopping";
      await service[Symbol.asyncDispose]();
    }
  } catch (error) {
    const aborted = error === stopping.signal.reason || (error instanceof Error && error.name === "AbortError");
    const canceledStart = life.phase === "starting" && stopping.signal.aborted && aborted;
    if (canceledStart) log.info({ event: "service.start_canceled" }, `${name} was stopped while starting`);
    else if (life.phase === "starting") fail(error, "could not start", "service.start_failed");
    else fail(error, "could not stop cleanly", "service.stop_failed");
  }

  life.phase = "stopped";
  releaseProcess();
  cancelGrace();
  for (const [event, listener] of Object.entries(listeners)) host.off(event, listener);
  host.setExitCode(life.failed ? 1 : 0);
  log.info({ event: "service.stopped", failed: life.failed }, `${name} stopped`);
  // Resources that are still open were not closed by the service. This timer itself keeps nothing alive.
  clock.setTimer(Math.max(0, stopDeadline - clock.monotonicMs()), giveUp, { background: true });
}

function logFailure(log: Logger, error: unknown, event: string, message: string): void {
  if (!(error instanceof ConfigError)) {
    log.fatal({ event, err: error }, message);
    return;
  }
  for (const problem of error.problems) log.fatal({ event: "config.invalid", problem }, formatProblem(problem));
  log.fatal({ event, problems: error.problems.length }, `${message}: invalid configuration`);
}

function countEach(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
