/**
 * Deadlines while no message comes: the fold is told the time by the broker's clock, and only once it has everything that the log held then.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Input } from "../core/inputs.ts";
import type { State } from "../core/state.ts";

/** How often it is looked whether a deadline is due. */
const LOOK_EVERY_MS = 1_000;
/** What the broker's clock said is counted on for this long, by a clock that nobody sets; then the broker is asked again. */
const ASK_EVERY_MS = 10_000;
/** Timers are coarser than a question to the broker takes: when the clock shows the deadline's own millisecond, it is asked again at once, so often at most. */
const ASK_AGAIN = 4;
/** How soon to look again while the fold is behind the log or the broker is away; twice as long each time, up to the second value. */
const BEHIND_POLL_MS = 20;
const BEHIND_POLL_MAX_MS = 500;

export interface DeadlineWatch {
  /** Call it after every input: the next deadline may be earlier now. */
  recheck(): void;
  /** Nothing is folded any more when this returns. */
  stop(): void;
}

/**
 * Fires deadlines when no message does: waits until the broker's clock has passed the next one, reads how far the log goes, and once
 * everything up to there is folded tells the fold what time it is.
 */
export function watchDeadlines(
  bus: Bus,
  clock: Clock,
  state: State,
  fold: (input: Input) => void,
  log: Logger,
  signal: AbortSignal,
): DeadlineWatch {
  /** The broker's clock less ours. Taken from when we asked, not from when we were answered: after a slow answer we look too early, and never too late. */
  let offsetMs = 0;
  let askedAtMs = Number.NEGATIVE_INFINITY;
  /** The broker's clock said `at`, and the log went up to `sequence` after that: the fold is told as soon as it has read so far. */
  let behind: { readonly at: number; readonly sequence: number } | undefined;
  let armedForMs = Number.POSITIVE_INFINITY;
  let busy = false;
  let stopped = false;
  let behindPollMs = BEHIND_POLL_MS;
  let cancel = (): void => {};
  const isOver = (): boolean => stopped || signal.aborted;
  const untilDueMs = (): number =>
    clock.monotonicMs() - askedAtMs < ASK_EVERY_MS ? state.nextDeadlineMs - (clock.monotonicMs() + offsetMs) : 0;
  const recheck = (): void => {
    if (isOver()) return;
    if (behind !== undefined && state.sequence >= behind.sequence) {
      tellFold(behind.at);
      arm();
    } else if (!busy && state.nextDeadlineMs < armedForMs) arm();
  };
  const arm = (): void => {
    cancel();
    if (isOver()) return;
    behindPollMs = BEHIND_POLL_MS;
    armedForMs = state.nextDeadlineMs;
    cancel = clock.setTimer(Math.min(LOOK_EVERY_MS, Math.max(1, Math.ceil(untilDueMs()))), () => void look());
  };
  const look = async (): Promise<void> => {
    if (busy) return;
    if (untilDueMs() > 0) return arm();
    busy = true;
    let told = false;
    try {
      told = bus.status === "connected" && (await tell());
    } catch (error) {
      log.debug({ err: error }, "the broker's clock could not be read");
    } finally {
      busy = false;
    }
    if (told) return arm();
    cancel();
    if (isOver()) return;
    cancel = clock.setTimer(behindPollMs, () => void look());
    behindPollMs = Math.min(BEHIND_POLL_MAX_MS, behindPollMs * 2);
  };
  const ask = async (): Promise<number> => {
    const askedMs = clock.monotonicMs();
    const brokerMs = await bus.brokerTime();
    askedAtMs = askedMs;
    offsetMs = brokerMs - askedMs;
    return brokerMs;
  };
  /** Returns false when the fold is still behind the log, so that the deadline cannot fire yet. */
  const tell = async (): Promise<boolean> => {
    behind = undefined;
    let brokerMs = await ask();
    for (let again = 0; again < ASK_AGAIN && brokerMs === state.nextDeadlineMs; again += 1) brokerMs = await ask();
    if (brokerMs <= state.nextDeadlineMs) return true;
    const { lastSequence, messages } = await bus.streamState("INPUTS");
    if (isOver()) return true;
    if (messages > 0 && state.sequence < lastSequence) {
      behind = { at: brokerMs, sequence: lastSequence };
      return false;
    }
    tellFold(brokerMs);
    return true;
  };
  const tellFold = (at: number): void => {
    behind = undefined;
    fold({ kind: "clock", at });
  };
  arm();
  const stop = (): void => {
    stopped = true;
    cancel();
  };
  return { recheck, stop };
}
