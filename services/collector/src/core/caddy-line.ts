/**
 * Caddy's JSON access log (https://caddyserver.com/docs/caddyfile/directives/log). `ts` is when the request finished, in any of
 * Caddy's `time_format`s that states its zone. `duration` is in seconds unless `duration_format` is set; as text
 * (`duration_format string`) it contains its unit.
 *
 * Caddy 2 logs an upgraded connection with status 0 or 101, and an extended CONNECT (RFC 8441) as method CONNECT with status 200.
 * When the upstream dies in the middle of an answer, newer versions end the handler with a panic and log a duration of exactly 0.
 */
import {
  isShort,
  type LineReader,
  type LoggedRequest,
  type LogLine,
  OTHER,
  readBytes,
  readJsonObject,
  readStatus,
  textOr,
  unread,
} from "./access-line.ts";
import { type DurationUnit, readDuration, readGoDuration, readInstant } from "./log-time.ts";

type Fields = Readonly<Record<string, unknown>>;

/** The loggers of access logs. Caddy's errors and debug messages about a request have the same fields. */
const ACCESS_LOGGER = "http.log.access";
const ACCESS_MESSAGE = "handled request";

export function caddyReader(unit: DurationUnit): LineReader {
  return (line) => {
    const record = readJsonObject(line);
    if (record === undefined) return unread("not a JSON object");
    const { logger, msg, request } = record;
    if (typeof logger === "string" ? !logger.startsWith(ACCESS_LOGGER) : msg !== ACCESS_MESSAGE) {
      const isMessage = typeof logger === "string" || typeof msg === "string";
      return isMessage ? OTHER : unread("neither a logger nor a message; keep Caddy's default keys");
    }
    if (typeof request !== "object" || request === null) return unread("request is missing; do not delete it in a log filter");
    return readRecord(record, request as Fields, unit);
  };
}

function readRecord(record: Fields, request: Fields, unit: DurationUnit): LogLine {
  const finishedAtMs = readInstant(record.ts);
  if (finishedAtMs === undefined)
    return unread("ts is missing or has no time zone; use the default time_format, iso8601 or rfc3339");
  const status = readStatus(record.status);
  if (status === undefined) return unread("status is missing; do not delete it in a log filter");
  const duration = durationOf(record.duration, unit);
  if ("why" in duration) return unread(duration.why);

  const sent = fieldsOf(request.headers);
  const answered = fieldsOf(record.resp_headers);
  const method = textOr(request.method);
  const contentLength = readBytes(first(answered, "Content-Length"));
  const isCutOff =
    status >= 200 && (duration.isZero || isShort({ method, status, bodyBytes: readBytes(record.size), contentLength }));
  const found: LoggedRequest = {
    finishedAtMs,
    status,
    durationMs: isCutOff && duration.ms === 0 ? undefined : duration.ms,
    userAgent: first(sent, "User-Agent"),
    host: textOr(request.host),
    method,
    path: textOr(request.uri),
    contentType: first(answered, "Content-Type"),
    hasUpgrade: first(answered, "Upgrade") !== undefined || first(sent, "Upgrade") !== undefined,
    end: isCutOff ? "cut_off" : "complete",
  };
  return { kind: "request", request: found };
}

const OTHER_UNIT = 'set "durationUnit" to the duration_format of Caddy\'s encoder';

/**
 * Caddy writes seconds as a fraction with nanoseconds, and milliseconds and nanoseconds as whole numbers. A number that cannot be
 * in the configured unit is therefore rejected, instead of changing every latency by orders of magnitude. `isZero`: exactly 0 at a
 * resolution at which no handler takes 0.
 */
function durationOf(value: unknown, unit: DurationUnit): { ms: number; isZero: boolean } | { why: string } {
  if (typeof value === "string") {
    const ms = readGoDuration(value);
    return ms === undefined ? { why: "duration is a text that is not a duration" } : { ms, isZero: ms === 0 };
  }
  const ms = typeof value === "number" ? readDuration(value, unit) : undefined;
  if (ms === undefined) return { why: "duration is missing; do not delete it in a log filter" };
  if (ms === 0) return { ms, isZero: unit !== "ms" };
  return contradicts(value as number, unit)
    ? { why: `a duration of ${value} is not in the unit "${unit}"; ${OTHER_UNIT}` }
    : { ms, isZero: false };
}

function contradicts(value: number, unit: DurationUnit): boolean {
  const isWhole = Number.isInteger(value);
  switch (unit) {
    case "s":
      return isWhole;
    case "ns":
      // No request takes less than a microsecond.
      return !isWhole || value < 1_000;
    default:
      return !isWhole;
  }
}

const fieldsOf = (value: unknown): Fields => (typeof value === "object" && value !== null ? (value as Fields) : {});

/** The first value of a header. Caddy writes names in canonical form, and values as a list. */
function first(headers: Fields, name: string): string | undefined {
  const values = headers[name];
  return textOr(Array.isArray(values) ? values[0] : values);
}
