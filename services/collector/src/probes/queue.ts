/**
 * Depth of each build lane: the length of a Redis list, or the due jobs of a BullMQ queue. One signal per lane. A lane whose depth cannot be
 * read has no signal in that reading; the other lanes are unaffected.
 */
import { EVEN_IF_MALFORMED } from "@aviary/shared/contract/even-if-malformed.ts";
import { isMapping } from "@aviary/shared/contract/mapping.ts";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { TOKEN_PATTERN } from "@aviary/shared/contract/subjects.ts";
import { z } from "zod";
import { bullQueries, type LengthQuery, listQueries, totalDepth } from "../core/redis-depth.ts";
import { redisLengths } from "../io/redis-lengths.ts";
import { createUpstream } from "../io/upstream.ts";
import { defineProbe, type ProbeContext, type Source, timing } from "../probe.ts";

const lane = z
  .strictObject({
    role: z.enum(["build", "gateway"]).default("build"),
    redis: z.url({ protocol: /^rediss?$/, error: "a redis:// or rediss:// URL" }),
    /** The key of a plain list. */
    list: z.string().min(1).max(512).optional(),
    bullmq: z
      .strictObject({
        queue: z.string().min(1).max(256),
        prefix: z.string().min(1).max(256).default("bull"),
        /** Also count jobs that are not due. */
        countDelayed: z.boolean().default(false),
      })
      .optional(),
  })
  .refine((entry) => !isMapping(entry) || (entry.list === undefined) !== (entry.bullmq === undefined), {
    error: 'exactly one of "list" and "bullmq"',
    ...EVEN_IF_MALFORMED,
  });

const config = z.strictObject({
  ...timing("5s", "4s"),
  /** Lane → its queue. */
  lanes: z
    .record(z.string().regex(TOKEN_PATTERN), lane)
    .refine((lanes) => Object.keys(lanes).length >= 1 && Object.keys(lanes).length <= 32, { error: "1 to 32 lanes" }),
});
type Config = z.output<typeof config>;

const REDIS_TIMEOUT_MS = 1_000;
const MAX_BACKOFF_MS = 60_000;

export const queue = defineProbe({
  name: "queue",
  kind: "queue",
  configSchema: config,
  coversPeriod: false,
  initial: undefined,
  create: readLanes,
  parse: (depths: readonly SignalBody<"queue">[], state) => ({ bodies: depths, state }),
});

function readLanes({ lanes, period: pauseMs }: Config, context: ProbeContext): Source<readonly SignalBody<"queue">[]> {
  const servers = new Map(
    [...new Set(Object.values(lanes).map((entry) => entry.redis))].map((url) => {
      const lengths = redisLengths(url, REDIS_TIMEOUT_MS);
      const upstream = createUpstream({ name: `Redis ${new URL(url).host}`, ...context, pauseMs, ceilingMs: MAX_BACKOFF_MS });
      return [url, { lengths, upstream }] as const;
    }),
  );
  const byServer = [...servers].map(([url, server]) => ({
    ...server,
    lanes: Object.entries(lanes).filter(([, entry]) => entry.redis === url),
  }));

  return {
    async read(_tick, signal) {
      const results = await Promise.allSettled(
        byServer.map(({ upstream, lengths, lanes: mine }) =>
          upstream.call(signal, async () => {
            const depths: SignalBody<"queue">[] = [];
            for (const [name, entry] of mine) {
              depths.push({ lane: name, role: entry.role, depth: totalDepth(await lengths.read(queriesOf(entry), signal)) });
            }
            return depths;
          }),
        ),
      );
      const depths = results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
      const failed = results.find((result) => result.status === "rejected");
      if (failed !== undefined && depths.length === 0) throw failed.reason;
      if (failed !== undefined) context.count("lanes_unread", 1);
      return depths;
    },
    async [Symbol.asyncDispose]() {
      for (const { lengths } of servers.values()) await lengths[Symbol.asyncDispose]();
    },
  };
}

function queriesOf(entry: z.output<typeof lane>): LengthQuery[] {
  return entry.bullmq === undefined ? listQueries(entry.list as string) : bullQueries(entry.bullmq);
}
