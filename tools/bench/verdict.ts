/**
 * P7: from the end of a window to the answer. Five canaries of one fleet with windows of one second, runs opened a fifth of a
 * second apart, so that five verdicts per second are due, each alone. A verdict is stamped with the instant at which it was due
 * (window end + grace, by the broker's clock, which is shared on this machine); the time counts until the shim has sent the new
 * verdict to a client of its event stream. Broker, evaluator and shim are real, separate processes.
 *
 * Meanwhile, the plain client sends requests through the same broker from one process to another and back.
 */
import { request as httpRequest } from "node:http";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { Benchmark } from "./benchmark.ts";
import { announceRun } from "./broker.ts";
import { percentile, startContender, type Workload } from "./rounds.ts";
import { type Stack, startStack } from "./service-stack.ts";
import { type FeedSettings, makeFeed } from "./signal-load.ts";
import { FLEET } from "./signals.ts";

const CANARIES = Array.from({ length: 5 }, (_, k) => ({ namespace: "prod", name: `canary-${k}` }));
const VERDICT_ROUNDS = 6;
const ROUND_MS = 8_000;
const ASK_EVERY_MS = 10;
const GRACE_MS = 200;
const SUBJECT = "bench.echo";

async function makeEcho({ url }: { url: string }): Promise<Workload> {
  const connection = await connect({ servers: url });
  connection.subscribe(SUBJECT, { callback: (_error, message) => void message.respond(message.data) });
  await connection.flush();
  return { round: async () => ({}), close: () => connection.close() };
}

/**
 * Latencies of requests to the echo process, milliseconds: one every 10 ms, because the verdict's path also starts in an idle
 * process.
 */
async function ask(connection: NatsConnection, forMs: number): Promise<number[]> {
  const payload = new Uint8Array(128);
  const latencies: number[] = [];
  const end = performance.now() + forMs;
  while (performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    const start = performance.now();
    await connection.request(SUBJECT, payload, { timeout: 5_000 });
    latencies.push(performance.now() - start);
  }
  return latencies;
}

interface DelayRecorder {
  /** Delays of the verdicts received since the last call, milliseconds. */
  take(): number[];
}

/** Follows the shim's event stream and records how long after its due time each new verdict arrived. */
async function watch(cleanup: AsyncDisposableStack, stack: Stack): Promise<DelayRecorder> {
  const seen = new Set<string>();
  let delays: number[] = [];
  let rest = "";
  const onEvent = (event: string, atMs: number): void => {
    const data = /^data: (.*)$/m.exec(event)?.[1];
    const verdict = data === undefined ? undefined : (JSON.parse(data) as Served);
    if (verdict === undefined || verdict.window === null || seen.has(verdict.id)) return;
    seen.add(verdict.id);
    // A change between two windows also causes a verdict; only a verdict that closes a window is due at its end plus the grace.
    const dueAt = Date.parse(verdict.window.end) + GRACE_MS;
    if (Date.parse(verdict.at) === dueAt) delays.push(atMs - dueAt);
  };
  const request = httpRequest({
    host: "127.0.0.1",
    port: stack.shimPort,
    path: "/api/v1/stream",
    headers: { authorization: `Bearer ${stack.operatorToken}` },
  });
  cleanup.defer(() => void request.destroy());
  await new Promise<void>((resolve, reject) => {
    request.on("error", reject);
    request.on("response", (response) => {
      response.setEncoding("utf8").on("data", (chunk: string) => {
        const at = performance.timeOrigin + performance.now();
        const events = (rest + chunk).split("\n\n");
        rest = events.pop() ?? "";
        for (const event of events) onEvent(event, at);
      });
      response.on("error", () => undefined);
      resolve();
    });
    request.end();
  });
  return {
    take() {
      const taken = delays;
      delays = [];
      return taken;
    },
  };
}

/** The part of a verdict event that this benchmark uses. */
interface Served {
  readonly id: string;
  readonly at: string;
  readonly window: { readonly end: string } | null;
}

export const benchmark: Benchmark = {
  workloads: { echo: makeEcho, feed: makeFeed },
  async run(cleanup) {
    const names = CANARIES.map(({ namespace, name }) => `${namespace}/${name}`);
    const stack = await startStack(cleanup, names, {
      window: "1s",
      grace: `${GRACE_MS}ms`,
      warmup: "0s",
      doctorBeforeTraffic: false,
    });
    const { url, version } = stack.broker;
    const start = async (name: string, settings: object) =>
      cleanup.adopt(await startContender("verdict", name, settings), (contender) => contender.close());
    const feed = await start("feed", { url, perSecond: 60, seconds: 110, periodMs: 1_000 } satisfies FeedSettings);
    void feed.round().catch(() => undefined);
    await start("echo", { url });
    const connection = await connect({ servers: url, noAsyncTraces: true });
    cleanup.defer(() => connection.close());
    const watcher = await watch(cleanup, stack);
    for (const canary of CANARIES) {
      await announceRun(url, FLEET, canary);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await ask(connection, 1_000);
    const served: number[] = [];
    const asked: number[] = [];
    for (let round = 0; round < VERDICT_ROUNDS; round += 1) {
      watcher.take();
      asked.push(...(await ask(connection, ROUND_MS)));
      served.push(...watcher.take());
    }
    const p99Ms = percentile(served, 0.99);
    return {
      measurements: [
        {
          id: "P7",
          ratio: p99Ms / percentile(asked, 0.99),
          ours: p99Ms,
          denominator: percentile(asked, 0.99),
          unit: "ms",
          rounds: VERDICT_ROUNDS,
          bounds: [{ what: "p99", value: p99Ms, unit: "ms", atMost: 25 }],
        },
      ],
      notes: [
        `${version}; ${served.length} verdicts and, at the same time, ${asked.length} requests from one process to another and back`,
        `p50: ${percentile(served, 0.5).toFixed(2)} ms from due to served, ${percentile(asked, 0.5).toFixed(2)} ms for a request and its reply`,
      ],
    };
  },
};
