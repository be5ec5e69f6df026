/**
 * Counts the lines of an access log by class. Every line is in exactly one count of one signal: `requests`, `aborted`, `probes`,
 * `streams` or `unread`; or it is left out, because it is not a request of this gateway's traffic (`counts.leftOut`). Such lines
 * are messages of the proxy, requests of other hosts, and requests that finished before the collector started.
 */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { isRotationNote, type LineReader, type LoggedRequest, type LogLine, OTHER, unread } from "./access-line.ts";
import { countRequest, type HttpCounts, newCounts, toHttpBody } from "./http-counts.ts";
import { type ClassRules, classOf, isServerError } from "./request-class.ts";

export interface TallyRules extends ClassRules {
  /** Host header values that are counted; all if empty. */
  readonly hosts: readonly string[];
  /** A request that took at least this long is implausible, milliseconds. */
  readonly longestMs: number;
  /** Whether users' requests have a User-Agent, so that a log without User-Agents must have been filtered. */
  readonly requireUserAgent: boolean;
  /** Requests that finished earlier are left out, milliseconds since the epoch. */
  readonly startedAtMs: number;
}

export interface AccessCounts extends HttpCounts {
  aborted: number;
  healthChecks: number;
  longLived: number;
  unread: number;
}

/** The findings of one reading, apart from the counts. */
export interface ReadingSummary {
  /** Lines that were parsed. */
  readonly understood: number;
  readonly unread: number;
  readonly leftOut: number;
  /** Why the first unread line was not parsed. */
  readonly why: string | undefined;
}

export interface AccessTally {
  /** Starts a reading of the period that ends at `atMs`. Requests that finish later belong to the next period. */
  begin(atMs: number): void;
  add(line: string): void;
  /** Adds lines that no longer exist. */
  addLost(lines: number): void;
  /** The findings of this reading so far. */
  summary(): ReadingSummary;
  /**
   * Ends the period. Without this call, its counts belong to the next period.
   * @param waiting lines that exist and have not been read yet
   */
  close(waiting: number): SignalBody<"http">;
}

const NO_USER_AGENT =
  'no line so far has a User-Agent, which separates health checks from users; log it, or set "requireUserAgent" to false';

const NO_HOST = 'the line has no host, and "hosts" selects by it; log the host, or remove "hosts"';

export function createTally(read: LineReader, rules: TallyRules): AccessTally {
  const hosts = new Set(rules.hosts.map(canonicalHost));
  /** Requests before and after the end of the current period. */
  let now = newAccessCounts();
  let next = newAccessCounts();
  let { startedAtMs } = rules;
  let boundaryMs = startedAtMs;
  let hasUserAgent = !rules.requireUserAgent;
  let found = { understood: 0, unread: 0, leftOut: 0, why: undefined as string | undefined };

  function understand(line: string): LogLine {
    const result = read(line);
    if (result.kind === "unread" && isRotationNote(line)) return OTHER;
    if (result.kind !== "request") return result;
    const { userAgent, host } = result.request;
    hasUserAgent ||= userAgent !== undefined;
    if (!hasUserAgent) return unread(NO_USER_AGENT);
    return hosts.size > 0 && host === undefined ? unread(NO_HOST) : result;
  }

  function isOurs(request: LoggedRequest): boolean {
    return request.finishedAtMs >= startedAtMs && (hosts.size === 0 || isOneOf(hosts, request.host ?? ""));
  }

  function addUnread(why: string): void {
    now.unread += 1;
    found.unread += 1;
    found.why ??= why;
  }

  return {
    begin(atMs) {
      found = { understood: 0, unread: 0, leftOut: 0, why: undefined };
      // After the clock was set back, no later time can be compared with the start.
      if (atMs < startedAtMs) startedAtMs = 0;
      if (atMs === boundaryMs) return;
      // Periods are contiguous: requests after the last boundary belong to this period.
      addCounts(now, next);
      next = newAccessCounts();
      boundaryMs = atMs;
    },
    add(line) {
      const result = understand(line);
      if (result.kind === "unread") return addUnread(result.why);
      if (result.kind === "other" || !isOurs(result.request)) {
        found.leftOut += 1;
        found.understood += 1;
        return;
      }
      const why = count(result.request.finishedAtMs < boundaryMs ? now : next, result.request, rules);
      if (why !== undefined) return addUnread(why);
      found.understood += 1;
    },
    addLost(lines) {
      now.unread += lines;
    },
    summary: () => ({ ...found }),
    close(waiting) {
      const { aborted, healthChecks, longLived, unread: unreadLines } = now;
      const counts = { aborted, probes: healthChecks, streams: longLived, unread: unreadLines + waiting };
      const body = { ...toHttpBody("access-log", now), ...counts };
      now = newAccessCounts();
      return body;
    },
  };
}

/** Counts a request in its class; returns the reason if the request is implausible. */
function count(counts: AccessCounts, request: LoggedRequest, rules: TallyRules): string | undefined {
  switch (classOf(request, rules)) {
    case "health_check":
      counts.healthChecks += 1;
      return undefined;
    case "long_lived":
      counts.longLived += 1;
      return undefined;
    case "aborted":
      counts.aborted += 1;
      return undefined;
    case "request": {
      const { status, durationMs } = request;
      if (durationMs !== undefined && durationMs >= rules.longestMs)
        return `a request of ${Math.round(durationMs / 1_000)} s is longer than "longest"; raise it, check the unit of durations, or list the path in "longLivedPaths"`;
      countRequest(counts, { status, durationMs, isServerError: isServerError(request) });
      return undefined;
    }
  }
}

function newAccessCounts(): AccessCounts {
  return { ...newCounts(), aborted: 0, healthChecks: 0, longLived: 0, unread: 0 };
}

/** Adds `more` to `counts` in place. */
function addCounts(counts: AccessCounts, more: AccessCounts): void {
  for (const key of ["requests", "errors5xx", "errors4xx", "aborted", "healthChecks", "longLived", "unread"] as const)
    counts[key] += more[key];
  histogram.merge(counts.latency, more.latency);
}

/** Whether a Host header names one of the hosts; a host without a port matches every port. */
function isOneOf(hosts: ReadonlySet<string>, header: string): boolean {
  const host = canonicalHost(header);
  return hosts.has(host) || hosts.has(host.replace(/:\d+$/, ""));
}

/** Lower case, without the final dot of a fully qualified name (https://www.rfc-editor.org/rfc/rfc9110#section-4.2.3). */
function canonicalHost(text: string): string {
  return text
    .trim()
    .toLowerCase()
    .replace(/\.(?=$|:\d+$)/, "");
}
