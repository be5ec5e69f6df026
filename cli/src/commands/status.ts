/** `aviary status`: what every canary is told now, and why. */
import { parseArgs } from "node:util";
import type { Command } from "@aviary/shared/commands/command.ts";
import { told } from "../../../services/evaluator/src/commands/open.ts";
import { getFromShim, type Overview, shimOf } from "../shim-client.ts";
import { overviewText, painterFor } from "../verdict-table.ts";

const USAGE = "status [--json]";

export const statusVerb: Command = {
  name: "status",
  summary: "what every canary is told now, and why",
  usage: USAGE,
  run: (args, io) =>
    told(USAGE, io, async () => {
      const { values } = parseArgs({ args: [...args], options: { json: { type: "boolean", default: false } } });
      const overview = await getFromShim<Overview>(shimOf(io), "/api/v1/canaries", io.signal);
      io.stdout.write(values.json ? `${JSON.stringify(overview)}\n` : overviewText(overview, painterFor(io.stdout)));
      return 0;
    }),
};
