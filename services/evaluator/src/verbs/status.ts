/** `aviary status`: what every canary is told now, and why. */
import { parseArgs } from "node:util";
import type { Verb } from "@aviary/shared/shell/verb.ts";
import { askShim, type Overview, shimOf } from "./ask-shim.ts";
import { told } from "./open.ts";
import { overviewText, painterFor } from "./table.ts";

const USAGE = "status [--json]";

export const statusVerb: Verb = {
  name: "status",
  summary: "what every canary is told now, and why",
  usage: USAGE,
  run: (args, io) =>
    told(USAGE, io, async () => {
      const { values } = parseArgs({ args: [...args], options: { json: { type: "boolean", default: false } } });
      const overview = await askShim<Overview>(shimOf(io), "/api/v1/canaries", io.signal);
      io.stdout.write(values.json ? `${JSON.stringify(overview)}\n` : overviewText(overview, painterFor(io.stdout)));
      return 0;
    }),
};
