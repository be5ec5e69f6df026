/** Rotated siblings of a log, found by the names that newsyslog, logrotate and Caddy give them. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { fileIdentity, isMissing } from "./log-file.ts";

export interface RotatedFile {
  readonly path: string;
  readonly identity: string;
  /** Distinguishes a file from an older one with the same inode number. */
  readonly createdAtNs: bigint;
  readonly size: number;
}

/**
 * Whether a name belongs to a rotated, uncompressed file of this log: `access.log.0`, `access.log-20261126`, or Caddy's
 * `access-2026-11-26T07-51-34.228.log`.
 */
function isRotatedName(log: string, name: string): boolean {
  if (name.startsWith(log)) return /^[.-]\d[\dT:._-]*$/.test(name.slice(log.length));
  const extension = extname(log);
  const stem = log.slice(0, log.length - extension.length);
  if (!name.startsWith(stem) || !name.endsWith(extension)) return false;
  return /^-\d{4}-\d{2}-\d{2}T[\d.-]+(?:-[a-z]+)?$/.test(name.slice(stem.length, name.length - extension.length));
}

/** The rotated files of `path`; none if its directory may not be listed. */
export async function rotatedFiles(path: string): Promise<readonly RotatedFile[]> {
  const log = basename(path);
  const directory = dirname(path);
  const names = await readdir(directory).catch((error: unknown) => {
    // The log itself may be readable in such a directory.
    if (isMissing(error) || (error instanceof Error && "code" in error && error.code === "EACCES")) return [];
    throw error;
  });
  const found: RotatedFile[] = [];
  for (const name of names.filter((candidate) => isRotatedName(log, candidate))) {
    const file = join(directory, name);
    const stats = await stat(file, { bigint: true }).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    if (stats?.isFile())
      found.push({ path: file, identity: fileIdentity(stats), createdAtNs: stats.birthtimeNs, size: Number(stats.size) });
  }
  return found;
}

const isSame = (a: RotatedFile, b: RotatedFile): boolean => a.identity === b.identity && a.createdAtNs === b.createdAtNs;

/** The files of the second listing that are not in the first, oldest first. */
export function addedBetween(before: readonly RotatedFile[], after: readonly RotatedFile[]): readonly RotatedFile[] {
  const added = after.filter((file) => !before.some((known) => isSame(known, file)));
  return added.sort((a, b) => (a.createdAtNs < b.createdAtNs ? -1 : 1));
}

/** A file that has grown between two listings. */
export function grownBetween(before: readonly RotatedFile[], after: readonly RotatedFile[]): RotatedFile | undefined {
  return after.find((file) => before.some((known) => isSame(known, file) && file.size > known.size));
}
