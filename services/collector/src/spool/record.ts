/**
 * Spool segment format: a magic header, then length, CRC-32 and payload per record.
 *
 *     "AVSPOOL1" · ( length: u32 little-endian · crc32: u32 little-endian · payload: JSON [subject, id, data] as UTF-8 )*
 *
 * A crash during a write leaves a torn record at the end, so decoding stops at the first incomplete record.
 */
import { crc32 } from "node:zlib";

/** A signal waiting to be published, in its final form. */
export interface SpoolRecord {
  readonly subject: string;
  readonly id: string;
  readonly data: string;
}

export const SEGMENT_MAGIC = Buffer.from("AVSPOOL1", "latin1");
const HEADER_BYTES = 8;
/** Larger than any signal, so a greater length means corruption. */
const MAX_PAYLOAD_BYTES = 256 * 1024;

/** Encodes one record. */
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

/** Decodes the complete records at the start of a segment. Never throws. */
export function decodeSegment(bytes: Buffer): DecodedSegment {
  if (!bytes.subarray(0, SEGMENT_MAGIC.length).equals(SEGMENT_MAGIC)) return { records: [], damagedBytes: bytes.length };
  const records: SpoolRecord[] = [];
  let offset = SEGMENT_MAGIC.length;
  while (offset + HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32LE(offset);
    const payload = bytes.subarray(offset + HEADER_BYTES, offset + HEADER_BYTES + length);
    if (length > MAX_PAYLOAD_BYTES || payload.length < length || crc32(payload) !== bytes.readUInt32LE(offset + 4)) break;
    const record = readPayload(payload);
    if (record === undefined) break;
    records.push(record);
    offset += HEADER_BYTES + length;
  }
  return { records, damagedBytes: bytes.length - offset };
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
