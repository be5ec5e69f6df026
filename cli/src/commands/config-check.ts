import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { oneOf } from "@aviary/shared/commands/options.ts";

export const FILE_KINDS = ["fleet", "policy", "collector", "tokens"] as const;
export type FileKind = (typeof FILE_KINDS)[number];

const args = {
  files: {
    description: "The files; by default, those that the services would read",
    example: "aviary.yaml",
    presence: "repeated",
    completesFiles: true,
    parse: (text: string) => text,
  },
} as const;
const options = {
  kind: oneOf("kind", FILE_KINDS, { description: "The kind of all files; by default, detected from the keys of each file" }),
};

export type CheckConfigCall = CommandCall<typeof options, typeof args>;

export const checkConfigCommand = defineCommand({
  name: "config check",
  summary: "Check fleet, policy, collector and token files",
  details:
    "Reports every problem of every file, with its line and the expected value. A fleet file is checked with the policies that it names, " +
    "a collector file with the fragments in conf.d next to it. Exits with 1 if a file has a problem.\n\n" +
    "Default files: AVIARY_FLEET_FILE, AVIARY_COLLECTOR_FILE and AVIARY_TOKENS_FILE if set, and aviary.yaml, collector.yaml and " +
    "tokens.yaml if they exist.",
  args,
  options,
  formats: ["table", "json"],
  examples: [
    "aviary config check aviary.yaml tokens.yaml",
    "aviary config check --kind policy policies/*.yaml",
    "aviary config check -o json | jq '.files[] | select(.ok | not)'",
  ],
  run: async (call) => (await import("./actions/config-check.ts")).checkConfigFiles(call),
});
