import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { fleetOption } from "@aviary/shared/commands/options.ts";

const args = {
  verdict: {
    description: "The id of a verdict, or at least its first six digits",
    example: "29507e349c76",
    presence: "required",
    parse: parseVerdictId,
  },
} as const;
const options = { fleet: fleetOption };

export type ExplainCall = CommandCall<typeof options, typeof args>;

export const explainCommand = defineCommand({
  name: "explain",
  summary: "Explain a verdict with every number behind it",
  args,
  options,
  examples: ["aviary explain 29507e349c7639e2"],
  run: async (call) => (await import("./actions/explain.ts")).explain(call),
});

/** @throws TypeError that states the form */
function parseVerdictId(text: string): string {
  if (!/^[0-9a-f]{6,16}$/.test(text)) throw new TypeError("expected 6 to 16 hex digits");
  return text;
}
