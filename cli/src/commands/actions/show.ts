/** `aviary run show`: one canary, with the meaning of every code that its verdict names. */
import { type CommandIo, EXIT } from "@aviary/shared/commands/command.ts";
import { wrapText } from "@aviary/shared/commands/terminal-text.ts";
import { type CanaryRef, canaryKey } from "@aviary/shared/contract/subjects.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { type CanaryView, getFromShim, type Overview, shimOf } from "../../shim-client.ts";
import { canaryLines, styleFor } from "../../verdict-table.ts";
import type { ShowCall } from "../run.ts";

export async function show({ args, output, io }: ShowCall): Promise<number> {
  const canary = args.canary ?? (await onlyCanary(io));
  const view = await getFromShim<CanaryView>(shimOf(io), `/api/v1/canaries/${canaryKey(canary)}`, io.signal);
  const style = styleFor(io.stdout);
  const lines = () => [...canaryLines(view, style, output === "wide"), ...meaningLines(view, style.columns)];
  io.stdout.write(output === "json" ? `${JSON.stringify(view)}\n` : `${lines().join("\n")}\n`);
  return EXIT.success;
}

function meaningLines({ meanings = {} }: CanaryView, columns: number): string[] {
  const lines = Object.entries(meanings).flatMap(([code, meaning]) =>
    wrapText(`  ${code.padEnd(18)} ${meaning}`, columns, " ".repeat(21)),
  );
  return lines.length === 0 ? [] : ["", "Codes:", ...lines];
}

/** @throws Terminal `usage` that lists the canaries, unless there is exactly one */
async function onlyCanary(io: CommandIo): Promise<CanaryRef> {
  const { canaries } = await getFromShim<Overview>(shimOf(io), "/api/v1/canaries", io.signal);
  const [only, ...others] = canaries.map((canary) => canary.subject);
  if (only === undefined || others.length > 0)
    throw terminal("usage", `name one of these canaries: ${canaries.map(({ subject }) => canaryKey(subject)).join(", ")}`);
  return only;
}
