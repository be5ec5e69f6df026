/**
 * One access log line as a finished request. Each format has a reader: `caddy-line.ts`, `nginx-line.ts` and `json-line.ts`.
 * `request-class.ts` decides the class of a request.
 */
import { isMapping, type Mapping } from "@aviary/shared/contract/mapping.ts";

/** How an answer ended. `client`: the client closed the connection first. `cut_off`: the answer is shorter than announced. */
export type AnswerEnd = "complete" | "client" | "cut_off";

export interface LoggedRequest {
  /** When it finished, milliseconds since the epoch. */
  readonly finishedAtMs: number;
  /** 100 to 999; 0 if no answer was sent. */
  readonly status: number;
  /** Undefined if the log does not contain it although the request finished. */
  readonly durationMs: number | undefined;
  /** Empty if the client sent none; undefined if the line does not contain it. */
  readonly userAgent: string | undefined;
  readonly host: string | undefined;
  readonly method: string | undefined;
  /** The path with its query. */
  readonly path: string | undefined;
  /** The answer's Content-Type. */
  readonly contentType: string | undefined;
  /** Whether the request or the answer requests another protocol on this connection (the header Upgrade). */
  readonly hasUpgrade: boolean;
  readonly end: AnswerEnd;
}

/**
 * `other`: a line that is recognizably not a request, such as Caddy's own messages. `unread`: any other line,
 * with the reason and the fix.
 */
export type LogLine =
  | { readonly kind: "request"; readonly request: LoggedRequest }
  | { readonly kind: "other" }
  | { readonly kind: "unread"; readonly why: string };

/** Reads one line without its line feed. Never throws. */
export type LineReader = (line: string) => LogLine;

export const OTHER: LogLine = { kind: "other" };
export const unread = (why: string): LogLine => ({ kind: "unread", why });

/** newsyslog writes this line into a new log file of any format (newsyslog.conf(5), flag B). */
export function isRotationNote(line: string): boolean {
  return /^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ newsyslog\[\d+\]: logfile turned over/.test(line);
}

/** A status from a log: 100 to 999, or 0 if the writer logs 0 or -1 because nothing was sent. Undefined for anything else. */
export function readStatus(value: unknown): number | undefined {
  const status = typeof value === "string" && /^-?\d{1,3}$/.test(value) ? Number(value) : value;
  if (status === 0 || status === -1) return 0;
  return typeof status === "number" && Number.isInteger(status) && status >= 100 && status <= 999 ? status : undefined;
}

/**
 * Whether an answer is shorter than its Content-Length. Answers to HEAD, and those with status 1xx, 204 and 304, have no body
 * (https://www.rfc-editor.org/rfc/rfc9110#section-6.4.1).
 */
export function isShort(answer: {
  readonly method: string | undefined;
  readonly status: number;
  readonly bodyBytes: number | undefined;
  readonly contentLength: number | undefined;
}): boolean {
  const { method, status, bodyBytes, contentLength } = answer;
  if (bodyBytes === undefined || contentLength === undefined) return false;
  if (method === "HEAD" || method === "CONNECT" || status < 200 || status === 204 || status === 304) return false;
  return bodyBytes < contentLength;
}

/** A count of bytes from a log; undefined if there is none. */
export function readBytes(value: unknown): number | undefined {
  const bytes = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  return typeof bytes === "number" && Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : undefined;
}

export const textOr = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** A JSON object; undefined for any other text. */
export function readJsonObject(line: string): Mapping | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isMapping(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
