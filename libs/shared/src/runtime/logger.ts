/**
 * Structured logs on standard output: one JSON object per line, or one short readable line on a terminal.
 * Every field and message passes through `redact.ts` first, so that a secret in an error text is not logged.
 * Logs are for changes and failures; a line costs microseconds, so nothing is logged per signal.
 */
import { pino } from "pino";
import { type Clock, systemClock } from "./clock.ts";
import { redactText, redactValue } from "./redact.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error", "fatal"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * `log.info({ event: "window.closed", az }, "window closed")`. `event` is a stable name for grouping. An error is passed as
 * `err`. Messages are literal: `%s` has no meaning.
 */
export interface LogMethod {
  (fields: Readonly<Record<string, unknown>>, message: string): void;
  (message: string): void;
}

export interface Logger extends Readonly<Record<LogLevel, LogMethod>> {
  /** A logger whose lines carry `subsystem` (nested: `outer/inner`) and the given fields. */
  child(subsystem: string, fields?: Readonly<Record<string, unknown>>): Logger;
}

export interface LoggerOptions {
  readonly service: string;
  /** The lowest level that is written; `info` by default. */
  readonly level?: LogLevel;
  readonly clock?: Clock;
  /** Readable lines instead of JSON; by default if standard output is a terminal. */
  readonly pretty?: boolean;
  /**
   * Receives finished lines, each ending in a line feed; standard output by default. Writing is synchronous, so that the last
   * lines before an exit are not lost.
   */
  readonly write?: (line: string) => void;
}

/** Creates the root logger of a process. Tests pass `write` and a clock. */
export function createLogger(options: LoggerOptions): Logger {
  const clock = options.clock ?? systemClock;
  const pretty = options.pretty ?? (options.write === undefined && process.stdout.isTTY);
  const write = options.write ?? ((line: string) => void process.stdout.write(line));
  const settings: pino.LoggerOptions = {
    base: { service: options.service, pid: process.pid },
    level: options.level ?? "info",
    timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: (value: unknown) => value },
  };
  // Not pino's own destination: it buffers a line when a pipe is full, and `fatal` then overtakes it.
  const destination = pretty ? { write: (line: string) => write(prettyLine(line)) } : { write };
  return wrap(pino(settings, destination), {}, "");
}

/** A logger that writes nothing, for tests and for tools whose output is their result. */
export const silentLogger: Logger = createLogger({ service: "silent", level: "fatal", write: () => {} });

/** `bound` is kept here and bound again for every child: pino would write a key twice if a nested child sets it again. */
function wrap(root: pino.Logger, bound: Readonly<Record<string, unknown>>, subsystem: string): Logger {
  const target = subsystem === "" ? root : root.child({ ...bound, subsystem });
  const method =
    (level: LogLevel): LogMethod =>
    (first: unknown, message?: string) => {
      if (!target.isLevelEnabled(level)) return;
      if (typeof first === "string") target[level](redactText(first));
      else target[level](redactValue(first) as object, redactText(message ?? ""));
    };
  return {
    debug: method("debug"),
    info: method("info"),
    warn: method("warn"),
    error: method("error"),
    fatal: method("fatal"),
    child: (name, fields = {}) =>
      wrap(root, { ...bound, ...(redactValue(fields) as object) }, subsystem === "" ? name : `${subsystem}/${name}`),
  };
}

/**
 * `08:00:01.250 WARN  evaluator/io lost the lease holder=b`, with control characters escaped, so that a log line cannot control
 * the terminal.
 */
function prettyLine(line: string): string {
  const { time, level, service, subsystem, msg, pid: _, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const where = [service, subsystem].filter((part) => typeof part === "string").join("/");
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`,
  );
  const text = [String(time).slice(11, 23), String(level).toUpperCase().padEnd(5), where, msg, ...rest].join(" ");
  return `${text.replaceAll(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`)}\n`;
}
