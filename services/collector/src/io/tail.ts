/**
 * Follows a log that another process writes and rotates, in bounded memory.
 *
 *     current ──path has another inode──▶ old: read on, while the new file is read from its start
 *     current ──file shrank, or the last read bytes changed──▶ truncated: read from the start
 *     old ──quiet for two reads, and a newer file has been written to──▶ closed
 *     old ──too many, quiet for longest──▶ closed
 *
 * A proxy that does not reopen its log keeps writing to the renamed file, which is then read on. If it was renamed before the
 * collector started, reading fails with `not_reopened`.
 *
 * A file that was rotated in and out between two reads is found by its name, and so is the copy of a truncated file
 * (`copytruncate`). What may have been destroyed unseen is reported in `lost`: the end of a truncated file without a copy, and the
 * unread rest of a file that was closed.
 */
import { stat } from "node:fs/promises";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import {
  CHUNK_BYTES,
  continueIn,
  identityOf,
  isCopyOf,
  isMissing,
  type LineSink,
  type LogFile,
  openLogFile,
  readChunk,
  retire,
  rewind,
  wasTruncated,
} from "./log-file.ts";
import { addedBetween, grownBetween, type RotatedFile, rotatedFiles } from "./rotated-files.ts";

export interface TailOptions {
  readonly path: string;
  /** Longer lines are skipped and counted. */
  readonly maxLineBytes?: number;
  /** Whether log rotation, and not the log's writer, wrote this line. */
  readonly isRotationNote?: (line: string) => boolean;
}

/** Statistics of one read. */
export interface TailReport {
  /** Without the holes of truncated files. */
  readonly bytes: number;
  /** Bytes left unread because the budget was exhausted. */
  readonly unreadBytes: number;
  /** About how many lines these are. */
  readonly unreadLines: number;
  readonly rotations: number;
  readonly truncations: number;
  /** Lines longer than the limit. */
  readonly oversizedLines: number;
  /** Lines that may have been destroyed before they were read; at least one per occasion, because their number is unknown. */
  readonly lost: number;
  /** Whether the proxy still writes to a renamed file and not to the new one. */
  readonly isNotReopened: boolean;
}

export interface LogTail extends AsyncDisposable {
  /**
   * Passes every complete line to `onLine`, reading about `budgetBytes` at most.
   * @throws Retryable `no_such_file`, `not_a_file`, `not_reopened`, or `unreadable` with the system error
   */
  read(budgetBytes: number, onLine: (line: string) => void, signal: AbortSignal): Promise<TailReport>;
}

/** A rotated file that has been quiet for this many reads may be closed. */
const QUIET_READS = 2;
const MAX_OLD_FILES = 4;
/** The size of a line, for an estimate before any was read, bytes. */
const TYPICAL_LINE_BYTES = 256;

type MutableReport = { -readonly [Key in keyof TailReport]: TailReport[Key] };

interface TailState {
  readonly path: string;
  readonly maxLineBytes: number;
  readonly isRotationNote: (line: string) => boolean;
  /** Reused by every read. */
  readonly chunk: Buffer;
  /** Rotated files that are still read, oldest first. */
  old: LogFile[];
  current: LogFile | undefined;
  /** The rotated files at the start, or at the last rotation or truncation. */
  known: readonly RotatedFile[];
  /** The rotated files at the last read, if that read found nothing. */
  whileQuiet: readonly RotatedFile[];
}

/** One call of `read`: its limits, and what it has found so far. */
interface TailRead {
  readonly budgetBytes: number;
  readonly signal: AbortSignal;
  readonly sink: LineSink;
  readonly report: MutableReport;
}

