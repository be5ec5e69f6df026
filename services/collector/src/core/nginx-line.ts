/**
 * nginx access log lines of any `log_format` that can be split with certainty (`nginx-format.ts`). Nothing is inferred
 * from absent values: without `$sent_http_content_type` an event stream looks like a slow request, and without
 * `$request_completion` or `$sent_http_content_length` a cut-off answer looks complete.
 */
import { isShort, type LineReader, type LogLine, readBytes, readStatus, unread } from "./access-line.ts";
import { readDuration, readInstant } from "./log-time.ts";
import { type NginxFormat, readNginxLine } from "./nginx-format.ts";

export function nginxReader(format: NginxFormat): LineReader {
  return (line) => {
    const values = readNginxLine(format, line);
    return values === undefined ? unread('the line does not match "logFormat"') : readValues(values);
  };
}

function readValues(values: ReadonlyMap<string, string>): LogLine {
  /** nginx writes `-` for a variable without a value, or nothing with `escape=json`. */
  const firstOf = (...names: readonly string[]): string | undefined => {
    for (const name of names) {
      const value = values.get(name);
      if (value !== undefined && value !== "-" && value !== "") return value;
    }
    return undefined;
  };
  const finishedAtMs = readInstant(firstOf("msec", "time_iso8601", "time_local"));
  if (finishedAtMs === undefined) return unread('the line does not match "logFormat": no time');
  const status = readStatus(values.get("status"));
  if (status === undefined) return unread('the line does not match "logFormat": no status');
  const durationMs = readDuration(firstOf("request_time"), "s");
  if (durationMs === undefined) return unread('the line does not match "logFormat": no duration');

  const [word, target] = (firstOf("request") ?? "").split(" ");
  const method = firstOf("request_method") ?? (/^[A-Z]+$/.test(word as string) ? word : undefined);
  const answer = {
    method,
    status,
    bodyBytes: readBytes(values.get("body_bytes_sent")),
    contentLength: readBytes(firstOf("sent_http_content_length")),
  };
  const isIncomplete = values.has("request_completion") && status >= 200 && firstOf("request_completion") !== "OK";
  return {
    kind: "request",
    request: {
      finishedAtMs,
      status,
      durationMs,
      userAgent: firstOf("http_user_agent") ?? "",
      host: values.has("host") || values.has("http_host") ? (firstOf("host", "http_host") ?? "") : undefined,
      method,
      path: firstOf("request_uri") ?? target,
      contentType: firstOf("sent_http_content_type", "upstream_http_content_type"),
      hasUpgrade: firstOf("sent_http_upgrade", "http_upgrade") !== undefined,
      end: isIncomplete || isShort(answer) ? "cut_off" : "complete",
    },
  };
}
