/**
 * Requests, errors and latency of user traffic, from the access log of the proxy in front of the gateway; the gateway itself
 * counts no HTTP requests.
 *
 * A signal counts the requests that finished in `[at - period, at)`. A line that arrives later is counted in the next signal;
 * requests that finished before the collector started are not counted. Each reading has a byte budget; the rest of a burst is
 * read next time.
 */

import { bytes } from "@aviary/shared/runtime/bytes.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import { isSynthetic, LOG_FORMATS, type LogFormat, readAccessLine } from "../core/access-line.ts";
import { addCounts, countRequest, type HttpCounts, httpBodyOf, newCounts } from "../core/http-counts.ts";
import { DEFAULT_NGINX_FORMAT, type NginxFormat, readNginxFormat } from "../core/nginx-format.ts";
import { openTail, type Tail } from "../io/tail.ts";
import { defineProbe, type Source, timing, type World } from "../probe.ts";

const config = z.strictObject({
  ...timing("5s", "4s"),
  path: z.string().min(1),
  format: z.enum(LOG_FORMATS),
  /** For `nginx`: the `log_format` of nginx.conf, in one line. */
  logFormat: z
    .string()
    .max(2_048)
    .superRefine((text, context) => {
      const result = readNginxFormat(text);
      if ("missing" in result) context.addIssue({ code: "custom", message: `a log_format with ${result.missing}` });
    })
    .default(DEFAULT_NGINX_FORMAT),
  /** Count only requests for these hosts; all if empty. The log must contain the host. */
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
  parse: (counts: HttpCounts, state) => ({ bodies: [httpBodyOf("access-log", counts)], state }),
});

function readLog(settings: Config, world: World): Source<HttpCounts> {
  const { path, format, budget: budgetBytes } = settings;
  const nginx = readNginxFormat(settings.logFormat) as NginxFormat;
  const hosts = new Set(settings.hosts);
  const startedAt = world.clock.now();
  const opening = openTail({ path });
  // The first read reports the failure.
  opening.catch(() => {});
  /** Requests before the end of the current period, and after it. */
  let now = newCounts();
  let next = newCounts();
  let boundary = startedAt;

  async function read(tail: Tail, at: number, signal: AbortSignal): Promise<HttpCounts> {
    if (at !== boundary) {
      // Requests after the previous boundary are before this one, because periods are contiguous.
      addCounts(now, next);
      next = newCounts();
      boundary = at;
    }
    const seen = { good: 0, bad: 0 };
    const report = await tail.read(budgetBytes, (line) => seeLine(line, at, seen), signal);
    world.count("lines", seen.good);
    world.count("unreadable_lines", seen.bad + report.oversized);
    world.count("rotations", report.rotations);
    world.count("truncations", report.truncations);
    if (report.behind > 0) world.count("readings_behind", 1);
    if (seen.bad > 0 && seen.good === 0) {
      throw retryable(
        "wrong_format",
        `none of ${seen.bad} new lines of ${path} has the format ${format}; check "format" and "logFormat"`,
      );
    }
    const counts = now;
    now = newCounts();
    return counts;
  }

  function seeLine(line: string, at: number, seen: { good: number; bad: number }): void {
    const result = readAccessLine(line, format as LogFormat, nginx);
    if (result.kind === "bad") {
      seen.bad += 1;
      return;
    }
    seen.good += 1;
    if (result.kind === "other" || isSynthetic(result.request) || result.request.finishedAt < startedAt) return;
    if (hosts.size > 0 && !hosts.has(result.request.host ?? "")) return;
    countRequest(result.request.finishedAt < at ? now : next, result.request);
  }

  return {
    read: async (tick, signal) => read(await opening, tick.at, signal),
    async [Symbol.asyncDispose]() {
      await (await opening.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}