/** Starts at the end of an existing file, because earlier lines predate the collector. */
export async function openTail(options: TailOptions): Promise<LogTail> {
  const { path, maxLineBytes = 262_144, isRotationNote = () => false } = options;
  const state: TailState = {
    path,
    maxLineBytes,
    isRotationNote,
    chunk: Buffer.allocUnsafe(CHUNK_BYTES),
    old: [],
    current: await openLogFile(path, "end"),
    known: await rotatedFiles(path),
    whileQuiet: [],
  };
  return {
    async read(budgetBytes, onLine, signal) {
      const sink = { onLine, maxLineBytes, isRotationNote, lines: 0, lineBytes: 0, oversizedLines: 0 };
      const read: TailRead = { budgetBytes, signal, sink, report: newReport() };
      try {
        await readAll(state, read);
      } catch (error) {
        if (signal.aborted || !isFileError(error)) throw error;
        throw retryable("unreadable", `cannot read ${path}: ${error.message}`, error);
      }
      const { report } = read;
      report.oversizedLines = sink.oversizedLines;
      const lineBytes = sink.lines === 0 ? TYPICAL_LINE_BYTES : sink.lineBytes / sink.lines;
      report.unreadLines = Math.ceil(report.unreadBytes / lineBytes);
      return report;
    },
    async [Symbol.asyncDispose]() {
      const open = filesOf(state);
      state.old = [];
      state.current = undefined;
      for (const file of open) await file.handle.close();
    },
  };
}

function newReport(): MutableReport {
  return {
    bytes: 0,
    unreadBytes: 0,
    unreadLines: 0,
    rotations: 0,
    truncations: 0,
    oversizedLines: 0,
    lost: 0,
    isNotReopened: false,
  };
}

const filesOf = (state: TailState): LogFile[] => (state.current === undefined ? state.old : [...state.old, state.current]);

async function readAll(state: TailState, read: TailRead): Promise<void> {
  const identity = await identityAt(state.path);
  if (state.current !== undefined && identity !== state.current.identity) await rotate(state, state.current, identity, read);
  await readOldFiles(state, read);
  if (identity === undefined) {
    // The proxy may go on with the renamed file, or create the new one in a moment.
    if (state.old.some((file) => file.quietReads < QUIET_READS)) return countUnread(state, read);
    throw retryable("no_such_file", `${state.path} not found; check the proxy's log settings`);
  }
  state.current ??= await openLogFile(state.path, "beginning");
  if (state.current !== undefined) await readCurrent(state, state.current, read);
  await closeFinished(state, read);
  await countUnread(state, read);
  await findOtherWriter(state, read);
}

async function countUnread(state: TailState, { report }: TailRead): Promise<void> {
  for (const file of filesOf(state)) report.unreadBytes += Math.max(0, (await file.handle.stat()).size - file.position);
}

/** Makes the current file an old one, and follows files that were rotated in and out since the last read. */
async function rotate(state: TailState, file: LogFile, newIdentity: string | undefined, read: TailRead): Promise<void> {
  read.report.rotations += 1;
  const now = await rotatedFiles(state.path);
  const added = addedBetween(state.known, now).filter(({ identity }) => identity !== file.identity && identity !== newIdentity);
  state.known = now;
  // It may have been truncated before it was renamed.
  const copy = await noticeTruncation(state, file, added, read);
  state.old.push(file);
  state.current = undefined;
  for (const { path } of added.filter((one) => one !== copy)) {
    const missed = await openLogFile(path, "beginning");
    if (missed !== undefined) state.old.push(missed);
  }
}

async function readOldFiles(state: TailState, read: TailRead): Promise<void> {
  for (const file of [...state.old]) {
    try {
      await readOn(state, file, read);
    } catch (error) {
      if (!isFileError(error)) throw error;
      // It is reported once, by this reading, and dropped: an old file that stays unreadable must not hide the current one.
      state.old.splice(state.old.indexOf(file), 1);
      await file.handle.close().catch(() => undefined);
      throw error;
    }
  }
  const isNewEmpty = state.current === undefined || !state.current.hasDelivered;
  read.report.isNotReopened = isNewEmpty && read.report.rotations === 0 && state.old.some((file) => file.quietReads === 0);
}

