/**
 * A collector's spool on a simulated disk. The bytes have the real format, the disk outlives the collector, and a collector that
 * crashes while writing leaves a torn record.
 */
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { decodeSegment, encodeRecord, SEGMENT_MAGIC, type SpoolRecord } from "../../services/collector/src/spool/record.ts";
import type { Spool, SpoolCounts } from "../../services/collector/src/spool/spool.ts";
import type { Kernel, Life } from "./kernel.ts";

/** Segments, oldest first. */
export interface Disk {
  segments: Buffer[];
  /** While true, every write and read fails. */
  broken: boolean;
}

export const createDisk = (): Disk => ({ segments: [], broken: false });

const SEGMENT_BYTES = 8 * 1024;
const MAX_SEGMENTS = 24;

/** Opens the disk for one boot of the collector. Segments of an earlier boot are never written again. */
export function openDisk(disk: Disk, kernel: Kernel, life: Life): Spool {
  const counts: SpoolCounts = { dropped: 0, damaged: 0 };
  let open: Buffer | undefined;
  let head: readonly SpoolRecord[] | undefined;

  /** An operation takes a millisecond or two; meanwhile the process may crash or the disk fail. */
  const turn = (): Promise<void> =>
    new Promise((resolve, reject) => {
      kernel.after(2, life, () => (disk.broken ? reject(retryable("disk_unwritable", "the disk has failed")) : resolve()));
    });

  const dropOldest = (): void => {
    if (disk.segments.shift() === open) open = undefined;
    head = undefined;
  };

  return {
    get isEmpty() {
      return disk.segments.length === 0;
    },
    get bytes() {
      return disk.segments.reduce((sum, segment) => sum + segment.length, 0);
    },
    counts,
    async append(records) {
      for (const record of records) {
        const bytes = encodeRecord(record);
        const before = open ?? SEGMENT_MAGIC;
        if (open === undefined) disk.segments.push(before);
        const place = disk.segments.length - 1;
        // The first half is written separately, so that a crash now leaves a torn record.
        disk.segments[place] = Buffer.concat([before, bytes.subarray(0, bytes.length >> 1)]);
        const torn = disk.segments[place]!;
        // No other record is appended until this one is complete.
        open = undefined;
        await turn();
        const whole = Buffer.concat([before, bytes]);
        disk.segments[disk.segments.indexOf(torn)] = whole;
        open = whole.length < SEGMENT_BYTES ? whole : undefined;
        while (disk.segments.length > MAX_SEGMENTS) {
          counts.dropped += decodeSegment(disk.segments[0]!).records.length;
          dropOldest();
        }
      }
    },
    async head() {
      await turn();
      for (let segment = disk.segments[0]; segment !== undefined; segment = disk.segments[0]) {
        if (segment === open) open = undefined;
        head ??= decodeSegment(segment).records;
        if (head.length > 0) return head;
        dropOldest();
      }
      return [];
    },
    async advance(published) {
      await turn();
      if (head === undefined) return;
      head = head.slice(published);
      if (head.length === 0) dropOldest();
    },
  };
}
