/**
 * P4, P5: one evaluator reads a full log of real signals. Our side is the live path: follow, read (JSON, schema, identity),
 * count, reduce (sequence, deadlines, merge into the window of an active run). The peer receives the same messages and discards
 * them: the client's own ordered consumer with a callback, the same prefetch, and untouched bodies.
 * It also measures the same signals replayed from a recording, without a broker.
 */
import assert from "node:assert/strict";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import { createRegistry } from "@aviary/shared/runtime/metrics.ts";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { reduce } from "../../services/evaluator/src/core/reducer.ts";
import { resolveConfig } from "../../services/evaluator/src/core/resolved-config.ts";
import { createState } from "../../services/evaluator/src/core/state.ts";
import { createInputReader } from "../../services/evaluator/src/io/inputs.ts";
import { readRecording, recordedLine } from "../../services/evaluator/src/recording/case-folder.ts";
import { createReplay } from "../../services/evaluator/src/recording/replay.ts";
import type { Benchmark } from "./benchmark.ts";
import { announceRun, startBroker } from "./broker.ts";
import { middle, ROUNDS, ratioOf, startContender, takeTurns, timed, type Workload } from "./rounds.ts";
import { temporaryFolder } from "./service-stack.ts";
import { benchFleet, createSignalSource, FLEET } from "./signals.ts";

const SIGNALS = 120_000;
const CANARY = { namespace: "prod", name: "payments-gateway" };

interface Settings {
  readonly url: string;
  readonly messages: number;
}

/** Opens a run, then publishes the signals as fast as the broker stores them. Returns their mean size. */
async function fill(url: string): Promise<number> {
  await announceRun(url, FLEET, CANARY);
  await using bus = await connectNats({ servers: url, name: "bench-fill" });
  const next = createSignalSource(Date.now());
  let bytes = 0;
  const batch: Promise<unknown>[] = [];
  for (let sent = 0; sent < SIGNALS; sent += 1) {
    const signal = next(Date.now());
    bytes += signal.data.length;
    batch.push(bus.publish(signal));
    if (batch.length === 10_000) await Promise.all(batch.splice(0));
  }
  await Promise.all(batch);
  return bytes / SIGNALS;
}

/** Writes the log to a recording, as `aviary record` does. */
async function recordLog(url: string, path: string, messages: number): Promise<void> {
  await using bus = await connectNats({ servers: url, name: "bench-record" });
  const file = createWriteStream(path);
  const done = Promise.withResolvers<void>();
  let written = 0;
  const follower = await bus.follow({
    stream: "INPUTS",
    from: { sequence: 1 },
    onMessage: (message) => {
      file.write(`${recordedLine(message)}\n`);
      written += 1;
      if (written === messages) done.resolve();
    },
    onEnd: done.reject,
  });
  await done.promise;
  await follower.stop();
  await finished(file.end());
}

const CANARY_NAME = `${CANARY.namespace}/${CANARY.name}`;
const benchSetup = () =>
  resolveConfig(benchFleet([CANARY_NAME]), new Map([[CANARY_NAME, policySchema.parse({ warmup: "0s" })]]), "bench");

async function makeReplay({ path, messages }: { path: string; messages: number }): Promise<Workload> {
  const config = benchSetup();
  return {
    round: () =>
      timed(async () => {
        const replay = createReplay(config);
        for await (const batch of readRecording(path)) for (const message of batch) replay.apply(message);
        assert.equal(replay.messageCount, messages);
        assert.equal(replay.state.canaries.get(CANARY_NAME)?.run?.state, "active");
        return messages;
      }),
  };
}

