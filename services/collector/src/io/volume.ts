/** Disk usage of a volume. */
import { readFile, statfs } from "node:fs/promises";

export interface VolumeUse {
  readonly totalBytes: number;
  /** Free for ordinary users; unknown if only the ratio is. */
  readonly availableBytes?: number;
  /** Part of the used space; set only by a file for drills. */
  readonly purgeableBytes?: number;
  /** 0 to 1. Space reserved for the superuser counts as used. */
  readonly usedRatio: number;
}

export type ReadVolume = (path: string) => Promise<VolumeUse>;

/** Reads the usage from the operating system. */
export const readVolume: ReadVolume = async (path) => {
  const { blocks, bavail, bsize } = await statfs(path);
  return {
    totalBytes: blocks * bsize,
    availableBytes: bavail * bsize,
    usedRatio: blocks === 0 ? 1 : clamp(1 - bavail / blocks),
  };
};

/**
 * Reads `{"total_bytes": …, "used_ratio": …, "purgeable_bytes": …}` (the last is optional) from a file instead, for drills and tests of the disk gates.
 * @throws when the file is not of that form.
 */
export function volumeFromFile(file: string): ReadVolume {
  return async () => {
    const value = JSON.parse(await readFile(file, "utf8")) as Readonly<Record<string, unknown>>;
    const { total_bytes: totalBytes, used_ratio: usedRatio, purgeable_bytes: purgeableBytes } = value;
    if (
      typeof totalBytes !== "number" ||
      typeof usedRatio !== "number" ||
      !(totalBytes > 0) ||
      !(usedRatio >= 0 && usedRatio <= 1) ||
      !(purgeableBytes === undefined || (typeof purgeableBytes === "number" && purgeableBytes >= 0))
    ) {
      throw new Error(`${file} must contain {"total_bytes": more than 0, "used_ratio": 0 to 1}`);
    }
    const use = { totalBytes: Math.floor(totalBytes), usedRatio };
    return purgeableBytes === undefined ? use : { ...use, purgeableBytes: Math.floor(purgeableBytes) };
  };
}

function clamp(ratio: number): number {
  return Math.min(1, Math.max(0, ratio));
}
