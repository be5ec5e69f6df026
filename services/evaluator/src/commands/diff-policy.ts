import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { durationOption, file, fleetOption } from "@aviary/shared/commands/options.ts";

const options = {
  policy: file({ description: "The policy to compare with", example: "policies/stricter.yaml", required: true }),
  since: durationOption({ description: "Start of the range, as a time before now", example: "6h", default: "7d" }),
  fleet: fleetOption,
};

export type DiffPolicyCall = CommandCall<typeof options>;

export const diffPolicyCommand = defineCommand({
  name: "diff-policy",
  summary: "Show which recorded verdicts another policy would change",
  details: "`-o json` prints one line per run. A policy whose `window` differs from the recorded one is rejected.",
  options,
  formats: ["table", "json"],
  examples: ["aviary diff-policy --policy policies/stricter.yaml --since 7d"],
  run: async (call) => (await import("./actions/diff-policy.ts")).diffPolicy(call),
});
