/**
 * The volume with the gateway's state: used ratio, size tier, and whether it is writable. The gateway's own `/readyz` stays 200 on
 * a full disk. Purgeable space of APFS counts as used and, if known, is also reported separately (`io/purgeable.ts`).
 */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { z } from "zod";
import { OSASCRIPT, purgeableReader } from "../io/purgeable.ts";
import { readVolume, type VolumeUse, volumeFromFile } from "../io/volume.ts";
import { defineProbe, sourceOf, timing } from "../probe.ts";

const config = z.strictObject({
  ...timing("10s", "5s"),
  /** A directory on the volume, used for the write check. */
  path: z.string().min(1),
  /** Overrides the tier for capacities between the tiers. */
  tier: z.enum(["1TB", "2TB"]).optional(),
  /** For drills and tests: read disk usage from this JSON file instead of the volume. */
  statfsFile: z.string().min(1).optional(),
});

interface DiskReading {
  readonly use: VolumeUse;
  readonly writable: boolean;
  /** Undefined if it is unknown. */
  readonly purgeableBytes: number | undefined;
}

/** Halfway between the tiers, because real capacities are slightly below the nominal size. */
const TWO_TB_FROM_BYTES = 1.5e12;

export const disk = defineProbe({
  name: "disk",
  kind: "disk",
  configSchema: config,
  coversPeriod: false,
  initial: undefined,
  create({ path, statfsFile }, context) {
    const use = statfsFile === undefined ? readVolume : volumeFromFile(statfsFile);
    const readPurgeable = purgeableReader({ clock: context.clock, program: OSASCRIPT });
    return sourceOf(async (_tick, signal): Promise<DiskReading> => {
      // Sequential, so that a hanging volume blocks only one libuv thread.
      const found = await use(path);
      const writable = await canWrite(path, context.gateway.gateway);
      const { availableBytes } = found;
      const purgeableBytes =
        availableBytes === undefined ? found.purgeableBytes : await readPurgeable(path, availableBytes, signal);
      return { use: found, writable, purgeableBytes };
    });
  },
  parse(raw: DiskReading, state, _tick, { tier }) {
    const { totalBytes, usedRatio } = raw.use;
    const body: SignalBody<"disk"> = {
      used_ratio: usedRatio,
      total_bytes: totalBytes,
      tier: tier ?? (totalBytes >= TWO_TB_FROM_BYTES ? "2TB" : "1TB"),
      writable: raw.writable,
      ...(raw.purgeableBytes === undefined ? {} : { purgeable_bytes: raw.purgeableBytes }),
    };
    return { bodies: [body], state };
  },
});

/** Whether 4 KiB can be written. A full disk often still allows an empty file. */
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
