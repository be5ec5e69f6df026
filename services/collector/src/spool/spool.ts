/**
 * A FIFO queue of records on disk, in segments, for broker outages.
 *
 *     append ─▶ newest segment (1 MiB each)  ·  ·  ·  oldest segment ─▶ head ─▶ published ─▶ advance
 *
 * - At the byte cap the oldest segment is dropped and counted. The evaluator detects the loss as a gap in `seq`.
 * - Nothing is written while the volume exceeds its red mark, so that the collector never fills a disk it monitors.
 * - A segment is deleted once it is fully published. After a crash the whole segment is republished, under the same ids.
 * - No fsync, to reduce disk wear: a killed process loses nothing, a power failure may lose the last seconds.
 *
 * One owner, one call at a time. A disk error is a retryable fault, and the caller keeps the records.
 */
import { appendFile, mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import type { ReadVolume } from "../io/volume.ts";
import { type DecodedSegment, decodeSegment, encodeRecord, SEGMENT_MAGIC, type SpoolRecord } from "./record.ts";

export interface SpoolOptions {
  /** A dedicated directory; created when missing. */
  readonly directory: string;
  readonly maxBytes: number;
  /** Red mark: no writes at or above this used ratio, 0 to 1. */
  readonly redRatio: number;
  readonly readVolume: ReadVolume;
  readonly segmentBytes?: number;
  /** Called once per segment that ends in a torn or corrupt record, when it is read. */
  readonly onDamage?: (damage: SegmentDamage) => void;
}

export interface SegmentDamage {
  readonly path: string;
  /** Complete records before the damage; they are published. */
  readonly records: number;
  /** Bytes from the damage to the end of the segment; they are lost. */
  readonly damagedBytes: number;
}

export interface SpoolCounts {
  /** Records dropped at the byte cap. */
  dropped: number;
  /** Segments that ended in a torn or corrupt record. */
  damaged: number;
}

export interface Spool {
  /** Whether no records are on disk. */
  readonly isEmpty: boolean;
  readonly bytes: number;
  readonly counts: Readonly<SpoolCounts>;
  /** Appends records. @throws Retryable `disk_red` or `disk_unwritable`; some of the records may still have been written. */
  append(records: readonly SpoolRecord[]): Promise<void>;
  /**
   * The unpublished records of the oldest non-empty segment; empty when the spool is empty. @throws Retryable
   * `disk_unreadable`.
   */
  head(): Promise<readonly SpoolRecord[]>;
  /** Removes the first `published` records of the head, and deletes its segment once it is empty. */
  advance(published: number): Promise<void>;
}

interface Segment {
  readonly path: string;
  bytes: number;
}

const SEGMENT_BYTES = 1024 * 1024;
const NAME = /^(\d{10})\.seg$/;

/**
 * Opens the directory and lists the segments of earlier processes.
 * @throws Retryable `disk_unwritable` when it cannot be created or listed.
 */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { directory, maxBytes, redRatio } = options;
  const segmentBytes = Math.min(options.segmentBytes ?? SEGMENT_BYTES, Math.max(1, Math.floor(maxBytes / 4)));
  const segments = await findSegments(directory);
  const counts: SpoolCounts = { dropped: 0, damaged: 0 };
  let number = segments.length === 0 ? 0 : numberOf(segments.at(-1) as Segment);
  let total = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  /** The segment being written. Segments of earlier processes are never appended to, because they may end in a torn record. */
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
      // An unreadable segment is dropped too, uncounted.
      const droppedRecords = headRecords ?? (await readSegment(segments[0] as Segment).catch(() => EMPTY_SEGMENT)).records;
      await dropOldest();
      counts.dropped += droppedRecords.length;
    }
  }

  /** Appends to the open segment, or to a new one. */
  async function write(bytes: Buffer): Promise<void> {
    await makeRoom(bytes.length + SEGMENT_MAGIC.length);
    const isNew = open === undefined;
    if (isNew) number += 1;
    const segment = open ?? { path: join(directory, `${String(number).padStart(10, "0")}.seg`), bytes: 0 };
    // No appends until the write completes, because a failed write may leave a torn record.
    open = undefined;
    try {
      if (isNew) await createDirectory(directory);
      await appendFile(segment.path, isNew ? Buffer.concat([SEGMENT_MAGIC, bytes]) : bytes);
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
      const { usedRatio } = await onDisk("check the volume of", () => options.readVolume(directory));
      if (usedRatio >= redRatio) {
        throw retryable(
          "disk_red",
          `volume of ${directory} is ${(usedRatio * 100).toFixed(1)}% full; spooling is paused until space is freed`,
        );
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
        // New records go to another segment, so that the head does not change while it is published.
        if (segment === open) open = undefined;
        if (headRecords === undefined) {
          const { records, damagedBytes } = await readSegment(segment);
          if (damagedBytes > 0) {
            counts.damaged += 1;
            options.onDamage?.({ path: segment.path, records: records.length, damagedBytes });
          }
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
    await createDirectory(directory);
    const names = (await readdir(directory)).filter((name) => NAME.test(name)).sort();
    return Promise.all(
      names.map(async (name) => ({ path: join(directory, name), bytes: (await stat(join(directory, name))).size })),
    );
  });
}

/**
 * Creates a directory and its parents. Node's recursive `mkdir` reports a read-only volume as ENOENT, and does not return where a
 * parent can never exist (below /proc). @throws the error of the first directory that cannot be created
 */
async function createDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && (await stat(directory)).isDirectory()) return;
    const parent = dirname(directory);
    if (code !== "ENOENT" || parent === directory) throw error;
    await createDirectory(parent);
    await mkdir(directory);
  }
}

const EMPTY_SEGMENT = { records: [], damagedBytes: 0 } satisfies DecodedSegment;

function numberOf(segment: Segment): number {
  return Number.parseInt(segment.path.slice(-14), 10);
}

/** A segment that was removed externally has no records and counts as damaged. */
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
