/**
 * Requests, errors and latency of user traffic, from the access log of the proxy in front of the gateway. The gateway exposes no
 * HTTP metrics.
 *
 * A signal counts the requests that finished in `[at - period, at)`. A late line is counted in the next signal. Requests that
 * finished before the collector started are left out. Each reading has a byte budget; the rest of a burst is read in the next one.
 * Every line is accounted for (`core/access-tally.ts`).
 */

import { EVEN_IF_MALFORMED } from "@aviary/shared/contract/even-if-malformed.ts";
import { isMapping } from "@aviary/shared/contract/mapping.ts";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { duration } from "@aviary/shared/contract/units.ts";
import { bytes } from "@aviary/shared/runtime/bytes.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import type { LineReader } from "../core/access-line.ts";
import { createTally, type ReadingSummary } from "../core/access-tally.ts";
import { caddyReader } from "../core/caddy-line.ts";
import { JSONL_FIELDS, type JsonFields, jsonReader, TRAEFIK_FIELDS } from "../core/json-line.ts";
import { DURATION_UNITS, type DurationUnit } from "../core/log-time.ts";
import { DEFAULT_NGINX_FORMAT, type NginxFormat, readNginxFormat } from "../core/nginx-format.ts";
import { nginxReader } from "../core/nginx-line.ts";
import { HEALTH_CHECKERS } from "../core/request-class.ts";
import type { TailReport } from "../io/followed-files.ts";
import { type LogTail, openTail } from "../io/tail.ts";
import { defineProbe, type ProbeContext, type Source, timing } from "../probe.ts";

const LOG_FORMATS = ["caddy", "nginx", "traefik", "json", "jsonl"] as const;

const fieldName = z.string().min(1).max(128);
/** For `json`: the log's field names. */
const fields = z.strictObject({
  /** When the request finished: ISO 8601 with a zone, or a number since the epoch. */
  time: fieldName.optional(),
  /** When the request started; its duration is added. */
  startTime: fieldName.optional(),
  status: fieldName,
  duration: fieldName,
  userAgent: fieldName,
  host: fieldName.optional(),
  method: fieldName.optional(),
  path: fieldName.optional(),
  /** The answer's Content-Type; without it, event streams are recognized by `longLivedPaths` only. */
  contentType: fieldName.optional(),
  /** Bytes of the answer's body, and its Content-Length: fewer than announced is a cut-off answer. */
  bodyBytes: fieldName.optional(),
  contentLength: fieldName.optional(),
  /** The request's or the answer's Upgrade header. */
  upgrade: fieldName.optional(),
  /** `%RESPONSE_FLAGS%` of Envoy. */
  envoyFlags: fieldName.optional(),
  /** `%ts` of HAProxy. */
  haproxyTermination: fieldName.optional(),
});

const config = z
  .strictObject({
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
    /** For `caddy` (`s` by default) and `json`: the unit of numeric durations. */
    durationUnit: z.enum(DURATION_UNITS).optional(),
    fields: fields.optional(),
    /** Count only requests for these hosts; empty counts all. The log must include the host. */
    hosts: z.array(z.string().min(1).max(255)).max(32).default([]),
    /** User-Agent prefixes of health checkers, whose requests are counted separately. */
    healthCheckers: z
      .array(z.string().min(1).max(255))
      .max(64)
      .default([...HEALTH_CHECKERS]),
    /** Prefixes of paths whose answers are event streams. */
    longLivedPaths: z.array(z.string().startsWith("/").max(512)).max(32).default([]),
    /** A request that took at least this long is implausible, and its line counts as unread. */
    longest: duration("1s", "7d").prefault("10m"),
    /** False if users' requests have no User-Agent. */
    requireUserAgent: z.boolean().default(true),
    /** Maximum bytes per reading. */
    budget: bytes("64KiB", "1GiB").prefault("16MiB"),
  })
  .superRefine((entry, context) => {
    for (const message of contradictions(entry)) context.addIssue({ code: "custom", message });
  }, EVEN_IF_MALFORMED);
type Config = z.output<typeof config>;

