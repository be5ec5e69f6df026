/**
 * The volume that holds the gateway's state: how full it is, which tier its size means, and whether a file can still be written. The gateway's own
 * `/readyz` stays 200 on a full disk. On APFS what the system could purge counts as used.
 */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { z } from "zod";
import { readVolume, type VolumeUse, volumeFromFile } from "../io/volume.ts";
import { defineProbe, sourceOf, timing } from "../probe.ts";

const config = z.strictObject({
  ...timing("10s", "5s"),
  /** A directory on the volume; the write probe writes there. */
  path: z.string().min(1),
  /** For capacities that lie between the tiers. */
  tier: z.enum(["1TB", "2TB"]).optional(),
  /** For drills and tests: read the volume's use from this JSON file instead of asking the system. */
  statfsFile: z.string().min(1).optional(),
});

interface DiskReading {
  readonly use: VolumeUse;
  readonly writable: boolean;
}

/** Disks are sold in powers of ten and hold a little less; halfway between the tiers. */
const TWO_TB_FROM_BYTES = 1.5e12;

export const disk = defineProbe({
  name: "disk",
  kind: "disk",
  configSchema: config,
  coversPeriod: false,
  initial: undefined,
  create({ path, statfsFile }, context) {
    const use = statfsFile === undefined ? readVolume : volumeFromFile(statfsFile);
    return sourceOf(async (): Promise<DiskReading> => {
      // One after the other: a hanging volume must not hold two of the few threads for files.
      const found = await use(path);
      return { use: found, writable: await canWrite(path, context.gateway.gateway) };
    });
  },
  parse(raw: DiskReading, state, _tick, { tier }) {
    const { totalBytes, usedRatio } = raw.use;
    const body: SignalBody<"disk"> = {
      used_ratio: usedRatio,
      total_bytes: totalBytes,
      tier: tier ?? (totalBytes >= TWO_TB_FROM_BYTES ? "2TB" : "1TB"),
      writable: raw.writable,
    };
    return { bodies: [body], state };
  },
});

/** Whether 4 KiB can be written; an empty file can often still be made on a full disk. */
async function canWrite(directory: string, gateway: string): Promise<boolean> {
  const path = join(directory, `.aviary-write-probe-${gateway}`);
  try {
    const handle = await open(path, "w", 0o600);
    try {
      await handle.writeFile(Buffer.alloc(4_096, 0x61));
    } finally {
      await handle.close();
    }
    return true;
  } catch {
    return false;
  } finally {
    await rm(path, { force: true }).catch(() => {});
  }
}
