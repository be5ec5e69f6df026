/**
 * P6: publishing signals with one acknowledgement each. Our side is the bus as used by the collector: message id, retries,
 * timeouts, a bounded window. The peer is the client's `js.publish` with its defaults (no message id, one attempt), 512 in
 * flight.
 * Also reported: `js.publish` on a connection without stack traces, a connection option.
 */
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { Benchmark } from "./benchmark.ts";
import { startBroker } from "./broker.ts";
import { middle, ROUNDS, ratioOf, startContender, takeTurns, timed, type Workload } from "./rounds.ts";
import { type BenchSignal, createSignalSource } from "./signals.ts";

const MESSAGES = 20_000;
const WINDOW = 512;

interface Settings {
  readonly url: string;
  /** Makes the message ids of the contenders distinct. */
  readonly seed: number;
  readonly traces?: boolean;
}

/** Publishes all messages with at most `WINDOW` in flight. */
async function publishAll(
  messages: readonly BenchSignal[],
  publish: (message: BenchSignal) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let message = messages[next++]; message !== undefined; message = messages[next++]) await publish(message);
  };
  await Promise.all(Array.from({ length: WINDOW }, worker));
  return messages.length;
}

async function workload(
  seed: number,
  publish: (message: BenchSignal) => Promise<unknown>,
  close: () => Promise<void>,
): Promise<Workload> {
  const next = createSignalSource(Date.now() + seed, seed);
  return {
    round: () => {
      // Built before the clock starts: only publishing is measured.
      const messages = Array.from({ length: MESSAGES }, () => next(Date.now()));
      return timed(() => publishAll(messages, publish));
    },
    close,
  };
}

async function makeOurs({ url, seed }: Settings): Promise<Workload> {
  const bus = await connectNats({ servers: url, name: "bench-publish" });
  return workload(
    seed,
    (message) => bus.publish(message),
    async () => bus[Symbol.asyncDispose](),
  );
}

async function makeBare({ url, seed, traces = true }: Settings): Promise<Workload> {
  const connection = await connect({ servers: url, noAsyncTraces: !traces });
  const client = jetstream(connection);
  return workload(
    seed,
    (message) => client.publish(message.subject, message.data),
    () => connection.close(),
  );
}

export const benchmark: Benchmark = {
  workloads: { aviary: makeOurs, bare: makeBare },
  async run(cleanup) {
    const { url, version } = await startBroker(cleanup);
    const start = async (name: string, settings: Settings) =>
      cleanup.adopt(await startContender("publish", name, settings), (contender) => contender.close());
    const contenders = [
      await start("aviary", { url, seed: 1 }),
      await start("bare", { url, seed: 2 }),
      await start("bare", { url, seed: 3, traces: false }),
    ];
    const [ours = [], bare = [], traceless = []] = await takeTurns(contenders);
    const perSecond = [ours, bare, traceless].map((rounds) => Math.round(middle(rounds, "perSecond")));
    return {
      measurements: [
        {
          id: "P6",
          ratio: ratioOf(bare, ours, "cpuUs"),
          ours: middle(ours, "cpuUs"),
          denominator: middle(bare, "cpuUs"),
          unit: "us",
          rounds: ROUNDS,
        },
      ],
      notes: [
        `${version}, file storage; ${MESSAGES} signals per round, window ${WINDOW}; ours with message id and retries`,
        `per second: ours ${perSecond[0]}, js.publish ${perSecond[1]}, js.publish without traces ${perSecond[2]}`,
        `js.publish without traces: ${middle(traceless, "cpuUs").toFixed(1)} us, ${ratioOf(traceless, ours, "cpuUs").toFixed(1)} x ours`,
      ],
    };
  },
};
