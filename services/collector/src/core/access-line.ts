/**
 * Parses one access log line into a finished request. Three formats:
 * - `caddy`: Caddy's JSON access log (https://caddyserver.com/docs/logging): `ts` is when the request finished, in seconds; `duration` in seconds;
 * - `nginx`: any `log_format` with the required variables (`nginx-format.ts`);
 * - `jsonl`: one JSON object per line with `ts` (ISO 8601, or seconds since the epoch), `status`, `duration_ms`, `user_agent`, and optionally `host`.
 *
 * A 101 response is not counted: the connection becomes a WebSocket, and its "duration" is the session length.
 */
import { type NginxFormat, readLocalTime, readNginxLine } from "./nginx-format.ts";

export const LOG_FORMATS = ["caddy", "nginx", "jsonl"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LoggedRequest {
  /** When it finished, milliseconds since the epoch. */
  readonly finishedAtMs: number;
  readonly status: number;
  readonly durationMs: number;
  readonly userAgent: string;
  readonly host: string | undefined;
}

/** `other`: a well-formed line that is not a request, such as Caddy's own messages. `bad`: not a line of this format. */
export type LogLine =
  | { readonly kind: "request"; readonly request: LoggedRequest }
  | { readonly kind: "other" }
  | { readonly kind: "bad" };

const OTHER: LogLine = { kind: "other" };
const BAD: LogLine = { kind: "bad" };

/** User-Agent prefix of collector requests. */
const SYNTHETIC_AGENT_PREFIX = "aviary-synthetic/";
/** User-Agent of every collector request. */
export const SYNTHETIC_AGENT = `${SYNTHETIC_AGENT_PREFIX}1`;

export function isSynthetic(request: LoggedRequest): boolean {
  return request.userAgent.startsWith(SYNTHETIC_AGENT_PREFIX);
}

/** Parses one line without its line feed. */
export function readAccessLine(line: string, format: LogFormat, nginx: NginxFormat): LogLine {
  if (format === "nginx") return readNginx(line, nginx);
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return BAD;
  }
  if (typeof value !== "object" || value === null) return BAD;
  return format === "caddy" ? readCaddy(value as Record<string, unknown>) : readJsonl(value as Record<string, unknown>);
}

function readCaddy(record: Readonly<Record<string, unknown>>): LogLine {
  const request = record.request;
  if (typeof request !== "object" || request === null || record.status === undefined) return OTHER;
  const { headers, host } = request as { headers?: unknown; host?: unknown };
  const { duration } = record;
  // A request aborted by the client has status 0: finished, and not a gateway error.
  return finished(
    record.ts,
    record.status,
    typeof duration === "number" ? duration * 1_000 : undefined,
    userAgentOf(headers),
    host,
  );
}

function userAgentOf(headers: unknown): string {
  if (typeof headers !== "object" || headers === null) return "";
  const values = (headers as Record<string, unknown>)["User-Agent"];
  const first = Array.isArray(values) ? values[0] : values;
  return typeof first === "string" ? first : "";
}

function readJsonl(record: Readonly<Record<string, unknown>>): LogLine {
  if (record.status === undefined) return OTHER;
  const agent = record.user_agent;
  return finished(record.ts, record.status, record.duration_ms, typeof agent === "string" ? agent : "", record.host);
}

function readNginx(line: string, format: NginxFormat): LogLine {
  const values = readNginxLine(format, line);
  if (values === undefined) return BAD;
  const local = values.get("time_local");
  const at = values.get("msec") ?? values.get("time_iso8601") ?? (local === undefined ? undefined : readLocalTime(local));
  const seconds = Number(values.get("request_time"));
  const ts = typeof at === "number" ? at / 1_000 : /^[\d.]+$/.test(at ?? "") ? Number(at) : at;
  return finished(ts, Number(values.get("status")), seconds * 1_000, values.get("http_user_agent") ?? "", values.get("host"));
}

function finished(ts: unknown, status: unknown, durationMs: unknown, userAgent: string, host: unknown): LogLine {
  const finishedAtMs = timeOf(ts);
  if (finishedAtMs === undefined || !Number.isInteger(status) || typeof durationMs !== "number") return BAD;
  if (!Number.isFinite(durationMs) || durationMs < 0) return BAD;
  if (status === 101) return OTHER;
  const request = {
    finishedAtMs,
    status: status as number,
    durationMs,
    userAgent,
    host: typeof host === "string" ? host : undefined,
  };
  return { kind: "request", request };
}

/** Seconds since the epoch, or ISO 8601, as milliseconds since the epoch. Numbers above 10^11 are already milliseconds. */
function timeOf(ts: unknown): number | undefined {
  const at = typeof ts === "number" ? (ts > 1e11 ? ts : ts * 1_000) : typeof ts === "string" ? Date.parse(ts) : Number.NaN;
  return Number.isFinite(at) && at > 0 && at < 8.64e15 ? at : undefined;
}
