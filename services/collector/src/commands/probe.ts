import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { file } from "@aviary/shared/commands/options.ts";

const args = {
  probe: {
    description: "Name of the probe to run",
    presence: "required",
    choices: async () => (await import("../probes/list.ts")).PROBES.map((probe) => probe.name),
    parse: (text: string) => text,
  },
} as const;
const options = {
  config: file({
    description: "The collector's configuration file",
    variable: "AVIARY_COLLECTOR_FILE",
    default: "collector.yaml",
  }),
};

export type ProbeCall = CommandCall<typeof options, typeof args>;

export const probeCommand = defineCommand({
  name: "collector probe",
  summary: "Run one probe of a collector and print what it would publish",
  details: "Publishes nothing. A probe that counts over a period takes that long.",
  args,
  options,
  formats: ["table", "json"],
  examples: ["aviary collector probe disk --config collector.yaml"],
  run: async (call) => (await import("./actions/probe.ts")).runProbe(call),
});
