/**
 * Fires deadlines while no message arrives: passes the broker's time to the reducer once it has applied everything the log
 * contained then.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Input } from "../core/inputs.ts";
import type { State } from "../core/state.ts";

/** How often to check for a due deadline. */
const LOOK_EVERY_MS = 1_000;
/** How long a reading of the broker's clock is trusted, measured monotonically. */
const ASK_EVERY_MS = 10_000;
/**
 * Timers are coarser than a request to the broker: when the clock shows the deadline's own millisecond, it is read again
 * immediately, at most this often.
 */
const ASK_AGAIN = 4;
/**
 * When to check again while the reducer lags behind the log or the broker is unreachable; doubles each time, up to the second
 * value.
 */
const BEHIND_POLL_MS = 20;
const BEHIND_POLL_MAX_MS = 500;

export interface DeadlineWatch {
  /** Call after every input: the next deadline may be earlier now. */
  recheck(): void;
  /** No input is applied after this returns. */
  stop(): void;
}

/**
 * Fires deadlines that no message fires: waits until the broker's clock has passed the next one, reads the end of the log, and
 * passes the time to the reducer once everything up to there is applied.
 */
export function watchDeadlines(
  bus: Bus,
  clock: Clock,
  state: State,
  fold: (input: Input) => void,
  log: Logger,
  signal: AbortSignal,
): DeadlineWatch {
  /**
   * The broker's clock minus ours, measured from the request, not from the response: after a slow response we check too early,
   * never too late.
   */
  let offsetMs = 0;
  let askedAtMs = Number.NEGATIVE_INFINITY;
  /**
   * The broker's clock showed `at`, and the log ended at `sequence` after that: the time is applied once the log is read that
   * far.
   */
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
      log.debug({ err: error }, "could not read the broker's clock");
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
  /** Returns false while the reducer lags behind the log, so that the deadline cannot fire yet. */
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
    fold({ kind: "clock", atMs: at });
  };
  arm();
  const stop = (): void => {
    stopped = true;
    cancel();
  };
  return { recheck, stop };
}
