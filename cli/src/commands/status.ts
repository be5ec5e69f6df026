import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";

export type StatusCall = CommandCall;

export const statusCommand = defineCommand({
  name: "status",
  summary: "Show the verdict of every canary and its reasons",
  details: "`-o wide` adds ids, the start of the run and the scope of every reason.",
  formats: ["table", "wide", "json"],
  examples: ["aviary status", "aviary status -o json | jq '.canaries[].verdict'"],
  run: async (call) => (await import("./actions/status.ts")).status(call),
});
