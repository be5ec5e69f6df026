/** `aviary watch`: the verdict with its reasons whenever it says something new, until Ctrl-C; with `--json` every verdict. */
import { parseArgs } from "node:util";
import type { Command, CommandIo } from "@aviary/shared/commands/command.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { told } from "../../../services/evaluator/src/commands/open.ts";
import { type CanaryView, getFromShim, type Overview, type Shim, shimOf } from "../shim-client.ts";
import { type Paint, painterFor, verdictLines } from "../verdict-table.ts";

const USAGE = "watch [--json]";
const POLL_MS = 1_000;

export const watchVerb: Command = {
  name: "watch",
  summary: "what every canary is told, as it changes",
  usage: USAGE,
  run: (args, io) =>
    told(USAGE, io, async () => {
      const { values } = parseArgs({ args: [...args], options: { json: { type: "boolean", default: false } } });
      await watch(shimOf(io), values.json, io);
      return 0;
    }),
};

async function watch(shim: Shim, json: boolean, io: CommandIo): Promise<void> {
  const paint = painterFor(io.stdout);
  const shown = new Map<string, string>();
  let silent = false;
  // The first question must be answered: a wrong address is an error, a shim that restarts later is not.
  let overview: Overview | undefined = await getFromShim<Overview>(shim, "/api/v1/canaries", io.signal);
  while (!io.signal.aborted) {
    for (const canary of overview?.canaries ?? []) show(canary, shown, json, io, paint);
    await systemClock.sleep(POLL_MS, io.signal).catch(() => undefined);
    if (io.signal.aborted) return;
    overview = await getFromShim<Overview>(shim, "/api/v1/canaries", io.signal).catch(() => undefined);
    if ((overview === undefined) !== silent) {
      silent = overview === undefined;
      io.stderr.write(silent ? "the shim does not answer; trying again every second\n" : "the shim answers again\n");
    }
  }
}

function show(canary: CanaryView, shown: Map<string, string>, json: boolean, io: CommandIo, paint: Paint): void {
  const key = `${canary.subject.namespace}/${canary.subject.name}`;
  const says = json ? `${canary.id} ${canary.stale}` : news(canary);
  if (shown.get(key) === says) return;
  shown.set(key, says);
  io.stdout.write(json ? `${JSON.stringify(canary)}\n` : `${verdictLines(canary, paint).join("\n")}\n`);
}

/** What is news to a person: the verdict, the run and what kinds of reasons there are, but not their figures, which change every window. */
function news({ verdict, stale, run, reasons }: CanaryView): string {
  const kinds = reasons.map(({ code, az, gateway }) => [code, az, gateway]);
  return JSON.stringify([verdict, stale, run?.id, run?.state, run?.weight, run?.promotable, run?.canary_active, kinds]);
}
