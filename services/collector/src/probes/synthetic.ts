/**
 * Our own requests through the VIP, at a steady rate: for canaries that have no users yet. They carry a User-Agent of their own, so that no access log
 * counts them as users, and their signal has a source of its own, so that nobody adds them to user traffic.
 *
 * Each request is one attempt: it is the measurement. No answer in time, or none at all, counts as an error, as it would be one for a user. An answer
 * that is not JSON, or has a status of 300 to 499, measures nothing: the path or the credentials are wrong, and the reading fails until that is mended.
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
  /** A path that answers JSON and costs the gateway little, reached the way users reach it. */
  url: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }),
  /** Requests a second. */
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
    if (inFlight < MAX_IN_FLIGHT) void askOnce();
    else context.count("requests_left_out", 1);
    // From the time it was due and not from now, so that the rate is kept; a machine that slept does not catch up.
    const nextMs = Math.max(dueMs + 1_000 / rate, clock.monotonicMs());
    cancel = clock.setTimer(nextMs - clock.monotonicMs(), () => pace(nextMs));
  }

  async function askOnce(): Promise<void> {
    inFlight += 1;
    const startedMs = clock.monotonicMs();
    try {
      const answer = await httpGet(context.http, { url, timeoutMs, signal: stopping.signal });
      const status = statusOf(answer);
      if (status === undefined) misdirected += 1;
      else countRequest(counts, { status, durationMs: clock.monotonicMs() - startedMs });
    } catch {
      // Told to stop: a request that we broke off ourselves measured nothing.
    } finally {
      inFlight -= 1;
    }
  }

  return {
    async read() {
      const seen = counts;
      const wrong = misdirected;
      counts = newCounts();
      misdirected = 0;
      if (wrong > 0)
        throw terminal("misdirected", `${wrong} synthetic requests got no JSON, or a status of 300 to 499; check "url"`);
      return seen;
    },
    async [Symbol.asyncDispose]() {
      cancel();
      stopping.abort(new Error("the synthetic requests end"));
    },
  };
}

/** The status to count; undefined for an answer that measures nothing. No answer counts as 504, as a proxy would say. */
function statusOf(answer: ProbeResult): number | undefined {
  if (answer.kind === "timeout" || answer.kind === "refused") return 504;
  if (answer.kind === "failed") return answer.code === "redirect" || answer.code === "bad_url" ? undefined : 502;
  if (answer.status >= 500) return answer.status;
  return answer.kind === "json" && answer.status < 300 ? answer.status : undefined;
}
