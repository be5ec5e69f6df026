/**
 * Structured logs on standard output: one JSON object a line, or one short readable line when a person looks at a terminal.
 * Every field and every message goes through `redact.ts` first, so a secret that strays into an error text does not get out.
 * Logs are for changes and failures; a line costs microseconds, so nothing logs per signal.
 */
import { pino } from "pino";
import { type Clock, systemClock } from "./clock.ts";
import { redactText, redactValue } from "./redact.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error", "fatal"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `log.info({ az }, "window closed")` or `log.info("started")`. An error goes under `err`. Messages are taken as they are: `%s` has no meaning. */
export interface LogMethod {
  (fields: Readonly<Record<string, unknown>>, message: string): void;
  (message: string): void;
}

export interface Logger extends Readonly<Record<LogLevel, LogMethod>> {
  /** A logger whose lines carry `subsystem` (inside another one: `outer/inner`) and the given fields. */
  child(subsystem: string, fields?: Readonly<Record<string, unknown>>): Logger;
}

export interface LoggerOptions {
  readonly service: string;
  /** The lowest level that is written; `info` unless told. */
  readonly level?: LogLevel;
  readonly clock?: Clock;
  /** Readable lines instead of JSON; unless told, when standard output is a terminal. */
  readonly pretty?: boolean;
  /** Where finished lines go (each ends in a line feed); standard output unless told. Writing there is synchronous, so the last words before an exit are kept. */
  readonly write?: (line: string) => void;
}

/** Makes the root logger of a process. Tests hand in `write` and a clock. */
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
  // Not pino's own destination: where a pipe is full for a moment it keeps a line back, and `fatal` then overtakes it.
  const destination = pretty ? { write: (line: string) => write(prettyLine(line)) } : { write };
  return wrap(pino(settings, destination), {}, "");
}

/** A logger that writes nothing, for tests and for tools whose output is their answer. */
export const silentLogger: Logger = createLogger({ service: "silent", level: "fatal", write: () => {} });

/** `bound` is kept here and bound anew for every child: pino would write a key twice that an inner child sets again. */
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

/** `08:00:01.250 WARN  evaluator/io lost the lease holder=b`, with control characters made visible, so that a log line cannot drive the terminal. */
function prettyLine(line: string): string {
  const { time, level, service, subsystem, msg, pid: _, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const where = [service, subsystem].filter((part) => typeof part === "string").join("/");
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`,
  );
  const text = [String(time).slice(11, 23), String(level).toUpperCase().padEnd(5), where, msg, ...rest].join(" ");
  return `${text.replaceAll(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`)}\n`;
}
