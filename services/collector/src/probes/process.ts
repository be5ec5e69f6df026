/**
 * The gateway process: boot id, restarts since the collector started, and resident memory without helper processes.
 * Memory comes from `/proc` on Linux and `ps` elsewhere; both work while the gateway hangs.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { z } from "zod";
import { applySample, NO_RESTARTS, type ProcessSample } from "../core/restarts.ts";
import { defineProbe, sourceOf, timing } from "../probe.ts";

const config = z.strictObject({
  ...timing("10s", "5s"),
  /** A file with the gateway's process id. Without it memory is unknown, and only the uptime reveals restarts. */
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
    const restarts = applySample(state, raw, tick.atMs);
    return { bodies: [{ gateway_boot: restarts.boot, restarts: restarts.restarts, rss_bytes: raw.rssBytes }], state: restarts };
  },
});

/** Null if the pid file is missing or invalid; a gateway often removes it when it stops. */
async function readPid(path: string): Promise<number | null> {
  try {
    const pid = Number.parseInt(await readFile(path, "utf8"), 10);
    return Number.isInteger(pid) && pid > 0 ? pid : null;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

/** Null when the process does not exist. */
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