/** Settings that the format requires and `entry` lacks, or that belong to another format. `entry` may have any shape. */
function contradictions(entry: unknown): string[] {
  if (!isMapping(entry)) return [];
  const { format, fields: given, durationUnit, hosts, logFormat } = entry;
  const names = isMapping(given) ? given : undefined;
  const problems: string[] = [];
  if (format === "json" && given === undefined) problems.push('"fields", for the format json');
  if (format === "json" && durationUnit === undefined) problems.push('"durationUnit", for the format json');
  if (format !== "json" && given !== undefined) problems.push('"fields" with the format json only');
  if (format !== "json" && format !== "caddy" && durationUnit !== undefined)
    problems.push('"durationUnit" with the formats json and caddy only');
  if (names !== undefined && (names.time === undefined) === (names.startTime === undefined))
    problems.push('exactly one of "fields.time" and "fields.startTime"');
  const selects = Array.isArray(hosts) && hosts.length > 0;
  if (selects && format === "json" && names !== undefined && names.host === undefined)
    problems.push('"fields.host", because "hosts" selects by it');
  if (selects && format === "nginx" && typeof logFormat === "string" && !/\$\{?(?:http_)?host\b/.test(logFormat))
    problems.push('a "logFormat" with $host, because "hosts" selects by it');
  return problems;
}

export const accessLog = defineProbe({
  name: "access-log",
  kind: "http",
  configSchema: config,
  coversPeriod: true,
  initial: undefined,
  create: readLog,
  parse: (body: SignalBody<"http">, state) => ({ bodies: [body], state }),
});

function readLog(settings: Config, context: ProbeContext): Source<SignalBody<"http">> {
  const { path, budget: budgetBytes } = settings;
  const tally = createTally(readerOf(settings), {
    hosts: settings.hosts,
    healthCheckers: settings.healthCheckers.map((prefix) => prefix.toLowerCase()),
    longLivedPaths: settings.longLivedPaths,
    longestMs: settings.longest,
    requireUserAgent: settings.requireUserAgent,
    startedAtMs: context.clock.now(),
  });
  const opening = openTail({ path });
  // The first read reports the failure; without a handler it would be an unhandled rejection.
  opening.catch(() => {});
  let wasNotReopened = false;

  async function read(tail: LogTail, atMs: number, signal: AbortSignal): Promise<SignalBody<"http">> {
    tally.begin(atMs);
    const report = await tail.read(budgetBytes, tally.add, signal);
    tally.addLost(report.oversizedLines + report.lost);
    const found = tally.summary();
    countEvents(context, report, found);
    if (report.isNotReopened && !wasNotReopened)
      context.log.warn({ event: "log.not_reopened", path }, "the proxy still writes to the renamed log; make it reopen its log");
    wasNotReopened = report.isNotReopened;
    if (found.unread > 0 && found.understood === 0) {
      throw retryable(
        "wrong_format",
        `none of ${found.unread} new lines of ${path} could be read as ${settings.format}: ${found.why}`,
      );
    }
    // A reading that timed out reports nothing; its requests belong to the next one.
    signal.throwIfAborted();
    return tally.close(report.unreadLines);
  }

  return {
    read: async (tick, signal) => read(await opening, tick.atMs, signal),
    async [Symbol.asyncDispose]() {
      await (await opening.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}

function countEvents(context: ProbeContext, report: TailReport, found: ReadingSummary): void {
  context.count("lines", found.understood);
  context.count("left_out_lines", found.leftOut);
  context.count("unreadable_lines", found.unread + report.oversizedLines);
  context.count("lost_lines", report.lost);
  context.count("rotations", report.rotations);
  context.count("truncations", report.truncations);
  if (report.isNotReopened) context.count("not_reopened", 1);
  if (report.unreadBytes > 0) context.count("readings_behind", 1);
}

function readerOf({ format, logFormat, durationUnit, fields: names }: Config): LineReader {
  switch (format) {
    case "caddy":
      return caddyReader(durationUnit ?? "s");
    case "nginx":
      return nginxReader(readNginxFormat(logFormat) as NginxFormat);
    case "traefik":
      return jsonReader(TRAEFIK_FIELDS, "ns");
    case "jsonl":
      return jsonReader(JSONL_FIELDS, "ms");
    case "json":
      return jsonReader(names as JsonFields, durationUnit as DurationUnit);
  }
}
