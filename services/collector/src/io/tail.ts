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
const FINGERPRINT_BYTES = 64;
const READS_AFTER_ROTATION = 2;
const MAX_OLD_FILES = 2;
const LINE_FEED = 10;
const EMPTY = Buffer.alloc(0);

type MutableReport = { -readonly [Key in keyof TailReport]: TailReport[Key] };
type OnLine = (line: string) => void;

interface TailState {
  readonly path: string;
  readonly maxLineBytes: number;
  /** Reused by every read. */
  readonly chunk: Buffer;
  /** Rotated files that are still read, oldest first. */
  old: FollowedFile[];
  current: FollowedFile | undefined;
}

/** One call of `read`: its limits, and what it has found so far. */
interface TailRead {
  readonly budgetBytes: number;
  readonly onLine: OnLine;
  readonly signal: AbortSignal;
  readonly report: MutableReport;
}

/** Starts at the end of an existing file, because earlier lines predate the collector. */
export async function openTail({ path, maxLineBytes = 65_536 }: TailOptions): Promise<LogTail> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  const state: TailState = { path, maxLineBytes, chunk, old: [], current: await follow(path, "end") };
  return {
    async read(budgetBytes, onLine, signal) {
      const report = { bytes: 0, unreadBytes: 0, rotations: 0, truncations: 0, oversizedLines: 0 };
      try {
        await readAll(state, { budgetBytes, onLine, signal, report });
      } catch (error) {
        if (signal.aborted || !isFileError(error)) throw error;
        throw retryable("unreadable", `cannot read ${path}: ${error.message}`, error);
      }
      return report;
    },
    async [Symbol.asyncDispose]() {
      const open = state.current === undefined ? state.old : [...state.old, state.current];
      state.old = [];
      state.current = undefined;
      for (const file of open) await file.handle.close();
    },
  };
}

async function readAll(state: TailState, read: TailRead): Promise<void> {
  const inode = await inodeOf(state.path);
  noticeRotation(state, inode, read);
  await readOldFiles(state, read);
  if (inode === undefined) {
    if (state.old.length > 0) return;
    throw retryable("no_such_file", `${state.path} not found; check the proxy's log settings`);
  }
  state.current ??= await follow(state.path, "beginning");
  if (state.current !== undefined) await readCurrent(state, state.current, read);
}

function noticeRotation(state: TailState, inode: string | undefined, { report }: TailRead): void {
  if (state.current === undefined || inode === state.current.inode) return;
  state.old.push(state.current);
  state.current = undefined;
  report.rotations += 1;
}

async function readOldFiles(state: TailState, read: TailRead): Promise<void> {
  const { old } = state;
  for (const file of [...old]) {
    try {
      await readOn(state, file, read);
    } catch (error) {
      if (!isFileError(error)) throw error;
      // It is reported once, by this reading, and dropped: an old file that stays unreadable must not hide the current one.
      old.splice(old.indexOf(file), 1);
      await file.handle.close().catch(() => undefined);
      throw error;
    }
    file.readsLeft -= 1;
  }
  // A file with unread bytes is kept, up to MAX_OLD_FILES.
  const isFinished = (file: FollowedFile): boolean => file.readsLeft <= 0 && read.report.bytes < read.budgetBytes;
  while (old[0] !== undefined && (old.length > MAX_OLD_FILES || isFinished(old[0]))) {
    const file = old[0];
    old.shift();
    await retire(file, read.onLine);
  }
}

async function readCurrent(state: TailState, file: FollowedFile, read: TailRead): Promise<void> {
  if (await wasTruncated(file)) {
    read.report.truncations += 1;
    Object.assign(file, { position: 0, partialLine: EMPTY, isSkippingLine: false, fingerprint: EMPTY });
  }
  await readOn(state, file, read);
  read.report.unreadBytes = Math.max(0, (await file.handle.stat()).size - file.position);
}

/** Reads to the end of the file, or until the budget is used. */
async function readOn({ chunk, maxLineBytes }: TailState, file: FollowedFile, read: TailRead): Promise<void> {
  const { budgetBytes, report, signal } = read;
  for (;;) {
    signal.throwIfAborted();
    const room = Math.min(CHUNK_BYTES, budgetBytes - report.bytes);
    if (room <= 0) return;
    const { bytesRead } = await file.handle.read(chunk, 0, room, file.position);
    if (bytesRead === 0) return;
    file.position += bytesRead;
    report.bytes += bytesRead;
    const bytes = chunk.subarray(0, bytesRead);
    const last = bytesRead >= FINGERPRINT_BYTES ? bytes : Buffer.concat([file.fingerprint, bytes]);
    file.fingerprint = Buffer.from(last.subarray(-FINGERPRINT_BYTES));
    splitLines(file, bytes, maxLineBytes, read);
  }
}

/** Emits the complete lines of `bytes`, and keeps the start of the next one. */
function splitLines(file: FollowedFile, bytes: Buffer, maxLineBytes: number, { onLine, report }: TailRead): void {
  let from = 0;
  for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, from)) {
    if (file.isSkippingLine) file.isSkippingLine = false;
    else if (file.partialLine.length + end - from > maxLineBytes) report.oversizedLines += 1;
    else emit(joined(file.partialLine, bytes.subarray(from, end)), onLine);
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

const joined = (start: Buffer, rest: Buffer): Buffer => (start.length === 0 ? rest : Buffer.concat([start, rest]));

async function retire(file: FollowedFile, onLine: OnLine): Promise<void> {
  // The writer has closed the file, so a partial line is the last line.
  if (!file.isSkippingLine) emit(file.partialLine, onLine);
  await file.handle.close();
}

function emit(bytes: Buffer, onLine: OnLine): void {
  const line = bytes.toString("utf8").trimEnd();
  if (line !== "") onLine(line);
}

/**
 * Opens the file; undefined when it does not exist. The end may be inside a line, whose remainder is skipped.
 * @throws Retryable `not_a_file` for a directory, a pipe or a device, which is never followed
 */
async function follow(path: string, from: "beginning" | "end"): Promise<FollowedFile | undefined> {
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
  const { dev, ino, size } = stats;
  const position = from === "end" ? Number(size) : 0;
  const mark = Buffer.alloc(Math.min(FINGERPRINT_BYTES, position));
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

/** An error of the file system. */
function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
