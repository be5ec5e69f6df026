/** A log file with a size limit: at the limit it becomes `<name>.1`, replacing an older one. */
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export interface BoundedLog {
  write(text: string | Uint8Array): void;
  close(): void;
}

const MAX_LOG_BYTES = 4 * 1024 * 1024;

export function openBoundedLog(path: string, maxBytes = MAX_LOG_BYTES): BoundedLog {
  mkdirSync(dirname(path), { recursive: true });
  let bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  let file: number | undefined = openSync(path, "a");
  return {
    write: (text) => {
      if (file === undefined) return;
      if (bytes > maxBytes) {
        closeSync(file);
        renameSync(path, `${path}.1`);
        file = openSync(path, "a");
        bytes = 0;
      }
      bytes += typeof text === "string" ? writeSync(file, text) : writeSync(file, text);
    },
    close: () => {
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
}

/** The last lines of a log, for an error message. */
export function lastLines(path: string, count: number): string {
  try {
    return readFileSync(path, "utf8").trimEnd().split("\n").slice(-count).join("\n");
  } catch {
    return "(no log)";
  }
}
