/** The demo's build lane: a Redis list with a producer and a few workers. The collector's `queue` probe reads its length. */

import { setTimeout as sleep } from "node:timers/promises";
import { seededRandom, seedOf } from "@aviary/shared/testing/random.ts";
import { Redis } from "ioredis";
import { type DesiredFleet, readDesiredFleet, watchDesiredState } from "./desired-state.ts";
import { exponential } from "./distributions.ts";
import { type FleetPlan, paths } from "./layout.ts";

/** Redis key of a lane's list. */
export const laneKey = (lane: string): string => `lane:${lane}`;

/** Workers are 40% busy, so a job rarely waits. */
const WORKERS = 3;
const MEAN_ARRIVAL_MS = 1_000;
const MEAN_JOB_MS = 1_200;
const DEPTH_INTERVAL_MS = 500;
/** Upper bound on the list, regardless of the configured depth. */
const MAX_DEPTH = 10_000;

/** Starts the lane's producer and workers. Jobs from an earlier run are kept. */
export async function startLane(plan: FleetPlan): Promise<{ depth(): Promise<number>; stop(): Promise<void> }> {
  if (plan.redisPort === undefined) throw new Error("the build lane needs Redis: start the local fleet without --embedded");
  const redis = new Redis({ host: plan.host, port: plan.redisPort, lazyConnect: true, maxRetriesPerRequest: null });
  redis.on("error", (error) => process.stderr.write(`redis at ${plan.host}:${plan.redisPort}: ${error.message}\n`));
  await redis.connect();
  const random = seededRandom(seedOf("lane", plan.seed));
  const key = laneKey(plan.lane);
  let desired: DesiredFleet = readDesiredFleet(plan);
  const stopWatching = watchDesiredState(
    paths.fleetControl(plan),
    () => readDesiredFleet(plan),
    (next) => {
      desired = next;
    },
  );
  const stop = new AbortController();
  const loops = [
    repeat(
      stop.signal,
      () => exponential(random, MEAN_ARRIVAL_MS),
      () => redis.rpush(key, job()),
    ),
    // With a configured depth, the list is kept at exactly that depth and the workers pause.
    repeat(
      stop.signal,
      () => DEPTH_INTERVAL_MS,
      () => keepDepth(redis, key, desired.laneDepth),
    ),
    ...Array.from({ length: WORKERS }, () =>
      repeat(
        stop.signal,
        () => exponential(random, MEAN_JOB_MS),
        () => (desired.laneDepth === null ? redis.lpop(key) : undefined),
      ),
    ),
  ];
  return {
    depth: () => redis.llen(key),
    stop: async () => {
      stop.abort();
      stopWatching();
      await Promise.all(loops);
      redis.disconnect();
    },
  };
}

async function keepDepth(redis: Redis, key: string, depth: number | null): Promise<void> {
  const targetDepth = Math.min(depth ?? 0, MAX_DEPTH);
  const depthNow = await redis.llen(key);
  if (depth === null) {
    // The backlog of a healed fault is dropped immediately.
    if (depthNow > 10 * WORKERS) await redis.ltrim(key, 0, WORKERS - 1);
    return;
  }
  if (depthNow < targetDepth) await redis.rpush(key, ...Array.from({ length: targetDepth - depthNow }, job));
  else if (depthNow > targetDepth) await redis.ltrim(key, 0, targetDepth - 1);
}

function job(): string {
  return JSON.stringify({ kind: "build", at: new Date().toISOString() });
}

/** Repeats a step with the given pauses until the signal aborts. A failed step is logged to stderr and retried. */
async function repeat(signal: AbortSignal, pauseMs: () => number, step: () => unknown): Promise<void> {
  while (!signal.aborted) {
    await sleep(pauseMs(), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    try {
      await step();
    } catch (error) {
      if (!signal.aborted) process.stderr.write(`lane: ${(error as Error).message}\n`);
    }
  }
}
