/**
 * Follows a log file that somebody else writes and rotates, in bounded memory.
 *
 *     following ──name leads to another file──▶ the old file is read on for two more reads, the new one from its beginning
 *     following ──file shorter than before, or other bytes before our place──▶ truncated: read from the beginning
 *
 * The second sign of a truncation (the last bytes that were read are no longer where they were) catches a file that was emptied and has
 * already grown past our place. A file that was rotated twice between two reads loses what stood in the middle one.
 */
import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { retryable } from "@aviary/shared/runtime/faults.ts";

export interface TailOptions {
  readonly path: string;
  /** A longer line is left out and counted. */
  readonly maxLineBytes?: number;
}

/** What one read met besides lines. */
export interface TailReport {
  readonly bytes: number;
  /** Bytes that are there and were not read, because the budget was used up. */
  readonly unreadBytes: number;
  readonly rotations: number;
  readonly truncations: number;
  /** Lines longer than the limit. */
  readonly oversizedLines: number;
}

export interface Tail extends AsyncDisposable {
  /**
   * Hands every complete line to `onLine`, reading at most about `budgetBytes`.
   * @throws Retryable `no_such_file`, or `unreadable` with the file system's reason.
   */
  read(budgetBytes: number, onLine: (line: string) => void, signal: AbortSignal): Promise<TailReport>;
}

interface FollowedFile {
  readonly handle: FileHandle;
  readonly inode: string;
  position: number;
  /** The beginning of a line whose end has not been written yet. */
  partialLine: Buffer;
  /** Inside a line that is too long. */
  isSkippingLine: boolean;
  /** The last bytes before `position`, to recognise the file by. */
  fingerprint: Buffer;
  readsLeft: number;
}

const CHUNK_BYTES = 256 * 1024;
const MARK_BYTES = 64;
const READS_AFTER_ROTATION = 2;
const MAX_OLD_FILES = 2;
const LINE_FEED = 10;
const EMPTY = Buffer.alloc(0);

/** Begins at the end of the file, if there is one: what stands there was finished before we began. */
export async function openTail(options: TailOptions): Promise<Tail> {
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
    // A copy: the chunk is used again.
    file.partialLine = Buffer.concat([file.partialLine, bytes.subarray(from)]);
    if (file.partialLine.length <= maxLineBytes) return;
    report.oversizedLines += 1;
    file.partialLine = EMPTY;
    file.isSkippingLine = true;
  }

  async function retire(file: FollowedFile, onLine: (line: string) => void): Promise<void> {
    // Whoever wrote it is done: what looked like half a line is the last one.
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
    // One that was not read to its end is kept, but not for ever.
    while (
      old.length > 0 &&
      (old.length > MAX_OLD_FILES || ((old[0] as FollowedFile).readsLeft <= 0 && report.bytes < budgetBytes))
    ) {
      await retire(old.shift() as FollowedFile, onLine);
    }
    if (found === undefined) {
      if (old.length > 0) return;
      throw retryable("no_such_file", `${options.path} does not exist; check the proxy's log settings`);
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
        throw retryable("unreadable", `${options.path} cannot be read: ${error.message}`, error);
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

/** Opens the file; undefined when there is none. At its end we may stand inside a line: what is left of it is skipped. */
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
