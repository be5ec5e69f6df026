import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";

export type WatchCall = CommandCall;

export const watchCommand = defineCommand({
  name: "watch",
  summary: "Print the verdict of every canary whenever it changes",
  details:
    "Prints a canary whenever its verdict, its run or the codes of its reasons change; `-o json` prints every verdict, one per line. Runs until Ctrl-C.",
  formats: ["table", "json"],
  runsUntilInterrupted: true,
  examples: ["aviary watch", "aviary watch -o json | jq -c '[.at, .verdict]'"],
  run: async (call) => (await import("./actions/watch.ts")).watch(call),
});
