/** `aviary streams …`: the streams, buckets and consumers that the services need on the broker. */
import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { flag, fleetOption, oneOf } from "@aviary/shared/commands/options.ts";

const options = {
  fleet: fleetOption,
  replicas: oneOf("count", ["1", "3", "5"], { description: "Copies of each stream in the broker's cluster", default: "1" }),
  local: flag("Use the smaller byte limits of a local fleet; AVIARY_LOCAL_STREAMS sets this too"),
};

export type StreamsCall = CommandCall<typeof options>;

const actions = () => import("./actions/streams.ts");

export const STREAMS_COMMANDS = [
  defineCommand({
    name: "streams print",
    summary: "Print the required streams, buckets and consumers as JSON",
    options,
    formats: ["json"],
    examples: ["aviary streams print --replicas 3 | jq '.streams[].name'"],
    run: async (call) => (await actions()).printStreams(call),
  }),
  defineCommand({
    name: "streams diff",
    summary: "Show the differences between the broker and the required streams",
    details: "Exits with 1 if something differs.",
    options,
    formats: ["table", "json"],
    examples: ["aviary streams diff --replicas 3"],
    run: async (call) => (await actions()).printStreamsDiff(call),
  }),
  defineCommand({
    name: "streams apply",
    summary: "Create and update the required streams; delete nothing",
    options,
    formats: ["table", "json"],
    examples: ["aviary streams apply --replicas 3"],
    run: async (call) => (await actions()).applyRequiredStreams(call),
  }),
];
