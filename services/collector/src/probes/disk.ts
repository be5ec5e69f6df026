/**
 * The volume with the gateway's state: its usage, the tier implied by its size, and whether a file can still be written. The
 * gateway's own `/readyz` stays 200 on a full disk. On APFS, purgeable space counts as used.
 */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { z } from "zod";
import { readVolume, type VolumeUse, volumeFromFile } from "../io/volume.ts";
import { defineProbe, sourceOf, timing } from "../probe.ts";

const config = z.strictObject({
  ...timing("10s", "5s"),
  /** A directory on the volume, used for the write check. */
  path: z.string().min(1),
  /** For capacities between the tiers. */
  tier: z.enum(["1TB", "2TB"]).optional(),
  /** For drills and tests: read the usage from this JSON file instead of the operating system. */
  statfsFile: z.string().min(1).optional(),
});

interface DiskReading {
  readonly use: VolumeUse;
  readonly writable: boolean;
}

/** Disks are sold in powers of ten and contain slightly less; halfway between the tiers. */
const TWO_TB_FROM_BYTES = 1.5e12;

export const disk = defineProbe({
  name: "disk",
  kind: "disk",
  configSchema: config,
  coversPeriod: false,
  initial: undefined,
  create({ path, statfsFile }, world) {
    const use = statfsFile === undefined ? readVolume : volumeFromFile(statfsFile);
    return sourceOf(async (): Promise<DiskReading> => {
      // Sequential: a hanging volume must not block two of the few file system threads.
      const found = await use(path);
      return { use: found, writable: await canWrite(path, world.gateway.gateway) };
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

/** Whether 4 KiB can be written; an empty file can often still be created on a full disk. */
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
