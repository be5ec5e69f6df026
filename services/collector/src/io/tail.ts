/**
 * Follows a log file that another process writes and rotates, in bounded memory.
 *
 *     following ──the name refers to another file──▶ the old file is read for two more reads, the new one from its start
 *     following ──the file is shorter, or the bytes before our position differ──▶ truncated: read from the start
 *
 * The second sign of a truncation (the last bytes read are no longer at their position) detects a file that was emptied and has
 * already grown past our position. If a file is rotated twice between two reads, the content of the file in between is lost.
 */
import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { retryable } from "@aviary/shared/runtime/faults.ts";

export interface TailOptions {
  readonly path: string;
  /** Longer lines are skipped and counted. */
  readonly maxLineBytes?: number;
}

/** The result of one read besides its lines. */
export interface TailReport {
  readonly bytes: number;
  /** Bytes available but not read, because the budget was exhausted. */
  readonly behind: number;
  readonly rotations: number;
  readonly truncations: number;
  /** Lines longer than the limit. */
  readonly oversized: number;
}

export interface Tail extends AsyncDisposable {
  /**
   * Passes every complete line to `onLine`, reading at most about `budgetBytes`.
   * @throws Retryable `no_such_file`, or `unreadable` with the file system's reason
   */
  read(budgetBytes: number, onLine: (line: string) => void, signal: AbortSignal): Promise<TailReport>;
}

interface Followed {
  readonly handle: FileHandle;
  readonly inode: string;
  position: number;
  /** The start of a line whose end has not been written yet. */
  half: Buffer;
  /** Inside a line that is too long. */
  skipping: boolean;
  /** The last bytes before `position`, to recognise the file. */
  mark: Buffer;
  readsLeft: number;
}

const CHUNK_BYTES = 256 * 1024;
const MARK_BYTES = 64;
const READS_AFTER_ROTATION = 2;
const MAX_OLD_FILES = 2;
const LINE_FEED = 10;
const EMPTY = Buffer.alloc(0);

/** Starts at the end of an existing file: its requests finished before the collector started. */
export async function openTail(options: TailOptions): Promise<Tail> {
  const maxLineBytes = options.maxLineBytes ?? 65_536;
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let old: Followed[] = [];
  let current = await follow(options.path, "end");
  let report = { bytes: 0, behind: 0, rotations: 0, truncations: 0, oversized: 0 };

  async function readOn(file: Followed, budgetBytes: number, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const room = Math.min(CHUNK_BYTES, budgetBytes - report.bytes);
      if (room <= 0) return;
      const { bytesRead } = await file.handle.read(chunk, 0, room, file.position);
      if (bytesRead === 0) return;
      file.position += bytesRead;
      report.bytes += bytesRead;
      const bytes = chunk.subarray(0, bytesRead);
      file.mark = Buffer.from(
        bytesRead >= MARK_BYTES ? bytes.subarray(-MARK_BYTES) : Buffer.concat([file.mark, bytes]).subarray(-MARK_BYTES),
      );
      split(file, bytes, onLine);
    }
  }

  function split(file: Followed, bytes: Buffer, onLine: (line: string) => void): void {
    let from = 0;
    for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, from)) {
      if (file.skipping) file.skipping = false;
      else if (file.half.length + end - from > maxLineBytes) report.oversized += 1;
      else
        emit(file.half.length === 0 ? bytes.subarray(from, end) : Buffer.concat([file.half, bytes.subarray(from, end)]), onLine);
      file.half = EMPTY;
      from = end + 1;
    }
    if (file.skipping) return;
    // A copy, because the chunk is reused.
    file.half = Buffer.concat([file.half, bytes.subarray(from)]);
    if (file.half.length <= maxLineBytes) return;
    report.oversized += 1;
    file.half = EMPTY;
    file.skipping = true;
  }

  async function retire(file: Followed, onLine: (line: string) => void): Promise<void> {
    // The writer is done: an incomplete line is the last one.
    if (!file.skipping) emit(file.half, onLine);
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
    // A file that was not read to its end is kept for a limited time.
    while (
      old.length > 0 &&
      (old.length > MAX_OLD_FILES || ((old[0] as Followed).readsLeft <= 0 && report.bytes < budgetBytes))
    ) {
      await retire(old.shift() as Followed, onLine);
    }
    if (found === undefined) {
      if (old.length > 0) return;
      throw retryable("no_such_file", `${options.path} does not exist; check the proxy's log settings`);
    }
    current ??= await follow(options.path, "beginning");
    if (current === undefined) return;
    if (await wasTruncated(current)) {
      report.truncations += 1;
      Object.assign(current, { position: 0, half: EMPTY, skipping: false, mark: EMPTY });
    }
    await readOn(current, budgetBytes, onLine, signal);
    report.behind = Math.max(0, (await current.handle.stat()).size - current.position);
  }

  return {
    async read(budgetBytes, onLine, signal) {
      report = { bytes: 0, behind: 0, rotations: 0, truncations: 0, oversized: 0 };
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

/** Opens the file; undefined if it does not exist. Its end may be inside a line, whose remainder is skipped. */
async function follow(path: string, from: "beginning" | "end"): Promise<Followed | undefined> {
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
  return { handle, inode: `${dev}:${ino}`, position, half: EMPTY, skipping: insideLine, mark, readsLeft: READS_AFTER_ROTATION };
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

async function wasTruncated(file: Followed): Promise<boolean> {
  if ((await file.handle.stat()).size < file.position) return true;
  const now = Buffer.alloc(file.mark.length);
  const { bytesRead } = await file.handle.read(now, 0, now.length, file.position - now.length);
  return bytesRead < now.length || !now.equals(file.mark);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
