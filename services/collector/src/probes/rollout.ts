/**
 * The weight as applied by the load balancer, which may differ from the one requested by a controller: a small JSON document
 * `{"canary": "prod/payments-gateway", "weight": 10, "phase": "Progressing"}`, from a file written by the balancer's
 * configuration or from a URL.
 */
import { open } from "node:fs/promises";
import { rolloutBody, type SignalBody } from "@aviary/shared/contract/signal.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import { createUpstream } from "../io/upstream.ts";
import { defineProbe, sourceOf, timing, type World } from "../probe.ts";

const config = z
  .strictObject({
    ...timing("5s", "4s"),
    file: z.string().min(1).optional(),
    url: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }).optional(),
  })
  .refine((settings) => (settings.file === undefined) !== (settings.url === undefined), {
    error: 'exactly one of "file" and "url"',
  });
type Config = z.output<typeof config>;

const MAX_BYTES = 16_384;
const ANSWER_TIMEOUT_MS = 1_000;
const CEILING_MS = 60_000;

export const rollout = defineProbe({
  name: "rollout",
  kind: "rollout",
  configSchema: config,
  coversPeriod: false,
  initial: undefined,
  create: (settings, world) =>
    sourceOf(settings.file === undefined ? fromUrl(settings, world) : () => readStart(settings.file as string)),
  parse: (text: string, state) => ({ bodies: [readWeight(text)], state }),
});

function fromUrl({ url, period: pauseMs }: Config, world: World): (tick: unknown, signal: AbortSignal) => Promise<string> {
  const upstream = createUpstream({ name: "the load balancer", ...world, pauseMs, ceilingMs: CEILING_MS });
  return (_tick, signal) =>
    upstream.call(signal, async () => {
      const answer = await world.http.send({ url: url as string, timeoutMs: ANSWER_TIMEOUT_MS, maxBytes: MAX_BYTES, signal });
      return answer.body.toString("utf8");
    });
}

/** The start of a file: a longer file fails as invalid JSON and is never loaded completely. */
async function readStart(path: string): Promise<string> {
  const handle = await open(path);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await handle.close();
  }
}

function readWeight(text: string): SignalBody<"rollout"> {
  try {
    return rolloutBody.parse(JSON.parse(text));
  } catch (error) {
    throw terminal(
      "bad_shape",
      'the rollout document must be JSON like {"canary": "prod/name", "weight": 10, "phase": "Progressing"}',
      error,
    );
  }
}
