/** `aviary status`: the verdict of every canary, from the shim. */
import { EXIT } from "@aviary/shared/commands/command.ts";
import { getFromShim, type Overview, shimOf } from "../../shim-client.ts";
import { overviewText, styleFor } from "../../verdict-table.ts";
import type { StatusCall } from "../status.ts";

export async function status({ output, io }: StatusCall): Promise<number> {
  const overview = await getFromShim<Overview>(shimOf(io), "/api/v1/canaries", io.signal);
  io.stdout.write(
    output === "json" ? `${JSON.stringify(overview)}\n` : overviewText(overview, styleFor(io.stdout), output === "wide"),
  );
  return EXIT.success;
}
