/**
 * Follows a log that another process writes and rotates, in bounded memory.
 *
 *     current ──path has another inode──▶ old: still read, while the new file is read from its start
 *     current ──file shrank, or the last read bytes changed──▶ truncated: read from the start
 *     old ──quiet for two reads, and a newer file has been written to──▶ closed
 *     old ──too many, quiet for longest──▶ closed
 *
 * A proxy that does not reopen its log keeps writing to the renamed file, which continues to be read. If the file was renamed
 * before the collector started, reading fails with `not_reopened`.
 *
 * A file that was rotated in and out between two reads is found by its name unless it has been compressed, and so is the copy of a
 * truncated file (`copytruncate`). Lines that may have been destroyed unread are reported in `lost`: the end of a truncated file
 * without a copy, and the unread rest of a file that was closed.
 */
import { stat } from "node:fs/promises";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import {
  closeFinished,
  filesOf,
  newlyRotated,
  QUIET_READS,
  readOn,
  rotate,
  startAgain,
  type TailRead,
  type TailReport,
  type TailState,
} from "./followed-files.ts";
import { CHUNK_BYTES, fileIdentity, isMissing, type LogFile, openLogFile, wasTruncated } from "./log-file.ts";
import { grownBetween, rotatedFiles } from "./rotated-files.ts";

export interface TailOptions {
  readonly path: string;
  /** Longer lines are skipped and counted. */
  readonly maxLineBytes?: number;
}

export interface LogTail extends AsyncDisposable {
  /**
   * Passes every complete line to `onLine`, reading about `budgetBytes` at most.
   * @throws Retryable `no_such_file`, `not_a_file`, `not_reopened`, or `unreadable` with the system error
   */
  read(budgetBytes: number, onLine: (line: string) => void, signal: AbortSignal): Promise<TailReport>;
}

/** The size of a line, for an estimate before any was read, bytes. */
const TYPICAL_LINE_BYTES = 256;

const NOTHING = { rotations: 0, truncations: 0, oversizedLines: 0, lost: 0 } as const;

/** Starts at the end of an existing file, because earlier lines predate the collector. */
export async function openTail(options: TailOptions): Promise<LogTail> {
  const { path, maxLineBytes = 262_144 } = options;
  const state: TailState = {
    path,
    chunk: Buffer.allocUnsafe(CHUNK_BYTES),
    old: [],
    current: await openLogFile(path, "end"),
    known: await rotatedFiles(path),
    whileQuiet: [],
    unreported: NOTHING,
  };
  return {
    async read(budgetBytes, onLine, signal) {
      const { oversizedLines } = state.unreported;
      const sink = { onLine, maxLineBytes, lines: 0, lineBytes: 0, oversizedLines };
      const report = { ...state.unreported, bytes: 0, unreadBytes: 0, unreadLines: 0, isNotReopened: false };
      try {
        await readAll(state, { budgetBytes, signal, sink, report });
        state.unreported = NOTHING;
      } catch (error) {
        const { rotations, truncations, lost } = report;
        state.unreported = { rotations, truncations, lost, oversizedLines: sink.oversizedLines };
        if (signal.aborted || !isFileError(error)) throw error;
        throw retryable("unreadable", `cannot read ${path}: ${error.message}`, error);
      }
      const lineBytes = sink.lines === 0 ? TYPICAL_LINE_BYTES : sink.lineBytes / sink.lines;
      return { ...report, oversizedLines: sink.oversizedLines, unreadLines: Math.ceil(report.unreadBytes / lineBytes) };
    },
    async [Symbol.asyncDispose]() {
      const open = filesOf(state);
      state.old = [];
      state.current = undefined;
      for (const file of open) await file.handle.close();
    },
  };
}

async function readAll(state: TailState, read: TailRead): Promise<void> {
  const identity = await identityAt(state.path);
  if (state.current !== undefined && identity !== state.current.identity) await rotate(state, state.current, identity, read);
  takeBack(state, identity);
  await readOldFiles(state, read);
  if (identity === undefined) {
    // The proxy may continue with the renamed file, or create the new one shortly.
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

/** A file that has its old name again is not read twice. */
function takeBack(state: TailState, identity: string | undefined): void {
  const index = state.old.findIndex((file) => file.identity === identity);
  if (index !== -1 && state.current === undefined) [state.current] = state.old.splice(index, 1);
}

async function readOldFiles(state: TailState, read: TailRead): Promise<void> {
  for (const file of [...state.old]) {
    try {
      await readOn(state, file, read);
    } catch (error) {
      if (!isFileError(error)) throw error;
      // It is reported once, by this reading, and dropped, because a permanently unreadable old file must not hide the current one.
      read.report.lost += 1;
      state.old.splice(state.old.indexOf(file), 1);
      await file.handle.close().catch(() => undefined);
      throw error;
    }
  }
  const isNewEmpty = state.current !== undefined && !state.current.hasDelivered;
  read.report.isNotReopened = isNewEmpty && state.old.some((file) => file.quietReads === 0);
}

async function readCurrent(state: TailState, file: LogFile, read: TailRead): Promise<void> {
  if (await wasTruncated(file)) await startAgain(state, file, await newlyRotated(state), read);
  await readOn(state, file, read);
}

/** Looks for a rotated file that grows while all followed files are quiet. */
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
    return fileIdentity(await stat(path, { bigint: true }));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** An error of the file system. */
function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error;
}
