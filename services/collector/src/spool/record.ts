/**
 * The format of a spool segment: a magic number, then per record its length, the CRC-32 of its bytes, and its bytes.
 *
 *     "AVSPOOL1" · ( length: u32 little-endian · crc32: u32 little-endian · payload: JSON [subject, id, data] as UTF-8 )*
 *
 * A process that crashes while writing leaves a torn record at the end: reading stops at the first incomplete record.
 */
import { crc32 } from "node:zlib";

/** A signal waiting to be published, exactly as it will be published. */
export interface SpoolRecord {
  readonly subject: string;
  readonly id: string;
  readonly data: string;
}

export const SEGMENT_MARK = Buffer.from("AVSPOOL1", "latin1");
const HEADER_BYTES = 8;
/** Larger than any signal; a longer length is corruption. */
const MAX_PAYLOAD_BYTES = 256 * 1024;

/** One record in segment format. */
export function encodeRecord(record: SpoolRecord): Buffer {
  const payload = Buffer.from(JSON.stringify([record.subject, record.id, record.data]), "utf8");
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt32LE(crc32(payload), 4);
  return Buffer.concat([header, payload]);
}

export interface DecodedSegment {
  readonly records: readonly SpoolRecord[];
  /** Bytes after the last complete record: torn or corrupt. */
  readonly damagedBytes: number;
}

/** All complete records from the start of a segment. Never throws. */
export function decodeSegment(bytes: Buffer): DecodedSegment {
  if (!bytes.subarray(0, SEGMENT_MARK.length).equals(SEGMENT_MARK)) return { records: [], damagedBytes: bytes.length };
  const records: SpoolRecord[] = [];
  let at = SEGMENT_MARK.length;
  while (at + HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32LE(at);
    const payload = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
    if (length > MAX_PAYLOAD_BYTES || payload.length < length || crc32(payload) !== bytes.readUInt32LE(at + 4)) break;
    const record = readPayload(payload);
    if (record === undefined) break;
    records.push(record);
    at += HEADER_BYTES + length;
  }
  return { records, damagedBytes: bytes.length - at };
}

function readPayload(payload: Buffer): SpoolRecord | undefined {
  try {
    const [subject, id, data] = JSON.parse(payload.toString("utf8")) as unknown[];
    if (typeof subject !== "string" || typeof id !== "string" || typeof data !== "string") return undefined;
    return { subject, id, data };
  } catch {
    return undefined;
  }
}
