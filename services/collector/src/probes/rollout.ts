/**
 * The weight applied by the load balancer, which may differ from the one a controller requested: a small JSON document
 * `{"canary": "prod/payments-gateway", "weight": 10, "phase": "Progressing"}`, from a file or a URL.
 */

import { open } from "node:fs/promises";
import { EVEN_IF_MALFORMED } from "@aviary/shared/contract/even-if-malformed.ts";
import { isMapping } from "@aviary/shared/contract/mapping.ts";
import { rolloutBody, type SignalBody } from "@aviary/shared/contract/signal.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import { createUpstream } from "../io/upstream.ts";
import { defineProbe, type ProbeContext, sourceOf, timing } from "../probe.ts";

const config = z
  .strictObject({
    ...timing("5s", "4s"),
    file: z.string().min(1).optional(),
    url: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" }).optional(),
  })
  .refine((settings) => !isMapping(settings) || (settings.file === undefined) !== (settings.url === undefined), {
    error: 'exactly one of "file" and "url"',
    ...EVEN_IF_MALFORMED,
  });
type Config = z.output<typeof config>;

const MAX_BYTES = 16_384;
const RESPONSE_TIMEOUT_MS = 1_000;
const MAX_BACKOFF_MS = 60_000;

export const rollout = defineProbe({
  name: "rollout",
  kind: "rollout",
  configSchema: config,
  coversPeriod: false,
  initial: undefined,
  create: (settings, context) =>
    sourceOf(settings.file === undefined ? fromUrl(settings, context) : () => readPrefix(settings.file as string)),
  parse: (text: string, state) => ({ bodies: [readWeight(text)], state }),
});

function fromUrl(
  { url, period: pauseMs }: Config,
  context: ProbeContext,
): (tick: unknown, signal: AbortSignal) => Promise<string> {
  const upstream = createUpstream({ name: "the load balancer", ...context, pauseMs, ceilingMs: MAX_BACKOFF_MS });
  return (_tick, signal) =>
    upstream.call(signal, async () => {
      const response = await context.http.send({
        url: url as string,
        timeoutMs: RESPONSE_TIMEOUT_MS,
        maxBytes: MAX_BYTES,
        signal,
      });
      return response.body.toString("utf8");
    });
}

/** Reads at most MAX_BYTES, so that memory stays bounded; a longer file fails as invalid JSON. */
async function readPrefix(path: string): Promise<string> {
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
