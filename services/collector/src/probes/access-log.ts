/**
 * Requests, errors and latency of user traffic, from the access log of the proxy in front of the gateway. The gateway exposes no HTTP metrics.
 *
 * A signal counts the requests that finished in `[at - period, at)`. A late line is counted in the next signal. Requests that finished before
 * the collector started are ignored. Each reading has a byte budget; the rest of a burst is read in the next one.
 */

import { bytes } from "@aviary/shared/runtime/bytes.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import { isSynthetic, LOG_FORMATS, type LogFormat, readAccessLine } from "../core/access-line.ts";
import { addCounts, countRequest, type HttpCounts, newCounts, toHttpBody } from "../core/http-counts.ts";
import { DEFAULT_NGINX_FORMAT, type NginxFormat, readNginxFormat } from "../core/nginx-format.ts";
import { type LogTail, openTail } from "../io/tail.ts";
import { defineProbe, type ProbeContext, type Source, timing } from "../probe.ts";

const config = z.strictObject({
  ...timing("5s", "4s"),
  path: z.string().min(1),
  format: z.enum(LOG_FORMATS),
  /** For `nginx`: the `log_format` from nginx.conf, on one line. */
  logFormat: z
    .string()
    .max(2_048)
    .superRefine((text, context) => {
      const result = readNginxFormat(text);
      if ("missing" in result) context.addIssue({ code: "custom", message: `a log_format with ${result.missing}` });
    })
    .default(DEFAULT_NGINX_FORMAT),
  /** Count only requests for these hosts; empty counts all. The log must include the host. */
  hosts: z.array(z.string().min(1).max(255)).max(32).default([]),
  /** Maximum bytes per reading. */
  budget: bytes("64KiB", "1GiB").prefault("16MiB"),
});
type Config = z.output<typeof config>;

export const accessLog = defineProbe({
  name: "access-log",
  kind: "http",
  configSchema: config,
  coversPeriod: true,
  initial: undefined,
  create: readLog,
  parse: (counts: HttpCounts, state) => ({ bodies: [toHttpBody("access-log", counts)], state }),
});

function readLog(settings: Config, context: ProbeContext): Source<HttpCounts> {
  const { path, format, budget: budgetBytes } = settings;
  const nginx = readNginxFormat(settings.logFormat) as NginxFormat;
  const hosts = new Set(settings.hosts.map(canonicalHost));
  const startedAt = context.clock.now();
  const opening = openTail({ path });
  // The first read reports the failure; without a handler it would be an unhandled rejection.
  opening.catch(() => {});
  /** Requests before and after the end of the current period. */
  let now = newCounts();
  let next = newCounts();
  let boundary = startedAt;

  async function read(tail: LogTail, atMs: number, signal: AbortSignal): Promise<HttpCounts> {
    if (atMs !== boundary) {
      // Periods are contiguous: requests after the last boundary belong to this period.
      addCounts(now, next);
      next = newCounts();
      boundary = atMs;
    }
    const seen = { good: 0, bad: 0 };
    const report = await tail.read(budgetBytes, (line) => countLine(line, atMs, seen), signal);
    context.count("lines", seen.good);
    context.count("unreadable_lines", seen.bad + report.oversizedLines);
    context.count("rotations", report.rotations);
    context.count("truncations", report.truncations);
    if (report.unreadBytes > 0) context.count("readings_behind", 1);
    if (seen.bad > 0 && seen.good === 0) {
      throw retryable(
        "wrong_format",
        `none of ${seen.bad} new lines of ${path} matches the format ${format}; check "format" and "logFormat"`,
      );
    }
    // A reading that timed out reports nothing: its requests belong to the next one.
    signal.throwIfAborted();
    const counts = now;
    now = newCounts();
    return counts;
  }

  function countLine(line: string, atMs: number, seen: { good: number; bad: number }): void {
    const result = readAccessLine(line, format as LogFormat, nginx);
    if (result.kind === "bad") {
      seen.bad += 1;
      return;
    }
    seen.good += 1;
    if (result.kind === "other" || isSynthetic(result.request) || result.request.finishedAtMs < startedAt) return;
    if (hosts.size > 0 && !isOneOf(hosts, result.request.host)) return;
    countRequest(result.request.finishedAtMs < atMs ? now : next, result.request);
  }

  return {
    read: async (tick, signal) => read(await opening, tick.atMs, signal),
    async [Symbol.asyncDispose]() {
      await (await opening.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}

/** Whether a Host header names one of the hosts; a host without a port matches every port. */
function isOneOf(hosts: ReadonlySet<string>, header: string | undefined): boolean {
  if (header === undefined) return false;
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
