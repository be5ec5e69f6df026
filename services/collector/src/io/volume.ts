/** Disk usage of a volume. */
import { readFile, statfs } from "node:fs/promises";

export interface VolumeUse {
  readonly totalBytes: number;
  /** 0 to 1. Space reserved for the superuser counts as used. */
  readonly usedRatio: number;
}

export type ReadVolume = (path: string) => Promise<VolumeUse>;

/** Reads the usage from the operating system. */
export const readVolume: ReadVolume = async (path) => {
  const { blocks, bavail, bsize } = await statfs(path);
  return { totalBytes: blocks * bsize, usedRatio: blocks === 0 ? 1 : clamp(1 - bavail / blocks) };
};

/**
 * Reads `{"total_bytes": …, "used_ratio": …}` from a file instead, for drills and tests of the disk gates.
 * @throws when the file is not of that form.
 */
export function volumeFromFile(file: string): ReadVolume {
  return async () => {
    const value = JSON.parse(await readFile(file, "utf8")) as { total_bytes?: unknown; used_ratio?: unknown };
    const { total_bytes: totalBytes, used_ratio: usedRatio } = value;
    if (
      typeof totalBytes !== "number" ||
      typeof usedRatio !== "number" ||
      !(totalBytes > 0) ||
      !(usedRatio >= 0 && usedRatio <= 1)
    ) {
      throw new Error(`${file} must contain {"total_bytes": more than 0, "used_ratio": 0 to 1}`);
    }
    return { totalBytes: Math.floor(totalBytes), usedRatio };
  };
}

function clamp(ratio: number): number {
  return Math.min(1, Math.max(0, ratio));
}
