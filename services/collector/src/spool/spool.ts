/**
 * A FIFO queue of records on disk, in segments, for broker outages.
 *
 *     append ─▶ newest segment (1 MiB each)  ·  ·  ·  oldest segment ─▶ head ─▶ published ─▶ advance
 *
 * - At the byte limit the oldest segment is deleted and its records are counted: the evaluator detects the gap in `seq`.
 * - Nothing is written while the volume is at its red mark: the collector must not fill the disk it reports on.
 * - A segment is deleted once all of it is published. After a crash the rest of the segment is republished, under the same ids.
 * - No fsync: a killed process loses nothing, a power failure may lose the last seconds, and the disk is not worn.
 *
 * One owner, one call at a time. A disk error is a retryable fault, and the caller keeps the records.
 */
import { appendFile, mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import type { ReadVolume } from "../io/volume.ts";
import { type DecodedSegment, decodeSegment, encodeRecord, SEGMENT_MARK, type SpoolRecord } from "./record.ts";

export interface SpoolOptions {
  /** The spool's own directory; created if missing. */
  readonly directory: string;
  readonly maxBytes: number;
  /** The spool stops writing above this usage of the volume, 0 to 1. */
  readonly redRatio: number;
  readonly readVolume: ReadVolume;
  readonly segmentBytes?: number;
}

export interface SpoolCounts {
  /** Records dropped at the limit. */
  dropped: number;
  /** Segments with a torn or corrupt record. */
  damaged: number;
}

export interface Spool {
  /** Whether records wait on disk. */
  readonly isEmpty: boolean;
  readonly bytes: number;
  readonly counts: Readonly<SpoolCounts>;
  /** Appends records. @throws Retryable `disk_red` or `disk_unwritable`; some of the records may then be on disk */
  append(records: readonly SpoolRecord[]): Promise<void>;
  /** The remainder of the oldest segment, at least one record; empty if nothing waits. @throws Retryable `disk_unreadable` */
  head(): Promise<readonly SpoolRecord[]>;
  /** Removes the first `published` records of the head, and its segment once it is empty. */
  advance(published: number): Promise<void>;
}

interface Segment {
  readonly path: string;
  bytes: number;
}

const SEGMENT_BYTES = 1024 * 1024;
const NAME = /^(\d{10})\.seg$/;

/**
 * Opens the directory and finds the segments of an earlier boot.
 * @throws Retryable `disk_unwritable` if it cannot be created or listed
 */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { directory, maxBytes, redRatio } = options;
  const segmentBytes = Math.min(options.segmentBytes ?? SEGMENT_BYTES, Math.max(1, Math.floor(maxBytes / 4)));
  const segments = await findSegments(directory);
  const counts: SpoolCounts = { dropped: 0, damaged: 0 };
  let number = segments.length === 0 ? 0 : numberOf(segments.at(-1) as Segment);
  let total = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  /** The segment being written; segments of an earlier boot are never written again, because they may end in a torn record. */
  let open: Segment | undefined;
  /** Records of the oldest segment, once read. */
  let headRecords: readonly SpoolRecord[] | undefined;

  async function dropOldest(): Promise<void> {
    const oldest = segments[0] as Segment;
    if (oldest === open) open = undefined;
    await onDisk("remove", () => rm(oldest.path, { force: true }));
    segments.shift();
    total -= oldest.bytes;
    headRecords = undefined;
  }

  async function makeRoom(bytes: number): Promise<void> {
    while (segments.length > 0 && total + bytes > maxBytes) {
      // An unreadable segment is deleted without counting its records.
      const lost = headRecords ?? (await readSegment(segments[0] as Segment).catch(() => NOTHING)).records;
      await dropOldest();
      counts.dropped += lost.length;
    }
  }

  /** Appends to the open segment, or to a new one. */
  async function write(bytes: Buffer): Promise<void> {
    await makeRoom(bytes.length + SEGMENT_MARK.length);
    const isNew = open === undefined;
    if (isNew) number += 1;
    const segment = open ?? { path: join(directory, `${String(number).padStart(10, "0")}.seg`), bytes: 0 };
    // A failed write may leave half a record, so nothing is appended until the segment is complete.
    open = undefined;
    try {
      if (isNew) await mkdir(directory, { recursive: true });
      await appendFile(segment.path, isNew ? Buffer.concat([SEGMENT_MARK, bytes]) : bytes);
    } finally {
      const size = await stat(segment.path).then(
        (found) => found.size,
        () => segment.bytes,
      );
      total += size - segment.bytes;
      segment.bytes = size;
      if (isNew && size > 0) segments.push(segment);
    }
    if (segment.bytes < segmentBytes) open = segment;
  }

  return {
    get isEmpty() {
      return segments.length === 0;
    },
    get bytes() {
      return total;
    },
    counts,
    async append(records) {
      const { usedRatio } = await onDisk("look at", () => options.readVolume(directory));
      if (usedRatio >= redRatio) {
        throw retryable("disk_red", `the volume of ${directory} is ${(usedRatio * 100).toFixed(1)} % full; the spool is paused`);
      }
      for (let from = 0; from < records.length; ) {
        const batch: Buffer[] = [];
        let size = 0;
        while (from < records.length && (size === 0 || size < segmentBytes / 4)) {
          const bytes = encodeRecord(records[from++] as SpoolRecord);
          batch.push(bytes);
          size += bytes.length;
        }
        await onDisk("write to", () => write(Buffer.concat(batch)));
      }
    },
    async head() {
      for (let segment = segments[0]; segment !== undefined; segment = segments[0]) {
        // Later records go to another segment: the records being published do not change.
        if (segment === open) open = undefined;
        if (headRecords === undefined) {
          const { records, damagedBytes } = await readSegment(segment);
          if (damagedBytes > 0) counts.damaged += 1;
          headRecords = records;
        }
        if (headRecords.length > 0) return headRecords;
        await dropOldest();
      }
      return [];
    },
    async advance(published) {
      if (headRecords === undefined) return;
      headRecords = headRecords.slice(published);
      if (headRecords.length === 0) await dropOldest();
    },
  };
}

async function findSegments(directory: string): Promise<Segment[]> {
  return onDisk("open", async () => {
    await mkdir(directory, { recursive: true });
    const names = (await readdir(directory)).filter((name) => NAME.test(name)).sort();
    return Promise.all(
      names.map(async (name) => ({ path: join(directory, name), bytes: (await stat(join(directory, name))).size })),
    );
  });
}

const NOTHING = { records: [], damagedBytes: 0 } satisfies DecodedSegment;

function numberOf(segment: Segment): number {
  return Number.parseInt(segment.path.slice(-14), 10);
}

/** A segment removed by another process is empty and damaged. */
async function readSegment(segment: Segment): Promise<DecodedSegment> {
  const bytes = await onDisk("read", () =>
    readFile(segment.path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    }),
  );
  return bytes === undefined ? { records: [], damagedBytes: segment.bytes } : decodeSegment(bytes);
}

async function onDisk<T>(doing: string, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    const code = doing === "read" ? "disk_unreadable" : "disk_unwritable";
    throw retryable(code, `cannot ${doing} the spool: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}
