/**
 * One file that another process appends lines to: its read position, and how its bytes become lines.
 *
 * A NUL byte ends a line like a line feed: no log format contains one, and a file that was truncated while its writer keeps its
 * old position (`copytruncate` without O_APPEND) starts with a hole of them.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import { isRotationNote } from "../core/access-line.ts";

export interface LogFile {
  readonly handle: FileHandle;
  /** Device and inode. */
  readonly identity: string;
  position: number;
  /** Whether a line has been written to it since it was opened. */
  hasDelivered: boolean;
  /** Consecutive reads that found nothing new. */
  quietReads: number;
  /** The start of a line whose end is not yet written. */
  partialLine: Buffer;
  /** Whether the rest of an oversized line is being skipped. */
  isSkippingLine: boolean;
  /** The last bytes before `position`, to detect truncation. */
  fingerprint: Buffer;
}

/** Limits of one read, and its findings so far. */
export interface LineSink {
  readonly onLine: (line: string) => void;
  readonly maxLineBytes: number;
  lines: number;
  lineBytes: number;
  /** Lines longer than the limit. */
  oversizedLines: number;
}

export const CHUNK_BYTES = 256 * 1024;
/** Several lines, because lines of equal length may differ only in the time at their start. */
const FINGERPRINT_BYTES = 4_096;
const LINE_FEED = 10;
const NUL = 0;
const EMPTY = Buffer.alloc(0);
const ZEROS = Buffer.alloc(CHUNK_BYTES);

/**
 * Opens the file; undefined when it does not exist. The end may be inside a line, whose remainder is skipped.
 * @throws Retryable `not_a_file` for a directory, a pipe or a device, which is never followed
 */
export async function openLogFile(path: string, from: "beginning" | "end"): Promise<LogFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (isMissing(error) || from === "end") return undefined;
    throw error;
  }
  const stats = await handle.stat({ bigint: true });
  if (!stats.isFile()) {
    await handle.close();
    if (from === "end") return undefined;
    throw retryable("not_a_file", `${path} is not a regular file; check the proxy's log settings`);
  }
  const position = from === "end" ? Number(stats.size) : 0;
  const mark = Buffer.alloc(Math.min(FINGERPRINT_BYTES, position));
  await handle.read(mark, 0, mark.length, position - mark.length);
  const last = mark.at(-1);
  return {
    handle,
    identity: fileIdentity(stats),
    position,
    hasDelivered: false,
    quietReads: 0,
    partialLine: EMPTY,
    isSkippingLine: last !== undefined && last !== LINE_FEED && last !== NUL,
    fingerprint: mark,
  };
}

export function fileIdentity({ dev, ino }: { readonly dev: bigint | number; readonly ino: bigint | number }): string {
  return `${dev}:${ino}`;
}

/**
 * Whether the file has been emptied since the last read: it is shorter than the read position, or its last bytes read have
 * changed. The second check detects a file that has already grown past the position.
 */
export async function wasTruncated(file: LogFile): Promise<boolean> {
  return (await file.handle.stat()).size < file.position || !(await hasMark(file.handle, file));
}

/** Whether `copy` has the same bytes before the read position of `file`, like a copy made before a truncation. */
export async function isCopyOf(copy: LogFile, file: LogFile): Promise<boolean> {
  return file.fingerprint.length > 0 && (await hasMark(copy.handle, file));
}

async function hasMark(handle: FileHandle, { fingerprint, position }: LogFile): Promise<boolean> {
  const found = Buffer.alloc(fingerprint.length);
  const { bytesRead } = await handle.read(found, 0, found.length, position - found.length);
  return bytesRead === found.length && found.equals(fingerprint);
}

/** Continues in `copy` where reading of `file` was. */
export function continueIn(copy: LogFile, { position, partialLine, isSkippingLine, fingerprint }: LogFile): void {
  Object.assign(copy, { position, partialLine, isSkippingLine, fingerprint });
}

/** Starts a truncated file again. */
export function rewind(file: LogFile): void {
  Object.assign(file, { position: 0, partialLine: EMPTY, isSkippingLine: false, fingerprint: EMPTY });
}

/**
 * Reads the next bytes into `chunk` and emits their complete lines.
 * @returns the number of bytes read, and of those that count for a budget: a chunk of a hole does not
 */
export async function readChunk(
  file: LogFile,
  chunk: Buffer,
  maxBytes: number,
  sink: LineSink,
): Promise<{ readonly bytes: number; readonly counted: number }> {
  const { bytesRead } = await file.handle.read(chunk, 0, Math.min(chunk.length, maxBytes), file.position);
  if (bytesRead === 0) return { bytes: 0, counted: 0 };
  file.position += bytesRead;
  const bytes = chunk.subarray(0, bytesRead);
  const last = bytesRead >= FINGERPRINT_BYTES ? bytes : Buffer.concat([file.fingerprint, bytes]);
  file.fingerprint = Buffer.from(last.subarray(-FINGERPRINT_BYTES));
  if (isAllNul(bytes)) {
    endLine(file, EMPTY, sink);
    return { bytes: bytesRead, counted: 0 };
  }
  splitLines(file, bytes, sink);
  return { bytes: bytesRead, counted: bytesRead };
}

/** Emits an unfinished last line, because the writer has moved on to another file, and closes the file. */
export async function retire(file: LogFile, sink: LineSink): Promise<void> {
  endLine(file, EMPTY, sink);
  await file.handle.close();
}

const isAllNul = (bytes: Buffer): boolean => bytes[0] === NUL && bytes.equals(ZEROS.subarray(0, bytes.length));

/** Emits the complete lines of `bytes`, and keeps the start of the next one. */
function splitLines(file: LogFile, bytes: Buffer, sink: LineSink): void {
  const hasNul = bytes.includes(NUL);
  let from = 0;
  for (let end = endOfLine(bytes, 0, hasNul); end !== -1; end = endOfLine(bytes, from, hasNul)) {
    endLine(file, bytes.subarray(from, end), sink);
    from = end + 1;
  }
  if (file.isSkippingLine) return;
  // Copied, because the chunk buffer is reused.
  file.partialLine = Buffer.concat([file.partialLine, bytes.subarray(from)]);
  if (file.partialLine.length <= sink.maxLineBytes) return;
  sink.oversizedLines += 1;
  file.partialLine = EMPTY;
  file.isSkippingLine = true;
}

function endOfLine(bytes: Buffer, from: number, hasNul: boolean): number {
  const feed = bytes.indexOf(LINE_FEED, from);
  const nul = hasNul ? bytes.indexOf(NUL, from) : -1;
  return feed === -1 || (nul !== -1 && nul < feed) ? nul : feed;
}

/** Emits the line that ends with `rest`. */
function endLine(file: LogFile, rest: Buffer, sink: LineSink): void {
  const line = file.partialLine.length === 0 ? rest : Buffer.concat([file.partialLine, rest]);
  file.partialLine = EMPTY;
  if (file.isSkippingLine) file.isSkippingLine = false;
  else if (line.length > sink.maxLineBytes) sink.oversizedLines += 1;
  else {
    // A file may start with a byte order mark.
    const text = line
      .toString("utf8")
      .replace(/^\uFEFF/, "")
      .trimEnd();
    if (text === "") return;
    file.hasDelivered ||= !isRotationNote(text);
    sink.lines += 1;
    sink.lineBytes += line.length + 1;
    sink.onLine(text);
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
