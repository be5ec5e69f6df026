/** A sending fleet: publishes signals at a steady rate, paced by the clock, for the duration of a round. */
import { connectNats } from "@aviary/shared/bus/nats.ts";
import type { Workload } from "./rounds.ts";
import { createSignalSource } from "./signals.ts";

export interface FeedSettings {
  readonly url: string;
  readonly perSecond: number;
  readonly seconds: number;
  readonly periodMs: number;
}

const BEAT_MS = 5;

/** One round publishes `perSecond * seconds` signals and returns how many per second were stored. */
export async function makeFeed({ url, perSecond, seconds, periodMs }: FeedSettings): Promise<Workload> {
  const bus = await connectNats({ servers: url, name: "bench-feed" });
  const next = createSignalSource(Date.now(), 3, periodMs);
  return {
    round: async () => {
      const start = performance.now();
      const total = Math.round(perSecond * seconds);
      const stored: Promise<unknown>[] = [];
      while (stored.length < total) {
        const due = Math.min(total, Math.floor(((performance.now() - start) / 1000) * perSecond));
        while (stored.length < due) stored.push(bus.publish(next(Date.now())));
        await new Promise((resolve) => setTimeout(resolve, BEAT_MS));
      }
      await Promise.all(stored);
      return { count: total, perSecond: total / ((performance.now() - start) / 1000) };
    },
    close: async () => bus[Symbol.asyncDispose](),
  };
}
