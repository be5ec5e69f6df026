import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { oneOf, text } from "@aviary/shared/commands/options.ts";
import { SIGNAL_KINDS } from "@aviary/shared/contract/subjects.ts";

const options = {
  fleet: text("name", { description: "Only signals of this fleet", example: "payments" }),
  gateway: text("name", { description: "Only signals of this gateway", example: "mac-a1" }),
  kind: oneOf("kind", SIGNAL_KINDS, { description: "Only signals of this kind" }),
};

export type SignalsTailCall = CommandCall<typeof options>;

export const signalsTailCommand = defineCommand({
  name: "signals tail",
  summary: "Print signals as the broker stores them",
  details: "`-o json` prints the signals unchanged, one per line. Runs until Ctrl-C.",
  options,
  formats: ["table", "json"],
  runsUntilInterrupted: true,
  examples: ["aviary signals tail --gateway mac-a1", "aviary signals tail --kind http -o json | jq .body"],
  run: async (call) => (await import("./actions/signals-tail.ts")).signalsTail(call),
});
