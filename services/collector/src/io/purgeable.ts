/**
 * Purgeable space of an APFS volume: space that macOS frees automatically when it is needed (snapshots, caches). statfs counts it
 * as used.
 *
 * Foundation reports the capacity that is available "for important usage", which includes purgeable space
 * (https://developer.apple.com/documentation/foundation/urlresourcevalues/volumeavailablecapacityforimportantusage); the difference
 * to the free space of statfs is purgeable. It is read with `osascript`, which every Mac has, at
 * most once per minute. If that is not possible, the value is unknown, never 0.
 */
import { execFile } from "node:child_process";
import type { Clock } from "@aviary/shared/runtime/clock.ts";

export interface PurgeableOptions {
  readonly clock: Clock;
  /** Path of osascript; undefined if there is none. */
  readonly program: string | undefined;
}

/** @param availableBytes the free space of the volume according to statfs, now */
export type ReadPurgeable = (path: string, availableBytes: number, signal: AbortSignal) => Promise<number | undefined>;

const EVERY_MS = 60_000;
const TIMEOUT_MS = 2_000;
/** Prints the capacity available for important usage of the volume with the path in the first argument, bytes. */
const SCRIPT = `ObjC.import("Foundation");
function run([path]) {
  const key = "NSURLVolumeAvailableCapacityForImportantUsageKey";
  const values = $.NSURL.fileURLWithPath(path).resourceValuesForKeysError($([key]), null);
  return String(ObjC.unwrap(values.objectForKey(key)));
}`;

/** osascript on macOS. */
export const OSASCRIPT = process.platform === "darwin" ? "/usr/bin/osascript" : undefined;

export function purgeableReader({ clock, program }: PurgeableOptions): ReadPurgeable {
  let last: { readonly atMs: number; readonly bytes: number | undefined } | undefined;
  return async (path, availableBytes, signal) => {
    if (program === undefined) return undefined;
    const nowMs = clock.monotonicMs();
    if (last === undefined || nowMs - last.atMs >= EVERY_MS) {
      const importantBytes = readCount(await run(program, path, signal));
      const bytes = importantBytes === undefined ? undefined : Math.max(0, importantBytes - availableBytes);
      last = { atMs: nowMs, bytes };
    }
    return last.bytes;
  };
}

/** The output of the script; empty if it failed, because then the value is unknown and the disk is still measured. */
function run(program: string, path: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    execFile(program, ["-l", "JavaScript", "-e", SCRIPT, path], { timeout: TIMEOUT_MS, signal }, (error, stdout) =>
      resolve(error === null ? stdout : ""),
    );
  });
}

/** Foundation reports 0 for volumes that do not support this property. */
function readCount(output: string): number | undefined {
  const bytes = /^\d{1,16}$/.test(output.trim()) ? Number(output) : 0;
  return bytes > 0 ? bytes : undefined;
}
