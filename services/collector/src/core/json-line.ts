/**
 * JSON access logs whose field names come from a table: the example fleet's, Traefik's, and those whose fields the proxy's
 * configuration chooses (Envoy's `json_format`, HAProxy's `log-format` with `%{+json}o`).
 *
 * A separate field contains the proxy's code for how a request ended:
 * - Envoy: `%RESPONSE_FLAGS%` (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage): `DC` and
 *   `DPE` are the client's; `U…`, `LR`, `SI`, `DT` and `DO` end an answer that had started;
 * - HAProxy: `%ts` (https://docs.haproxy.org/3.0/configuration.html#8.5): the first letter is `C` or `c` for the client, `-`, `L`
 * or
 *   `P` for an answer that was sent completely, anything else for an answer that the server or HAProxy cut off.
 */
import {
  type AnswerEnd,
  isShort,
  type LineReader,
  type LogLine,
  readBytes,
  readJsonObject,
  readStatus,
  textOr,
  unread,
} from "./access-line.ts";
import { type DurationUnit, readDuration, readInstant } from "./log-time.ts";

/** Field names. A property whose optional field is absent is unknown. */
export interface JsonFields {
  /** When the request finished. */
  readonly time?: string | undefined;
  /** When it started, if the log does not contain the time of its end. */
  readonly startTime?: string | undefined;
  readonly status: string;
  readonly duration: string;
  readonly userAgent: string;
  readonly host?: string | undefined;
  readonly method?: string | undefined;
  readonly path?: string | undefined;
  readonly contentType?: string | undefined;
  readonly bodyBytes?: string | undefined;
  readonly contentLength?: string | undefined;
  readonly upgrade?: string | undefined;
  /** False if the answer was cut off. */
  readonly complete?: string | undefined;
  readonly envoyFlags?: string | undefined;
  readonly haproxyTermination?: string | undefined;
}

/** The example fleet's log. */
export const JSONL_FIELDS: JsonFields = {
  time: "ts",
  status: "status",
  duration: "duration_ms",
  userAgent: "user_agent",
  host: "host",
  method: "method",
  path: "uri",
  contentType: "content_type",
  complete: "complete",
};

/**
 * Traefik's JSON log; headers are logged only with `fields.headers` (https://doc.traefik.io/traefik/observability/access-logs/).
 */
export const TRAEFIK_FIELDS: JsonFields = {
  time: "time",
  status: "DownstreamStatus",
  duration: "Duration",
  userAgent: "request_User-Agent",
  host: "RequestHost",
  method: "RequestMethod",
  path: "RequestPath",
  contentType: "downstream_Content-Type",
  bodyBytes: "DownstreamContentSize",
  contentLength: "downstream_Content-Length",
  upgrade: "request_Upgrade",
};

export function jsonReader(fields: JsonFields, unit: DurationUnit): LineReader {
  return (line) => {
    const record = readJsonObject(line);
    return record === undefined ? unread("not a JSON object") : readRecord(record, fields, unit);
  };
}

function readRecord(record: Readonly<Record<string, unknown>>, fields: JsonFields, unit: DurationUnit): LogLine {
  const valueIn = (name: string | undefined): unknown => (name === undefined ? undefined : record[name]);
  /** `-` stands for a field without a value. */
  const text = (name: string | undefined): string | undefined => {
    const value = textOr(valueIn(name));
    return value === "-" || value === "" ? undefined : value;
  };
  const status = readStatus(valueIn(fields.status));
  if (status === undefined) return unread(`no status in the field "${fields.status}"`);
  const durationMs = readDuration(valueIn(fields.duration), unit);
  // HAProxy and Envoy write -1 or `-` for a request that ended before an answer.
  if (durationMs === undefined && status !== 0) return unread(`no duration in the field "${fields.duration}"`);
  const time = fields.time ?? fields.startTime;
  const instantMs = readInstant(valueIn(time));
  if (instantMs === undefined) return unread(`no time with a zone in the field "${time}"`);

  const method = text(fields.method);
  const answer = {
    method,
    status,
    bodyBytes: readBytes(valueIn(fields.bodyBytes)),
    contentLength: readBytes(valueIn(fields.contentLength)),
  };
  const isCutOff = valueIn(fields.complete) === false || isShort(answer);
  const end = endOf(text(fields.envoyFlags), text(fields.haproxyTermination), status);
  return {
    kind: "request",
    request: {
      finishedAtMs: fields.time === undefined ? instantMs + (durationMs ?? 0) : instantMs,
      status,
      durationMs,
      userAgent: Object.hasOwn(record, fields.userAgent) ? (text(fields.userAgent) ?? "") : undefined,
      host: fields.host !== undefined && Object.hasOwn(record, fields.host) ? (text(fields.host) ?? "") : undefined,
      method,
      path: text(fields.path),
      contentType: text(fields.contentType),
      hasUpgrade: text(fields.upgrade) !== undefined,
      end: end === "complete" && isCutOff ? "cut_off" : end,
    },
  };
}

const CLIENT_FLAGS: ReadonlySet<string> = new Set(["DC", "DPE"]);
const CUT_OFF_FLAG = /^(?:U[A-Z]*|LR|SI|DT|DO)$/;
/** Flags that start with U but concern a request that Envoy answered itself. */
const ANSWERED_FLAGS: ReadonlySet<string> = new Set(["UAEX", "UH"]);

function endOf(flags: string | undefined, termination: string | undefined, status: number): AnswerEnd {
  if (flags !== undefined) {
    const set = flags.split(",");
    if (set.some((flag) => CLIENT_FLAGS.has(flag))) return "client";
    // Envoy answers these with its own status; below 500, the answer had already started.
    if (status < 500 && set.some((flag) => CUT_OFF_FLAG.test(flag) && !ANSWERED_FLAGS.has(flag))) return "cut_off";
  }
  const [cause] = termination ?? "-";
  if (cause === "C" || cause === "c") return "client";
  return cause === "-" || cause === "L" || cause === "P" || status >= 500 ? "complete" : "cut_off";
}
