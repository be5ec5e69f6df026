/**
 * P1, P3: the cost of an answer to a controller.
 *
 * P1: `GET /flagger/metrics` as fast as 16 connections can send it, with two valid tokens, against a bare node:http server that
 * returns a constant buffer of the same size with the same headers and without authentication.
 * P3: latency at a thousand requests per second while 10,000 signals per second are stored and applied, against the same without
 * signals. Sender, broker, evaluator and client then compete for both cores; the bare server under the same signals shows the
 * latency without the shim's work.
 */
import { createServer } from "node:http";
import { canaryKey } from "@aviary/shared/contract/subjects.ts";
import { freePort } from "@aviary/shared/testing/servers.ts";
import type { Benchmark } from "./benchmark.ts";
import { announceRun } from "./broker.ts";
import { type LoadSettings, makeLoad } from "./load.ts";
import {
  type Contender,
  type Figures,
  median,
  middle,
  ROUNDS,
  ratioOf,
  startContender,
  takeTurns,
  type Workload,
} from "./rounds.ts";
import { type Stack, startStack } from "./service-stack.ts";
import { type FeedSettings, makeFeed } from "./signal-load.ts";
import { FLEET, PERIOD_MS } from "./signals.ts";

const CANARY = { namespace: "prod", name: "payments-gateway" };
const PATH = "/flagger/metrics?namespace=prod&name=payments-gateway";
const CONNECTIONS = 16;
const RATE = 1_000;
const SIGNALS_PER_SECOND = 10_000;
const LATENCY_ROUNDS = 7;

async function makeBare({ port, bytes }: { port: number; bytes: number }): Promise<Workload> {
  const body = Buffer.alloc(bytes, "x");
  const headers = ["Content-Type", "application/json", "Content-Length", String(bytes), "Cache-Control", "no-store"];
  const server = createServer(
    { noDelay: true, keepAliveTimeout: 90_000, headersTimeout: 0, requestTimeout: 0 },
    (_request, response) => {
      response.writeHead(200, headers);
      response.end(body);
    },
  );
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    round: async () => ({ cpuSeconds: process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6 }),
    close: async () => server.closeAllConnections(),
  };
}

/** Waits until the shim serves a verdict of the evaluator, and returns the size of the answer. */
async function untilServed({ shimPort, tokens }: Stack): Promise<number> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${shimPort}${PATH}`, { headers: { authorization: `Bearer ${tokens[0]}` } });
    const text = await answer.text();
    const body = JSON.parse(text) as { stale?: boolean; run?: { state: string } | null };
    if (body.run?.state === "active" && body.stale !== true) return Buffer.byteLength(text);
    if (performance.now() > deadline) throw new Error(`no active run is served: ${text.slice(0, 600)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export const benchmark: Benchmark = {
  workloads: { bare: makeBare, load: makeLoad, feed: makeFeed },
  async run(cleanup) {
    const stack = await startStack(cleanup, [canaryKey(CANARY)], {
      window: "2s",
      grace: "200ms",
      warmup: "0s",
      doctorBeforeTraffic: false,
    });
    const start = async (name: string, settings: object): Promise<Contender> =>
      cleanup.adopt(await startContender("shim", name, settings), (contender) => contender.close());
    const feedOf = (perSecond: number, seconds: number): FeedSettings => ({
      url: stack.broker.url,
      perSecond,
      seconds,
      periodMs: PERIOD_MS,
    });
    const trickle = await start("feed", feedOf(12, 110));
    void trickle.round().catch(() => undefined);
    await announceRun(stack.broker.url, FLEET, CANARY);
    const bytes = await untilServed(stack);
    const barePort = await freePort();
    const bare = await start("bare", { port: barePort, bytes });
    const common = { path: PATH, tokens: stack.tokens };
    const closed: Omit<LoadSettings, "port"> = { ...common, connections: CONNECTIONS, seconds: 1.5 };
    const contenders = [
      await start("load", { ...closed, port: stack.shimPort }),
      await start("load", { ...closed, port: barePort }),
    ];
    const before = await cpuOf(stack, bare);
    const [ours = [], theirs = []] = await takeTurns(contenders);
    const after = await cpuOf(stack, bare);
    const answers = [ours, theirs].map(
      (rounds) => rounds.reduce((sum, round) => sum + (round.count ?? 0), 0) * ((ROUNDS + 1) / ROUNDS),
    );
    const cpuUs = [0, 1].map((k) => (((after[k] ?? 0) - (before[k] ?? 0)) / (answers[k] ?? 1)) * 1e6);

    const atRate = { ...common, connections: 64, seconds: 2, perSecond: RATE };
    const steady = await start("load", { ...atRate, port: stack.shimPort });
    const steadyBare = await start("load", { ...atRate, port: barePort });
    const flood = await start("feed", feedOf(SIGNALS_PER_SECOND, 3));
    const quiet: Figures[] = [];
    const busy: Figures[] = [];
    const busyBare: Figures[] = [];
    const stored: number[] = [];
    for (let round = -1; round < LATENCY_ROUNDS; round += 1) {
      const idle = await steady.round();
      const [loaded, perSecond] = await whileFlooded(flood, steady);
      const [loadedBare] = await whileFlooded(flood, steadyBare);
      if (round < 0) continue;
      quiet.push(idle);
      busy.push(loaded);
      busyBare.push(loadedBare);
      stored.push(perSecond);
    }
    const busyP99 = middle(busy, "p99Ms");
    return {
      measurements: [
        {
          id: "P1",
          ratio: ratioOf(ours, theirs, "perSecond"),
          ours: middle(ours, "perSecond"),
          denominator: middle(theirs, "perSecond"),
          unit: "/s",
          rounds: ROUNDS,
        },
        {
          id: "P3",
          // Not per round, because a percentile of one round mostly measures its worst moment.
          ratio: busyP99 / middle(quiet, "p99Ms"),
          ours: busyP99,
          denominator: middle(quiet, "p99Ms"),
          unit: "ms",
          rounds: LATENCY_ROUNDS,
          bounds: [
            { what: "p99 under load", value: busyP99, unit: "ms", atMost: 10 },
            { what: "signals stored", value: median(stored), unit: "/s", atLeast: SIGNALS_PER_SECOND * 0.95 },
          ],
        },
      ],
      notes: [
        `${CONNECTIONS} connections, ${bytes} bytes of body; CPU per answer: shim ${cpuUs[0]?.toFixed(1)} us, bare ${cpuUs[1]?.toFixed(1)} us`,
        `P3: ${RATE} requests per second on 64 connections; p50 ${middle(busy, "p50Ms").toFixed(2)} ms with signals, ${middle(quiet, "p50Ms").toFixed(2)} ms without`,
        `P3: under the same signals the bare server's p99 is ${middle(busyBare, "p99Ms").toFixed(2)} ms`,
        `${stack.broker.version}; broker, evaluator, shim, sender and client share this machine`,
      ],
    };
  },
};

/** Runs a round of the client within a round of the sender; returns how many signals per second were stored meanwhile. */
async function whileFlooded(flood: Contender, client: Contender): Promise<[Figures, number]> {
  const flooding = flood.round();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const figures = await client.round();
  const { perSecond = 0 } = await flooding;
  return [figures, perSecond];
}

/** CPU seconds used so far: the shim's, the bare server's. */
async function cpuOf(stack: Stack, bare: Contender): Promise<number[]> {
  return [await stack.shim.metric("process_cpu_seconds_total"), (await bare.round()).cpuSeconds ?? 0];
}
