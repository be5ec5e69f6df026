/**
 * Synthetic requests through the VIP at a constant rate, for canaries without user traffic. A dedicated User-Agent excludes them
 * from access-log counts, and a dedicated signal source keeps them separate from user traffic.
 *
 * Requests are never retried, because each one is a measurement. A timeout or connection failure counts as an error, as for a user.
 * A response without JSON, or with a status of 300 to 499, indicates a wrong path or credentials: the reading fails until the
 * configuration is fixed.
 */
import { duration } from "@aviary/shared/contract/units.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import type { ProbeResult } from "../core/health.ts";
import { countRequest, type HttpCounts, newCounts, toHttpBody } from "../core/http-counts.ts";
import { httpGet } from "../io/http-get.ts";
import { defineProbe, type ProbeContext, type Source, timing } from "../probe.ts";

const MAX_IN_FLIGHT = 16;

const config = z.strictObject({
  ...timing("5s", "4s"),
  /** A cheap path that returns JSON, through the same route as user traffic. */
  url: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }),
  /** Requests per second. */
  rate: z.number().min(0.01).max(50).default(1),
  answerTimeout: duration("50ms", "1m").prefault("5s"),
});
type Config = z.output<typeof config>;

export const synthetic = defineProbe({
  name: "synthetic",
  kind: "http",
  configSchema: config,
  coversPeriod: true,
  initial: undefined,
  create: sendSteadily,
  parse: (counts: HttpCounts, state) => ({ bodies: [toHttpBody("synthetic", counts)], state }),
});

function sendSteadily({ url, rate, answerTimeout: timeoutMs }: Config, context: ProbeContext): Source<HttpCounts> {
  const { clock } = context;
  const stopping = new AbortController();
  let counts = newCounts();
  let misdirected = 0;
  let inFlight = 0;
  let cancel = clock.setTimer(0, () => pace(clock.monotonicMs()));

  function pace(dueMs: number): void {
    if (stopping.signal.aborted) return;
    if (inFlight < MAX_IN_FLIGHT) void sendOnce();
    else context.count("requests_left_out", 1);
    // Scheduled from the due time to keep the rate. After the machine slept, missed requests are skipped.
    const nextMs = Math.max(dueMs + 1_000 / rate, clock.monotonicMs());
    cancel = clock.setTimer(nextMs - clock.monotonicMs(), () => pace(nextMs));
  }

  async function sendOnce(): Promise<void> {
    inFlight += 1;
    const startedMs = clock.monotonicMs();
    try {
      const result = await httpGet(context.http, { url, timeoutMs, signal: stopping.signal });
      const status = statusOf(result);
      if (status === undefined) misdirected += 1;
      else countRequest(counts, { status, isServerError: status >= 500, durationMs: clock.monotonicMs() - startedMs });
    } catch {
      // Aborted by disposal: not a measurement.
    } finally {
      inFlight -= 1;
    }
  }

  return {
    async read() {
      const wrong = misdirected;
      misdirected = 0;
      // The measured requests stay counted for the next reading.
      if (wrong > 0)
        throw terminal("misdirected", `${wrong} synthetic requests returned no JSON, or a status of 300 to 499; check "url"`);
      const seen = counts;
      counts = newCounts();
      return seen;
    },
    async [Symbol.asyncDispose]() {
      cancel();
      stopping.abort(new Error("synthetic requests stopped"));
    },
  };
}

/**
 * The status to count; undefined for a misdirected request. A timeout or a refused connection counts as 504, as a proxy would
 * report it.
 */
function statusOf(answer: ProbeResult): number | undefined {
  if (answer.kind === "timeout" || answer.kind === "refused") return 504;
  if (answer.kind === "failed") return answer.code === "redirect" || answer.code === "bad_url" ? undefined : 502;
  if (answer.status >= 500) return answer.status;
  return answer.kind === "json" && answer.status < 300 ? answer.status : undefined;
}
