/**
 * The health of the local OpenClaw gateway: whether it is up, and otherwise how it fails. It is called over loopback and without
 * proxy headers, because it returns details to local callers only. Reachability through the load balancer is a separate check:
 * `workerUrl`.
 */

import { duration } from "@aviary/shared/contract/units.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import { classifyHealth, type GatewayProbeResults, type HealthState } from "../core/health.ts";
import { httpGet } from "../io/http-get.ts";
import { createUpstream } from "../io/upstream.ts";
import { defineProbe, sourceOf, timing } from "../probe.ts";

const config = z.strictObject({
  ...timing("5s", "4s"),
  /** The gateway's listen address. */
  url: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }).default("http://127.0.0.1:18789"),
  /** Per path and attempt. Three attempts must fit into `timeout`. */
  answerTimeout: duration("50ms", "1m").prefault("1s"),
  /** A gateway with a shorter uptime is in warm-up. */
  warmup: duration("0s", "1h").prefault("60s"),
  /** A path of the worker or the VIP; any response below 500 means that it is reachable. */
  workerUrl: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }).optional(),
});

const initial: HealthState = { upSince: null };

export const gatewayProbes = defineProbe({
  name: "gateway-probes",
  kind: "health",
  configSchema: config,
  coversPeriod: false,
  initial,
  create({ url, answerTimeout: timeoutMs, period: periodMs, workerUrl }, world) {
    const at = (path: string): string => new URL(path, url).href;
    // A pause of more than two periods would make the signal stale, and "refused" would look like a missing signal.
    const upstream = createUpstream({ name: "the gateway", ...world, pauseMs: periodMs, ceilingMs: 2 * periodMs });
    return sourceOf(async (_tick, signal) => {
      const last: { answers?: GatewayProbeResults } = {};
      const once = async (): Promise<GatewayProbeResults> => {
        const get = (target: string) => httpGet(world.http, { url: target, timeoutMs, signal });
        const [healthz, startupz, readyz, worker] = await Promise.all([
          get(at("/healthz")),
          get(at("/startupz")),
          get(at("/readyz")),
          workerUrl === undefined ? undefined : get(workerUrl),
        ]);
        last.answers = { healthz, startupz, readyz, worker };
        if (readyz.kind === "refused" || readyz.kind === "timeout")
          throw retryable(readyz.kind, `the gateway's /readyz: ${readyz.kind}`);
        return last.answers;
      };
      try {
        return await upstream.call(signal, once);
      } catch (error) {
        // A missing response is a result here; only a back-off pause or an abort is not.
        if (signal.aborted || last.answers === undefined) throw error;
        return last.answers;
      }
    });
  },
  parse(answers: GatewayProbeResults, state, tick, { warmup: warmUpMs }) {
    const health = classifyHealth(answers, state, tick.at, warmUpMs);
    const version = health.version === undefined ? {} : { gatewayVersion: health.version.slice(0, 64) };
    return { bodies: [health.body], state: health.state, learned: { uptimeMs: health.body.uptime_ms, ...version } };
  },
});
