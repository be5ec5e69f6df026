import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { durationOption, fleetOption, folder, text } from "@aviary/shared/commands/options.ts";

const options = {
  since: durationOption({ description: "Start of the segment, as a time before now", example: "2h", required: true }),
  out: folder({
    description: "The case folder to create; must be absent or empty",
    example: "cases/2026-11-21",
    required: true,
  }),
  note: text("text", {
    description: "Why the case is kept and what to look for",
    example: '"p99 regression in az-b"',
    required: true,
  }),
  fleet: fleetOption,
};

export type RecordCall = CommandCall<typeof options>;

export const recordCommand = defineCommand({
  name: "record",
  summary: "Save a segment of the event log as a regression case",
  details: "`aviary replay` and the tests replay the case folder.",
  options,
  examples: ['aviary record --since 2h --out cases/2026-11-21 --note "p99 in az-b"'],
  run: async (call) => (await import("./actions/record.ts")).record(call),
});
