/** The access log of the built-in proxy: one JSON object a line, rotated by size so that it never fills a disk. */
import { closeSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** One finished request, as the collector's probe `access-log` reads it. */
export interface AccessRecord {
  /** When the answer was finished, ISO-8601 UTC. */
  readonly ts: string;
  readonly status: number;
  readonly duration_ms: number;
  readonly method: string;
  readonly uri: string;
  readonly user_agent: string;
}

export interface AccessLog {
  write(record: AccessRecord): void;
  close(): void;
}

/** A log is renamed to `<name>.1` beyond this size; the older `.1` is gone then. */
const MAX_LOG_BYTES = 16 * 1024 * 1024;

/** Opens an access log anew. Every record is on disk when `write` returns: at demo rates that costs nothing, and probes see it at once. */
export function openAccessLog(path: string, maxBytes = MAX_LOG_BYTES): AccessLog {
  mkdirSync(dirname(path), { recursive: true });
  let file = openSync(path, "a");
  let bytes = 0;
  let closed = false;
  return {
    write: (record) => {
      // A request that is cut at the end is recorded late; by then the number of the file may mean another one.
      if (closed) return;
      if (bytes > maxBytes) {
        closeSync(file);
        renameSync(path, `${path}.1`);
        file = openSync(path, "a");
        bytes = 0;
      }
      bytes += writeSync(file, `${JSON.stringify(record)}\n`);
    },
    close: () => {
      if (!closed) closeSync(file);
      closed = true;
    },
  };
}
