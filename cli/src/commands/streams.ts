/** `aviary streams print|diff|apply`: what must exist on the broker, how it differs, and making it so. */
import { parseArgs } from "node:util";
import { LOCAL_MAX_BYTES, type Topology, topology } from "@aviary/shared/bus/streams.ts";
import { applyStreams, verifyStreams } from "@aviary/shared/bus/streams-apply.ts";
import type { Command, CommandIo } from "@aviary/shared/commands/command.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { openBus, openSetup, told } from "../../../services/evaluator/src/commands/open.ts";

const OPTIONS = {
  fleet: { type: "string" },
  replicas: { type: "string", default: "1" },
  local: { type: "boolean", default: false },
} as const;

async function wantedOf(args: readonly string[], io: CommandIo): Promise<Topology> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const { setup } = await openSetup(values.fleet, io);
  const replicas = Number(values.replicas);
  if (![1, 3, 5].includes(replicas)) throw terminal("usage", `--replicas ${values.replicas}: expected 1, 3 or 5`);
  // JetStream reserves the byte caps, and a laptop's disk is small: `npm start` uses lower ones and says so here.
  const local = values.local || io.env.AVIARY_LOCAL_STREAMS !== undefined;
  const caps = local ? { maxBytes: LOCAL_MAX_BYTES } : {};
  return topology({ replicas, lanes: [...setup.lanes.keys()], ...caps });
}

function verb(name: string, summary: string, work: (wanted: Topology, io: CommandIo) => Promise<number>): Command {
  const usage = `streams ${name} [--fleet aviary.yaml] [--replicas 1|3|5] [--local]`;
  return {
    name: `streams ${name}`,
    summary,
    usage,
    run: (args, io) => told(usage, io, async () => await work(await wantedOf(args, io), io)),
  };
}

export const STREAM_VERBS: readonly Command[] = [
  verb("print", "the streams, buckets and consumers that must exist", async (wanted, io) => {
    io.stdout.write(`${JSON.stringify(wanted, null, 2)}\n`);
    return 0;
  }),
  verb("diff", "how the broker differs from that", async (wanted, io) => {
    const bus = await openBus(io);
    try {
      const differences = await verifyStreams(bus.connection, wanted);
      for (const { text, remedy } of differences) io.stdout.write(`${text} (${remedy})\n`);
      if (differences.length === 0) io.stdout.write("nothing differs\n");
      return differences.length === 0 ? 0 : 1;
    } finally {
      await bus[Symbol.asyncDispose]();
    }
  }),
  verb("apply", "make the broker like that; deletes nothing", async (wanted, io) => {
    const bus = await openBus(io);
    try {
      const differences = await applyStreams(bus.connection, wanted);
      for (const { text } of differences) io.stdout.write(`${text}: done\n`);
      if (differences.length === 0) io.stdout.write("nothing to do\n");
      return 0;
    } finally {
      await bus[Symbol.asyncDispose]();
    }
  }),
];
