/**
 * Follows a log file that another process writes and rotates, in bounded memory.
 *
 *     following ──path has another inode──▶ rotated: two more reads of the old file, the new file from the start
 *     following ──file shrank, or the last read bytes changed──▶ truncated: read from the start
 *
 * The second truncation check compares the last bytes read. It detects a file that was emptied and has already grown past the read position.
 * When a log is rotated twice between two reads, the lines of the middle file are lost.
 */
import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { retryable } from "@aviary/shared/runtime/faults.ts";

export interface TailOptions {
  readonly path: string;
  /** Longer lines are skipped and counted. */
  readonly maxLineBytes?: number;
}

/** Statistics of one read. */
export interface TailReport {
  readonly bytes: number;
  /** Bytes left unread because the budget was exhausted. */
  readonly unreadBytes: number;
  readonly rotations: number;
  readonly truncations: number;
  /** Lines longer than the limit. */
  readonly oversizedLines: number;
}

export interface LogTail extends AsyncDisposable {
  /**
   * Passes every complete line to `onLine`, reading about `budgetBytes` at most.
   * @throws Retryable `no_such_file`, or `unreadable` with the system error.
   */
  read(budgetBytes: number, onLine: (line: string) => void, signal: AbortSignal): Promise<TailReport>;
}

interface FollowedFile {
  readonly handle: FileHandle;
  readonly inode: string;
  position: number;
  /** The start of a line whose end is not yet written. */
  partialLine: Buffer;
  /** Whether the rest of an oversized line is being skipped. */
  isSkippingLine: boolean;
  /** The last bytes before `position`, to detect truncation. */
  fingerprint: Buffer;
  readsLeft: number;
}

const CHUNK_BYTES = 256 * 1024;
const MARK_BYTES = 64;
const READS_AFTER_ROTATION = 2;
const MAX_OLD_FILES = 2;
const LINE_FEED = 10;
const EMPTY = Buffer.alloc(0);

/** Starts at the end of an existing file, because earlier lines predate the collector. */
export async function openTail(options: TailOptions): Promise<LogTail> {
  const maxLineBytes = options.maxLineBytes ?? 65_536;
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let old: FollowedFile[] = [];
  let current = await follow(options.path, "end");
  let report = { bytes: 0, unreadBytes: 0, rotations: 0, truncations: 0, oversizedLines: 0 };

  async function readOn(
    file: FollowedFile,
    budgetBytes: number,
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const room = Math.min(CHUNK_BYTES, budgetBytes - report.bytes);
      if (room <= 0) return;
      const { bytesRead } = await file.handle.read(chunk, 0, room, file.position);
      if (bytesRead === 0) return;
      file.position += bytesRead;
      report.bytes += bytesRead;
      const bytes = chunk.subarray(0, bytesRead);
      file.fingerprint = Buffer.from(
        bytesRead >= MARK_BYTES ? bytes.subarray(-MARK_BYTES) : Buffer.concat([file.fingerprint, bytes]).subarray(-MARK_BYTES),
      );
      split(file, bytes, onLine);
    }
  }

  function split(file: FollowedFile, bytes: Buffer, onLine: (line: string) => void): void {
    let from = 0;
    for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, from)) {
      if (file.isSkippingLine) file.isSkippingLine = false;
      else if (file.partialLine.length + end - from > maxLineBytes) report.oversizedLines += 1;
      else
        emit(
          file.partialLine.length === 0
            ? bytes.subarray(from, end)
            : Buffer.concat([file.partialLine, bytes.subarray(from, end)]),
          onLine,
        );
      file.partialLine = EMPTY;
      from = end + 1;
    }
    if (file.isSkippingLine) return;
    // Copied, because the chunk buffer is reused.
    file.partialLine = Buffer.concat([file.partialLine, bytes.subarray(from)]);
    if (file.partialLine.length <= maxLineBytes) return;
    report.oversizedLines += 1;
    file.partialLine = EMPTY;
    file.isSkippingLine = true;
  }

  async function retire(file: FollowedFile, onLine: (line: string) => void): Promise<void> {
    // The writer has closed the file, so a partial line is the last line.
    if (!file.isSkippingLine) emit(file.partialLine, onLine);
    await file.handle.close();
  }

  async function readAll(budgetBytes: number, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    const found = await inodeOf(options.path);
    if (current !== undefined && found !== current.inode) {
      old.push(current);
      current = undefined;
      report.rotations += 1;
    }
    for (const file of old) {
      await readOn(file, budgetBytes, onLine, signal);
      file.readsLeft -= 1;
    }
    // A file with unread bytes is kept, up to MAX_OLD_FILES.
    while (
      old.length > 0 &&
      (old.length > MAX_OLD_FILES || ((old[0] as FollowedFile).readsLeft <= 0 && report.bytes < budgetBytes))
    ) {
      await retire(old.shift() as FollowedFile, onLine);
    }
    if (found === undefined) {
      if (old.length > 0) return;
      throw retryable("no_such_file", `${options.path} not found; check the proxy's log settings`);
    }
    current ??= await follow(options.path, "beginning");
    if (current === undefined) return;
    if (await wasTruncated(current)) {
      report.truncations += 1;
      Object.assign(current, { position: 0, partialLine: EMPTY, isSkippingLine: false, fingerprint: EMPTY });
    }
    await readOn(current, budgetBytes, onLine, signal);
    report.unreadBytes = Math.max(0, (await current.handle.stat()).size - current.position);
  }

  return {
    async read(budgetBytes, onLine, signal) {
      report = { bytes: 0, unreadBytes: 0, rotations: 0, truncations: 0, oversizedLines: 0 };
      try {
        await readAll(budgetBytes, onLine, signal);
      } catch (error) {
        if (signal.aborted || !(error instanceof Error) || !("syscall" in error)) throw error;
        throw retryable("unreadable", `cannot read ${options.path}: ${error.message}`, error);
      }
      return report;
    },
    async [Symbol.asyncDispose]() {
      const open = current === undefined ? old : [...old, current];
      old = [];
      current = undefined;
      for (const file of open) await file.handle.close();
    },
  };
}

function emit(bytes: Buffer, onLine: (line: string) => void): void {
  const line = bytes.toString("utf8").trimEnd();
  if (line !== "") onLine(line);
}

/** Opens the file; undefined when it does not exist. The end may be inside a line, whose remainder is skipped. */
async function follow(path: string, from: "beginning" | "end"): Promise<FollowedFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (isMissing(error) || from === "end") return undefined;
    throw error;
  }
  const { dev, ino, size } = await handle.stat({ bigint: true });
  const position = from === "end" ? Number(size) : 0;
  const mark = Buffer.alloc(Math.min(MARK_BYTES, position));
  await handle.read(mark, 0, mark.length, position - mark.length);
  const insideLine = mark.length > 0 && mark.at(-1) !== LINE_FEED;
  return {
    handle,
    inode: `${dev}:${ino}`,
    position,
    partialLine: EMPTY,
    isSkippingLine: insideLine,
    fingerprint: mark,
    readsLeft: READS_AFTER_ROTATION,
  };
}

async function inodeOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function wasTruncated(file: FollowedFile): Promise<boolean> {
  if ((await file.handle.stat()).size < file.position) return true;
  const now = Buffer.alloc(file.fingerprint.length);
  const { bytesRead } = await file.handle.read(now, 0, now.length, file.position - now.length);
  return bytesRead < now.length || !now.equals(file.fingerprint);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