async function makeEvaluator({ url, messages }: Settings): Promise<Workload> {
  const bus = await connectNats({ servers: url, name: "bench-evaluator" });
  const config = benchSetup();
  const inputs = createRegistry().counter("bench_inputs_total", "Inputs applied.", { labels: ["kind"] });
  const series = {
    signal: inputs.series({ kind: "signal" }),
    control: inputs.series({ kind: "control" }),
    unreadable: inputs.series({ kind: "unreadable" }),
  };
  return {
    round: () =>
      timed(async () => {
        const state = createState(config);
        const read = createInputReader();
        let reduced = 0;
        const done = Promise.withResolvers<void>();
        const follower = await bus.follow({
          stream: "INPUTS",
          from: { sequence: 1 },
          onMessage: (message) => {
            const input = read(message);
            series[input.kind as keyof typeof series].inc();
            reduce(state, input);
            reduced += 1;
            if (reduced === messages) done.resolve();
          },
          onEnd: done.reject,
        });
        await done.promise;
        await follower.stop();
        const canary = state.canaries.get(CANARY_NAME);
        assert.equal(canary?.run?.state, "active", "the run is not active, so the merge was not measured");
        const cells = [...(canary.grid?.open.values() ?? [])].flatMap((window) => [...window.cells.values()]);
        const requests = cells.flatMap((cell) => cell.slots).reduce((sum, slot) => sum + slot.requests, 0);
        assert.ok(requests > messages * 5, `only ${requests} requests were merged`);
        return reduced;
      }),
    close: async () => bus[Symbol.asyncDispose](),
  };
}

async function makeNoOp({ url, messages }: Settings): Promise<Workload> {
  const connection = await connect({ servers: url, noAsyncTraces: true });
  const client = jetstream(connection);
  return {
    round: () =>
      timed(async () => {
        let taken = 0;
        const done = Promise.withResolvers<void>();
        const consumer = await client.consumers.get("INPUTS");
        const reading = await consumer.consume({
          max_messages: 1024,
          threshold_messages: 512,
          callback: () => {
            taken += 1;
            if (taken === messages) done.resolve();
          },
        });
        await done.promise;
        reading.stop();
        await consumer.delete();
        return taken;
      }),
    close: () => connection.close(),
  };
}

export const benchmark: Benchmark = {
  workloads: { aviary: makeEvaluator, "no-op": makeNoOp, replay: makeReplay },
  async run(cleanup) {
    const broker = await startBroker(cleanup);
    const bytes = await fill(broker.url);
    const settings: Settings = { url: broker.url, messages: SIGNALS + 2 };
    const aviary = cleanup.adopt(await startContender("evaluator", "aviary", settings), (contender) => contender.close());
    const noOp = cleanup.adopt(await startContender("evaluator", "no-op", settings), (contender) => contender.close());
    const path = join(temporaryFolder(cleanup), "input.jsonl");
    await recordLog(broker.url, path, settings.messages);
    const replay = cleanup.adopt(
      await startContender("evaluator", "replay", { path, messages: settings.messages }),
      (contender) => contender.close(),
    );
    const [ours = [], theirs = [], replayed = []] = await takeTurns([aviary, noOp, replay]);
    const perSecond = middle(ours, "perSecond");
    return {
      measurements: [
        {
          id: "P4",
          ratio: ratioOf(theirs, ours, "cpuUs"),
          ours: middle(ours, "cpuUs"),
          denominator: middle(theirs, "cpuUs"),
          unit: "us",
          rounds: ROUNDS,
        },
        {
          id: "P5",
          ratio: ratioOf(ours, theirs, "perSecond"),
          ours: perSecond,
          denominator: middle(theirs, "perSecond"),
          unit: "/s",
          rounds: ROUNDS,
          bounds: [{ what: "signals applied", value: perSecond, unit: "/s", atLeast: 100_000 }],
        },
      ],
      notes: [
        `${broker.version}, file storage; ${SIGNALS} signals of ${Math.round(bytes)} bytes from 6 gateways, 80% http, in one active run`,
        `replayed from a recording: ${Math.round(middle(replayed, "perSecond")).toLocaleString("en-US")} signals per second`,
        "peer: the client's ordered consumer, consume({ callback }), prefetch 1024, bodies untouched",
      ],
    };
  },
};