async function readCurrent(state: TailState, file: LogFile, read: TailRead): Promise<void> {
  if (await wasTruncated(file)) {
    const now = await rotatedFiles(state.path);
    const added = addedBetween(state.known, now);
    state.known = now;
    await noticeTruncation(state, file, added, read);
  }
  await readOn(state, file, read);
}

/**
 * Rewinds a file that was truncated; the rest of its text is read from the copy that was made before, if one of the added files is
 * that copy.
 * @returns the copy
 */
async function noticeTruncation(
  state: TailState,
  file: LogFile,
  added: readonly RotatedFile[],
  read: TailRead,
): Promise<RotatedFile | undefined> {
  if (!(await wasTruncated(file))) return undefined;
  read.report.truncations += 1;
  const found = await openCopy(file, added);
  if (found === undefined) read.report.lost += 1;
  else {
    state.old.push(found.copy);
    await readOn(state, found.copy, read);
  }
  rewind(file);
  return found?.source;
}

async function openCopy(file: LogFile, added: readonly RotatedFile[]) {
  for (const source of added) {
    const copy = await openLogFile(source.path, "beginning");
    if (copy === undefined) continue;
    if (await isCopyOf(copy, file)) {
      continueIn(copy, file);
      return { source, copy };
    }
    await copy.handle.close();
  }
  return undefined;
}

/** Reads to the end of the file, or until the budget is used. */
async function readOn(state: TailState, file: LogFile, { budgetBytes, report, signal, sink }: TailRead): Promise<void> {
  for (let isFirst = true; ; isFirst = false) {
    signal.throwIfAborted();
    const room = budgetBytes - report.bytes;
    if (room <= 0) return;
    const { bytes, counted } = await readChunk(file, state.chunk, room, sink);
    report.bytes += counted;
    if (isFirst) file.quietReads = bytes === 0 ? file.quietReads + 1 : 0;
    if (bytes === 0) return;
  }
}

/**
 * Closes old files that their writer has left: they are quiet, and a newer file has been written to. Above the limit the one that
 * has been quiet for longest goes, but not the newest that was written to.
 */
async function closeFinished(state: TailState, read: TailRead): Promise<void> {
  const files = filesOf(state);
  const active = files.findLastIndex((file) => file.hasDelivered);
  const finished = state.old.filter((file, index) => index < active && file.quietReads >= QUIET_READS);
  for (const file of finished) await close(state, file, read);
  while (state.old.length > MAX_OLD_FILES) {
    const candidates = state.old.filter((file) => file !== files[active]);
    const quietest = candidates.reduce((a, b) => (b.quietReads > a.quietReads ? b : a));
    if ((await quietest.handle.stat()).size > quietest.position) read.report.lost += 1;
    await close(state, quietest, read);
  }
}

async function close(state: TailState, file: LogFile, { sink }: TailRead): Promise<void> {
  state.old.splice(state.old.indexOf(file), 1);
  await retire(file, sink);
}

/** Looks for a rotated file that grows while everything that is followed is quiet. */
async function findOtherWriter(state: TailState, { report }: TailRead): Promise<void> {
  if (report.bytes > 0) {
    state.whileQuiet = [];
    return;
  }
  const followed = new Set(filesOf(state).map((file) => file.identity));
  const now = (await rotatedFiles(state.path)).filter((file) => !followed.has(file.identity));
  const grown = grownBetween(state.whileQuiet, now);
  state.whileQuiet = now;
  if (grown !== undefined)
    throw retryable(
      "not_reopened",
      `the proxy writes to ${grown.path} and not to ${state.path}; make it reopen its log after a rotation`,
    );
}

async function identityAt(path: string): Promise<string | undefined> {
  try {
    return identityOf(await stat(path, { bigint: true }));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** An error of the file system. */
function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error;
}
