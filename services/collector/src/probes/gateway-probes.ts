/**
 * The local OpenClaw gateway's own answers: is it up, and if not, in which of several ways. It is asked over loopback, because it shows details to
 * local callers only, and it must be asked without proxy headers. What the load balancer reaches is another question: `workerUrl` asks it.
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
  /** Where the gateway listens. */
  url: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }).default("http://127.0.0.1:18789"),
  /** For one path in one attempt. Three attempts must fit into `timeout`. */
  answerTimeout: duration("50ms", "1m").prefault("1s"),
  /** A gateway that has been up for less is warming. */
  warmup: duration("0s", "1h").prefault("60s"),
  /** A path of the worker or the VIP; any answer below 500 means that it can be reached. */
  workerUrl: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }).optional(),
});

const initial: HealthState = { upSinceMs: null };

export const gatewayProbes = defineProbe({
  name: "gateway-probes",
  kind: "health",
  configSchema: config,
  coversPeriod: false,
  initial,
  create({ url, answerTimeout: timeoutMs, period: periodMs, workerUrl }, context) {
    const at = (path: string): string => new URL(path, url).href;
    // A pause of more than two periods would make the signal stale, and "refused" would look like silence.
    const upstream = createUpstream({ name: "the gateway", ...context, pauseMs: periodMs, ceilingMs: 2 * periodMs });
    return sourceOf(async (_tick, signal) => {
      const last: { answers?: GatewayProbeResults } = {};
      const once = async (): Promise<GatewayProbeResults> => {
        const get = (target: string) => httpGet(context.http, { url: target, timeoutMs, signal });
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
        // No answer is an answer here; only a pause, or being told to stop, is none.
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
