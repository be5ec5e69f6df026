/**
 * The collector's own requests through the VIP at a steady rate, for canaries without users. They carry their own User-Agent, so
 * that no access log counts them as users, and their signal has its own source, so that they are never added to user traffic.
 *
 * Each request is one attempt, because it is the measurement. A missing or late response counts as an error, as it would for a
 * user. A response that is not JSON, or has a status of 300 to 499, measures nothing: the path or the credentials are wrong, and
 * the reading fails until that is fixed.
 */
import { duration } from "@aviary/shared/contract/units.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import type { ProbeResult } from "../core/health.ts";
import { countRequest, type HttpCounts, httpBodyOf, newCounts } from "../core/http-counts.ts";
import { httpGet } from "../io/http-get.ts";
import { defineProbe, type Source, timing, type World } from "../probe.ts";

const MAX_IN_FLIGHT = 16;

const config = z.strictObject({
  ...timing("5s", "4s"),
  /** A path that returns JSON at little cost for the gateway, reached the way users reach it. */
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
  create: askSteadily,
  parse: (counts: HttpCounts, state) => ({ bodies: [httpBodyOf("synthetic", counts)], state }),
});

function askSteadily({ url, rate, answerTimeout: timeoutMs }: Config, world: World): Source<HttpCounts> {
  const { clock } = world;
  const stopping = new AbortController();
  let counts = newCounts();
  let misdirected = 0;
  let inFlight = 0;
  let cancel = clock.setTimer(0, () => pace(clock.monotonicMs()));

  function pace(dueMs: number): void {
    if (stopping.signal.aborted) return;
    if (inFlight < MAX_IN_FLIGHT) void askOnce();
    else world.count("requests_left_out", 1);
    // From the due time instead of now, to keep the rate; a machine that slept does not catch up.
    const nextMs = Math.max(dueMs + 1_000 / rate, clock.monotonicMs());
    cancel = clock.setTimer(nextMs - clock.monotonicMs(), () => pace(nextMs));
  }

  async function askOnce(): Promise<void> {
    inFlight += 1;
    const startedMs = clock.monotonicMs();
    try {
      const answer = await httpGet(world.http, { url, timeoutMs, signal: stopping.signal });
      const status = statusOf(answer);
      if (status === undefined) misdirected += 1;
      else countRequest(counts, { status, durationMs: clock.monotonicMs() - startedMs });
    } catch {
      // Aborted: a request cancelled by us measured nothing.
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
        throw terminal("misdirected", `${wrong} synthetic requests returned no JSON, or a status of 300 to 499; check "url"`);
      return seen;
    },
    async [Symbol.asyncDispose]() {
      cancel();
      stopping.abort(new Error("the synthetic requests end"));
    },
  };
}

/** The status to count; undefined for a response that measures nothing. A missing response counts as 504, as from a proxy. */
function statusOf(answer: ProbeResult): number | undefined {
  if (answer.kind === "timeout" || answer.kind === "refused") return 504;
  if (answer.kind === "failed") return answer.code === "redirect" || answer.code === "bad_url" ? undefined : 502;
  if (answer.status >= 500) return answer.status;
  return answer.kind === "json" && answer.status < 300 ? answer.status : undefined;
}
