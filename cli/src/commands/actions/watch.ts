/** `aviary watch`: polls the shim and prints what changed. */
import { type CommandIo, EXIT } from "@aviary/shared/commands/command.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { type CanaryView, getFromShim, type Overview, shimOf } from "../../shim-client.ts";
import { type Style, styleFor, verdictLines } from "../../verdict-table.ts";
import type { WatchCall } from "../watch.ts";

const POLL_MS = 1_000;

export async function watch({ output, io }: WatchCall): Promise<number> {
  const shim = shimOf(io);
  const printChange = changePrinter(output === "json", io, styleFor(io.stdout));
  let isReachable = true;
  // The first request must succeed, because a wrong address is an error. A later failure may be a restart of the shim.
  let overview: Overview | undefined = await getFromShim<Overview>(shim, "/api/v1/canaries", io.signal);
  while (!io.signal.aborted) {
    for (const canary of overview?.canaries ?? []) printChange(canary);
    await systemClock.sleep(POLL_MS, io.signal).catch(() => undefined);
    if (io.signal.aborted) break;
    overview = await getFromShim<Overview>(shim, "/api/v1/canaries", io.signal).catch(() => undefined);
    if ((overview !== undefined) === isReachable) continue;
    isReachable = overview !== undefined;
    io.stderr.write(isReachable ? "the shim is reachable again\n" : "the shim is unreachable; retrying every second\n");
  }
  return EXIT.success;
}

/** Prints a canary unless it was last printed in the same state. */
function changePrinter(isJson: boolean, io: CommandIo, style: Style): (canary: CanaryView) => void {
  const lastPrinted = new Map<string, string>();
  return (canary) => {
    const key = `${canary.subject.namespace}/${canary.subject.name}`;
    const fingerprint = isJson ? `${canary.id} ${canary.stale}` : fingerprintOf(canary);
    if (lastPrinted.get(key) === fingerprint) return;
    lastPrinted.set(key, fingerprint);
    io.stdout.write(isJson ? `${JSON.stringify(canary)}\n` : `${verdictLines(canary, style).join("\n")}\n`);
  };
}

/** The verdict, the run and the kinds of the reasons, without their figures, which change with every window. */
function fingerprintOf({ verdict, stale, run, reasons }: CanaryView): string {
  const kinds = reasons.map(({ code, az, gateway }) => [code, az, gateway]);
  return JSON.stringify([verdict, stale, run?.id, run?.state, run?.weight, run?.promotable, run?.canary_active, kinds]);
}
