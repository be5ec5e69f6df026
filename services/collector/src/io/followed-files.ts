/**
 * The files that a tail follows, and their transitions when the log is rotated or truncated. This is the state of
 * `tail.ts`.
 */
import {
  continueIn,
  isCopyOf,
  type LineSink,
  type LogFile,
  openLogFile,
  readChunk,
  retire,
  rewind,
  wasTruncated,
} from "./log-file.ts";
import { addedBetween, type RotatedFile, rotatedFiles } from "./rotated-files.ts";

/** A rotated file that has been quiet for this many reads may be closed. */
export const QUIET_READS = 2;
const MAX_OLD_FILES = 4;
/** Statistics of one read. */
export interface TailReport {
  /** Bytes read, without the holes of truncated files. */
  readonly bytes: number;
  /** Bytes left unread because the budget was exhausted. */
  readonly unreadBytes: number;
  /** Estimated number of these lines. */
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

/** The findings of a read so far. */
export type OpenReport = { -readonly [Key in keyof TailReport]: TailReport[Key] };

export interface TailState {
  readonly path: string;
  /** Reused by every read. */
  readonly chunk: Buffer;
  /** Rotated files that are still read, oldest first. */
  old: LogFile[];
  current: LogFile | undefined;
  /** The rotated files at the start, or at the last rotation or truncation. */
  known: readonly RotatedFile[];
  /** The rotated files at the last read, if that read found nothing. */
  whileQuiet: readonly RotatedFile[];
  /** Counts of reads that failed, for the next report. */
  unreported: Pick<TailReport, "rotations" | "truncations" | "oversizedLines" | "lost">;
}

/** One call of `read`: its limits and its findings so far. */
export interface TailRead {
  readonly budgetBytes: number;
  readonly signal: AbortSignal;
  readonly sink: LineSink;
  readonly report: OpenReport;
}

/** Oldest first. */
export const filesOf = (state: TailState): LogFile[] => (state.current === undefined ? state.old : [...state.old, state.current]);

/** Moves the current file to the old files, and follows files that were rotated in and out since the last read. */
export async function rotate(state: TailState, file: LogFile, newIdentity: string | undefined, read: TailRead): Promise<void> {
  read.report.rotations += 1;
  const added = (await newlyRotated(state)).filter(({ identity }) => identity !== file.identity && identity !== newIdentity);
  // It may have been truncated before it was renamed.
  const copy = (await wasTruncated(file)) ? await startAgain(state, file, added, read) : undefined;
  state.old.push(file);
  state.current = undefined;
  for (const { path } of added.filter((one) => one !== copy)) {
    const missed = await openLogFile(path, "beginning");
    if (missed !== undefined) state.old.push(missed);
  }
}

/** The rotated files that are new since the start, or since the last call. */
export async function newlyRotated(state: TailState): Promise<readonly RotatedFile[]> {
  const now = await rotatedFiles(state.path);
  const added = addedBetween(state.known, now);
  state.known = now;
  return added;
}

/**
 * Rewinds a truncated file. The rest of its text is read from the copy that was made before, if one of the added files is
 * that copy.
 * @returns the copy
 */
export async function startAgain(
  state: TailState,
  file: LogFile,
  added: readonly RotatedFile[],
  read: TailRead,
): Promise<RotatedFile | undefined> {
  read.report.truncations += 1;
  const found = await openCopy(file, added);
  rewind(file);
  if (found === undefined) {
    read.report.lost += 1;
    return undefined;
  }
  state.old.push(found.copy);
  await readOn(state, found.copy, read);
  return found.source;
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
export async function readOn(state: TailState, file: LogFile, { budgetBytes, report, signal, sink }: TailRead): Promise<void> {
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
 * Closes old files whose writer has moved on: they are quiet, and a newer file has been written to. Above the limit, the file that
 * has been quiet for longest is closed, but never the newest one that was written to.
 */
export async function closeFinished(state: TailState, read: TailRead): Promise<void> {
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
