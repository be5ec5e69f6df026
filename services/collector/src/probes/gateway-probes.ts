/**
 * Health of the local OpenClaw gateway, from its own probe routes. Requests use loopback without proxy headers, because the gateway
 * exposes details to local callers only. `workerUrl` checks the path through the load balancer.
 *
 * A gateway with `gateway.tls.enabled` has a self-signed certificate without a host name. `caFile` contains that
 * certificate, or the authority that signed it, and nothing else is trusted.
 */

import { EVEN_IF_MALFORMED } from "@aviary/shared/contract/even-if-malformed.ts";
import { isMapping } from "@aviary/shared/contract/mapping.ts";
import { duration } from "@aviary/shared/contract/units.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import { classifyHealth, type GatewayProbeResults, type HealthState } from "../core/health.ts";
import type { Tick } from "../core/schedule.ts";
import { httpGet } from "../io/http-get.ts";
import { openPinnedHttp } from "../io/pinned-http.ts";
import { createUpstream } from "../io/upstream.ts";
import { defineProbe, timing } from "../probe.ts";

const config = z
  .strictObject({
    ...timing("5s", "4s"),
    /** Base URL of the gateway. */
    url: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }).default("http://127.0.0.1:18789"),
    /** Timeout of one request. Three attempts must fit into `timeout`. */
    answerTimeout: duration("50ms", "1m").prefault("1s"),
    /** A gateway with a shorter uptime is warming. */
    warmup: duration("0s", "1h").prefault("60s"),
    /** A path of the worker or the VIP; any status below 500 means reachable. */
    workerUrl: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }).optional(),
    /** PEM file with the gateway's own certificate or its authority, for an https:// `url`. */
    caFile: z.string().min(1).optional(),
  })
  .refine((entry) => !isMapping(entry) || entry.caFile === undefined || String(entry.url).startsWith("https:"), {
    error: 'an https:// "url" with "caFile"',
    ...EVEN_IF_MALFORMED,
  });

const initial: HealthState = { upSinceMs: null };

export const gatewayProbes = defineProbe({
  name: "gateway-probes",
  kind: "health",
  configSchema: config,
  coversPeriod: false,
  initial,
  unknownWhileFailing: { gatewayVersion: null, uptimeMs: null },
  create({ url, answerTimeout: timeoutMs, period: periodMs, workerUrl, caFile }, context) {
    const pinned = caFile === undefined ? undefined : openPinnedHttp(caFile, context.openHttp);
    const at = (path: string): string => new URL(path, url).href;
    // A pause above two periods would make the signal stale, and hide "refused" behind a missing signal.
    const upstream = createUpstream({ name: "the gateway", ...context, pauseMs: periodMs, ceilingMs: 2 * periodMs });
    const read = async (_tick: Tick, signal: AbortSignal): Promise<GatewayProbeResults> => {
      const last: { results?: GatewayProbeResults } = {};
      const once = async (): Promise<GatewayProbeResults> => {
        const http = (await pinned?.client()) ?? context.http;
        const get = (target: string, client = http) => httpGet(client, { url: target, timeoutMs, signal });
        const [healthz, startupz, readyz, worker] = await Promise.all([
          get(at("/healthz")),
          get(at("/startupz")),
          get(at("/readyz")),
          workerUrl === undefined ? undefined : get(workerUrl, context.http),
        ]);
        last.results = { healthz, startupz, readyz, worker };
        if (readyz.kind === "refused" || readyz.kind === "timeout")
          throw retryable(readyz.kind, `the gateway's /readyz: ${readyz.kind}`);
        return last.results;
      };
      try {
        return await upstream.call(signal, once);
      } catch (error) {
        // A failed attempt is still a health result. Only a backoff or an abort yields none.
        if (signal.aborted || last.results === undefined) throw error;
        return last.results;
      }
    };
    return { read, [Symbol.asyncDispose]: async () => pinned?.[Symbol.dispose]() };
  },
  parse(results: GatewayProbeResults, state, tick, { warmup: warmUpMs }) {
    const health = classifyHealth(results, state, tick.atMs, warmUpMs);
    // The version may have changed since it was last reported.
    const gatewayVersion = health.version?.slice(0, 64) ?? null;
    return { bodies: [health.body], state: health.state, learned: { uptimeMs: health.body.uptime_ms, gatewayVersion } };
  },
});
