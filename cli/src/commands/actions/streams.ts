/** `aviary streams print|diff|apply`. */
import { type Difference, LOCAL_MAX_BYTES, type Topology, topology } from "@aviary/shared/bus/streams.ts";
import { applyStreams, verifyStreams } from "@aviary/shared/bus/streams-apply.ts";
import { EXIT } from "@aviary/shared/commands/command.ts";
import { openBus } from "@aviary/shared/commands/open-bus.ts";
import { FLEET_OPTION_HINT } from "@aviary/shared/commands/options.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import type { StreamsCall } from "../streams.ts";

export async function printStreams(call: StreamsCall): Promise<number> {
  call.io.stdout.write(`${JSON.stringify(await requiredStreams(call), null, 2)}\n`);
  return EXIT.success;
}

export async function printStreamsDiff(call: StreamsCall): Promise<number> {
  const { output, io, resources } = call;
  const required = await requiredStreams(call);
  const bus = resources.add(await openBus(io));
  const differences = await verifyStreams(bus.connection, required);
  if (output === "json") io.stdout.write(`${JSON.stringify(differences)}\n`);
  else if (differences.length === 0) io.stdout.write("no differences\n");
  else for (const { text, remedy } of differences) io.stdout.write(`${text} (${remedy})\n`);
  return differences.length === 0 ? EXIT.success : EXIT.failure;
}

export async function applyRequiredStreams(call: StreamsCall): Promise<number> {
  const { output, io, resources } = call;
  const required = await requiredStreams(call);
  const bus = resources.add(await openBus(io));
  const changes = await applyStreams(bus.connection, required);
  if (output === "json") io.stdout.write(`${JSON.stringify(changes)}\n`);
  else if (changes.length === 0) io.stdout.write("no changes\n");
  else for (const change of changes) io.stdout.write(`${appliedText(change)}\n`);
  return EXIT.success;
}

const appliedText = ({ object, text, remedy }: Difference): string =>
  remedy === "create" ? `${object}: created` : `${text.replace(", must be ", ", now ")}: updated`;

async function requiredStreams({ options, io }: StreamsCall): Promise<Topology> {
  const { fleet } = await loadFleet(options.fleet, FLEET_OPTION_HINT);
  // A lane without a canary has no consumer.
  const lanes = Object.values(fleet.canaries).flatMap((canary) => canary.lanes.filter((lane) => fleet.lanes[lane] !== undefined));
  // JetStream reserves the byte limits, which a laptop's disk may not have: `npm start` sets the variable.
  const isLocal = options.local || (io.env.AVIARY_LOCAL_STREAMS ?? "") !== "";
  return topology({
    replicas: Number(options.replicas),
    lanes: [...new Set(lanes)],
    ...(isLocal ? { maxBytes: LOCAL_MAX_BYTES } : {}),
  });
}
