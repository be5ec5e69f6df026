/**
 * The gateway process: its current boot, its restarts since the collector started, and its memory. Memory is that of the gateway
 * process without helper processes, from `/proc` if available and from `ps` otherwise; both work while the gateway hangs.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { z } from "zod";
import { type LifeSigns, NO_LIVES, seeLife } from "../core/restarts.ts";
import { defineProbe, sourceOf, timing } from "../probe.ts";

const config = z.strictObject({
  ...timing("10s", "5s"),
  /** A file with the gateway's process id. Without it memory is unknown, and restarts are detected by uptime alone. */
  pidFile: z.string().min(1).optional(),
});

interface ProcessReading extends LifeSigns {
  readonly rssBytes: number | null;
}

const execute = promisify(execFile);

export const gatewayProcess = defineProbe({
  name: "process",
  kind: "process",
  configSchema: config,
  coversPeriod: false,
  initial: NO_LIVES,
  create({ pidFile }, world) {
    return sourceOf(async (_tick, signal): Promise<ProcessReading> => {
      const pid = pidFile === undefined ? null : await readPid(pidFile);
      return { uptimeMs: world.facts().uptimeMs, pid, rssBytes: pid === null ? null : await residentBytes(pid, signal) };
    });
  },
  parse(raw: ProcessReading, state, tick) {
    const lives = seeLife(state, raw, tick.at);
    return { bodies: [{ gateway_boot: lives.boot, restarts: lives.restarts, rss_bytes: raw.rssBytes }], state: lives };
  },
});

/** Null if the file is missing or contains no number: a stopped gateway has often removed it. */
async function readPid(path: string): Promise<number | null> {
  try {
    const pid = Number.parseInt(await readFile(path, "utf8"), 10);
    return Number.isInteger(pid) && pid > 0 ? pid : null;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

/** Null if there is no such process. */
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
