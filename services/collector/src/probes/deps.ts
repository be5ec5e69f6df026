/**
 * Reachability of the gateway's dependencies from its Mac: a TCP connection or an HTTP status below 500 within a deadline, checked concurrently.
 * A failed dependency backs off, and is reported unreachable until the next attempt.
 */
import { duration } from "@aviary/shared/contract/units.ts";
import { plainHost } from "@aviary/shared/runtime/address-policy.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import { tryConnect } from "../io/connect.ts";
import { httpGet } from "../io/http-get.ts";
import { createUpstream } from "../io/upstream.ts";
import { defineProbe, nameKey, type ProbeContext, sourceOf, timing } from "../probe.ts";

const target = z
  .url({ protocol: /^(tcp|https?)$/, error: "tcp://host:port, or an http:// or https:// URL" })
  .refine((url) => !url.startsWith("tcp:") || new URL(url).port !== "", { error: "tcp://host:port" });

const config = z.strictObject({
  ...timing("10s", "6s"),
  /** Name → `tcp://host:port`, `http://…` or `https://…`. */
  targets: z
    .record(nameKey, target)
    .refine((targets) => Object.keys(targets).length >= 1 && Object.keys(targets).length <= 32, { error: "1 to 32 targets" }),
  /** Timeout of one attempt. Three attempts must fit into `timeout`. */
  answerTimeout: duration("50ms", "1m").prefault("1500ms"),
});

interface Reachability {
  readonly name: string;
  /** Null when unreachable. */
  readonly latencyMs: number | null;
}

const MAX_BACKOFF_MS = 60_000;

export const deps = defineProbe({
  name: "deps",
  kind: "deps",
  configSchema: config,
  coversPeriod: false,
  initial: undefined,
  create({ targets, answerTimeout: timeoutMs, period: pauseMs }, context) {
    const pings = Object.entries(targets).map(([name, target]) => {
      const upstream = createUpstream({ name, ...context, pauseMs, ceilingMs: MAX_BACKOFF_MS });
      return async (signal: AbortSignal): Promise<Reachability> => {
        try {
          return { name, latencyMs: await upstream.call(signal, () => reach(new URL(target), timeoutMs, context, signal)) };
        } catch {
          return { name, latencyMs: null };
        }
      };
    });
    return sourceOf((_tick, signal) => Promise.all(pings.map((ping) => ping(signal))));
  },
  parse(raw: readonly Reachability[], state) {
    return { bodies: [raw.map(({ name, latencyMs }) => ({ name, ok: latencyMs !== null, latency_ms: latencyMs }))], state };
  },
});

/** Connects once and returns the latency in milliseconds. */
async function reach(target: URL, timeoutMs: number, context: ProbeContext, signal: AbortSignal): Promise<number> {
  const startedMs = context.clock.monotonicMs();
  if (target.protocol === "tcp:")
    await tryConnect(plainHost(target.hostname), Number(target.port), timeoutMs, context.clock, signal);
  else {
    const result = await httpGet(context.http, { url: target.href, timeoutMs, signal });
    const reached = (result.kind === "json" || result.kind === "other") && result.status < 500;
    if (!reached) throw retryable(result.kind, `${target.host} unreachable: ${result.kind}`);
  }
  return context.clock.monotonicMs() - startedMs;
}
