/**
 * Whether the gateway's dependencies are reachable from its Mac: a TCP connection, or an HTTP response below 500, within a
 * deadline. All are checked concurrently.
 * A failed dependency backs off; meanwhile it is reported as unreachable.
 */
import { duration } from "@aviary/shared/contract/units.ts";
import { plainHost } from "@aviary/shared/runtime/address-policy.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import { tryConnect } from "../io/connect.ts";
import { httpGet } from "../io/http-get.ts";
import { createUpstream } from "../io/upstream.ts";
import { defineProbe, nameKey, sourceOf, timing, type World } from "../probe.ts";

const target = z
  .url({ protocol: /^(tcp|https?)$/, error: "tcp://host:port, or an http:// or https:// URL" })
  .refine((url) => !url.startsWith("tcp:") || new URL(url).port !== "", { error: "tcp://host:port" });

const config = z.strictObject({
  ...timing("10s", "6s"),
  /** Name → `tcp://host:port`, `http://…` or `https://…`. */
  targets: z
    .record(nameKey, target)
    .refine((targets) => Object.keys(targets).length >= 1 && Object.keys(targets).length <= 32, { error: "1 to 32 targets" }),
  /** Per attempt. Three attempts must fit into `timeout`. */
  answerTimeout: duration("50ms", "1m").prefault("1500ms"),
});

interface Ping {
  readonly name: string;
  /** Null if it could not be reached. */
  readonly latencyMs: number | null;
}

const CEILING_MS = 60_000;

export const deps = defineProbe({
  name: "deps",
  kind: "deps",
  configSchema: config,
  coversPeriod: false,
  initial: undefined,
  create({ targets, answerTimeout: timeoutMs, period: pauseMs }, world) {
    const pings = Object.entries(targets).map(([name, target]) => {
      const upstream = createUpstream({ name, ...world, pauseMs, ceilingMs: CEILING_MS });
      return async (signal: AbortSignal): Promise<Ping> => {
        try {
          return { name, latencyMs: await upstream.call(signal, () => reach(new URL(target), timeoutMs, world, signal)) };
        } catch {
          return { name, latencyMs: null };
        }
      };
    });
    return sourceOf((_tick, signal) => Promise.all(pings.map((ping) => ping(signal))));
  },
  parse(raw: readonly Ping[], state) {
    return { bodies: [raw.map(({ name, latencyMs }) => ({ name, ok: latencyMs !== null, latency_ms: latencyMs }))], state };
  },
});

/** The duration, milliseconds. */
async function reach(target: URL, timeoutMs: number, world: World, signal: AbortSignal): Promise<number> {
  const startedMs = world.clock.monotonicMs();
  if (target.protocol === "tcp:")
    await tryConnect(plainHost(target.hostname), Number(target.port), timeoutMs, world.clock, signal);
  else {
    const answer = await httpGet(world.http, { url: target.href, timeoutMs, signal });
    const reached = (answer.kind === "json" || answer.kind === "other") && answer.status < 500;
    if (!reached) throw retryable(answer.kind, `${target.host} responded: ${answer.kind}`);
  }
  return world.clock.monotonicMs() - startedMs;
}
