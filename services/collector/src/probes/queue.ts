/**
 * Depth of each build lane: the length of a Redis list, or the jobs of a BullMQ queue that a worker can start. One signal per lane.
 * A lane whose depth cannot be read has no signal in that reading; the other lanes are unaffected.
 */
import { EVEN_IF_MALFORMED } from "@aviary/shared/contract/even-if-malformed.ts";
import { isMapping } from "@aviary/shared/contract/mapping.ts";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { TOKEN_PATTERN } from "@aviary/shared/contract/subjects.ts";
import { Terminal, terminal } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";
import { bullPlan, type DepthPlan, listPlan } from "../core/redis-depth.ts";
import { type RedisReplies, redisAddress, redisReplies } from "../io/redis-replies.ts";
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
        /** Also count jobs in progress, so that a lane with long jobs does not look empty. */
        countActive: z.boolean().default(false),
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
  const servers = [...new Set(Object.values(lanes).map((entry) => entry.redis))].map((url) => ({
    replies: redisReplies(url, REDIS_TIMEOUT_MS),
    upstream: createUpstream({ name: `Redis at ${redisAddress(url)}`, ...context, pauseMs, ceilingMs: MAX_BACKOFF_MS }),
    lanes: Object.entries(lanes)
      .filter(([, entry]) => entry.redis === url)
      .map(([name, entry]) => ({ name, role: entry.role, plan: planOf(entry) })),
  }));
  /** The lanes that failed in the last reading, so that each failure is logged once. */
  let failing: ReadonlySet<string> = new Set();

  return {
    async read(_tick, signal) {
      const results = await Promise.all(
        servers.map(({ upstream, replies, lanes: mine }) =>
          upstream
            .call(signal, () => readServer(mine, replies, signal))
            .catch((error: unknown): LaneReading[] => mine.map(({ name }) => ({ name, error }))),
        ),
      );
      const read = results.flat();
      const failed = read.filter((lane): lane is FailedLane => "error" in lane);
      if (failed.length === read.length) throw failed[0]?.error;
      context.count("lanes_unread", failed.length);
      for (const { name, error } of failed)
        if (!failing.has(name))
          context.log.warn({ event: "lane.unread", lane: name, err: error }, `the depth of ${name} cannot be read`);
      failing = new Set(failed.map(({ name }) => name));
      return read.flatMap((lane) => ("depth" in lane ? [lane.depth] : []));
    },
    async [Symbol.asyncDispose]() {
      for (const { replies } of servers) await replies[Symbol.asyncDispose]();
    },
  };
}

interface Lane {
  readonly name: string;
  readonly role: SignalBody<"queue">["role"];
  readonly plan: DepthPlan;
}

interface FailedLane {
  readonly name: string;
  readonly error: unknown;
}

type LaneReading = FailedLane | { readonly name: string; readonly depth: SignalBody<"queue"> };

/**
 * Reads every lane of one server. A fault of one lane's keys is that lane's result.
 * @throws any other error, because it concerns the server
 */
async function readServer(lanes: readonly Lane[], replies: RedisReplies, signal: AbortSignal): Promise<LaneReading[]> {
  const read: LaneReading[] = [];
  for (const lane of lanes) {
    try {
      read.push({ name: lane.name, depth: await readLane(lane, replies, signal) });
    } catch (error) {
      if (!(error instanceof Terminal)) throw error;
      read.push({ name: lane.name, error });
    }
  }
  return read;
}

async function readLane({ name, role, plan }: Lane, replies: RedisReplies, signal: AbortSignal): Promise<SignalBody<"queue">> {
  const depth = plan.depth(await replies.read(plan.queries, signal));
  if (typeof depth !== "number") throw terminal("no_such_queue", `${name}: ${depth.why}`);
  return { lane: name, role, depth };
}

function planOf(entry: z.output<typeof lane>): DepthPlan {
  return entry.bullmq === undefined ? listPlan(entry.list as string) : bullPlan(entry.bullmq);
}
