/** The access log of the built-in proxy: one JSON object per line, rotated by size so that it never fills the disk. */
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** One finished request, in the format that the collector's `access-log` probe reads. */
export interface AccessRecord {
  /** When the response finished, ISO 8601 UTC. */
  readonly ts: string;
  readonly status: number;
  readonly duration_ms: number;
  readonly method: string;
  readonly uri: string;
  readonly host: string;
  readonly user_agent: string;
  /** The answer's Content-Type; empty if it has none. */
  readonly content_type: string;
  /** False if the gateway cut off its response. */
  readonly complete: boolean;
}

export interface AccessLog {
  write(record: AccessRecord): void;
  close(): void;
}

/** A log beyond this size is renamed to `<name>.1`, replacing an older `.1`. */
const MAX_LOG_BYTES = 16 * 1024 * 1024;

/** Opens an access log for appending. Writes are synchronous: cheap at demo rates, and visible to probes immediately. */
export function openAccessLog(path: string, maxBytes = MAX_LOG_BYTES): AccessLog {
  mkdirSync(dirname(path), { recursive: true });
  let file = openSync(path, "a");
  let bytes = fstatSync(file).size;
  let closed = false;
  return {
    write: (record) => {
      // A request aborted at shutdown is recorded late, when the file descriptor may already be reused.
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
