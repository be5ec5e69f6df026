/**
 * The gateway as a process: which life it is in, how often it restarted while we watched, and how much memory it has. Memory is that of the gateway's own
 * process, without its helper processes, from `/proc` where there is one and from `ps` elsewhere; both work while the gateway hangs.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { z } from "zod";
import { applySample, NO_RESTARTS, type ProcessSample } from "../core/restarts.ts";
import { defineProbe, sourceOf, timing } from "../probe.ts";

const config = z.strictObject({
  ...timing("10s", "5s"),
  /** A file that holds the gateway's process id. Without it memory is unknown, and restarts are seen by the uptime alone. */
  pidFile: z.string().min(1).optional(),
});

interface ProcessReading extends ProcessSample {
  readonly rssBytes: number | null;
}

const execute = promisify(execFile);

export const gatewayProcess = defineProbe({
  name: "process",
  kind: "process",
  configSchema: config,
  coversPeriod: false,
  initial: NO_RESTARTS,
  create({ pidFile }, context) {
    return sourceOf(async (_tick, signal): Promise<ProcessReading> => {
      const pid = pidFile === undefined ? null : await readPid(pidFile);
      return { uptimeMs: context.facts().uptimeMs, pid, rssBytes: pid === null ? null : await residentBytes(pid, signal) };
    });
  },
  parse(raw: ProcessReading, state, tick) {
    const lives = applySample(state, raw, tick.at);
    return { bodies: [{ gateway_boot: lives.boot, restarts: lives.restarts, rss_bytes: raw.rssBytes }], state: lives };
  },
});

/** Null while there is no file, or no number in it: a gateway that is down has often removed it. */
async function readPid(path: string): Promise<number | null> {
  try {
    const pid = Number.parseInt(await readFile(path, "utf8"), 10);
    return Number.isInteger(pid) && pid > 0 ? pid : null;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

/** Null when there is no such process. */
async function residentBytes(pid: number, signal: AbortSignal): Promise<number | null> {
  if (process.platform === "linux") {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    const found = /^VmRSS:\s+(\d+) kB$/m.exec(status);
    return found === null ? null : Number(found[1]) * 1_024;
  }
  try {
    const { stdout } = await execute("ps", ["-o", "rss=", "-p", String(pid)], { signal, timeout: 3_000 });
    const kibibytes = Number.parseInt(stdout, 10);
    return Number.isInteger(kibibytes) ? kibibytes * 1_024 : null;
  } catch {
    return null;
  }
}
