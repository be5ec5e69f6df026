import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { durationOption, file, flag } from "@aviary/shared/commands/options.ts";

const args = {
  recording: {
    description: "A case folder, or a file of recorded messages",
    example: "cases/2026-11-21",
    presence: "optional",
    completesFiles: true,
    parse: (text: string) => text,
  },
} as const;
const options = {
  since: durationOption({
    description: "Replay the event log instead, and print its verdicts since this time before now",
    example: "6h",
  }),
  fleet: file({
    description: "The fleet file; by default the case folder's, else AVIARY_FLEET_FILE, else aviary.yaml",
  }),
  check: flag("Replay again with duplicates, restarts and clock ticks, and compare; exits with 1 on a difference"),
};

export type ReplayCall = CommandCall<typeof options, typeof args>;

export const replayCommand = defineCommand({
  name: "replay",
  summary: "Replay recorded signals and print the verdicts",
  details: "The same messages yield the same verdicts, byte for byte. Name a recording or use --since.",
  args,
  options,
  formats: ["table", "json"],
  examples: ["aviary replay cases/2026-11-21 --check", "aviary replay --since 6h"],
  run: async (call) => (await import("./actions/replay.ts")).replay(call),
});
