/**
 * Fires deadlines while no message arrives: waits until the broker's clock has passed the next one, reads the end of the log, and
 * passes the time to the reducer once everything up to there is applied.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Input } from "../core/inputs.ts";
import type { State } from "../core/state.ts";
import { type BrokerClock, createBrokerClock } from "./broker-clock.ts";

/** How often to check for a due deadline, at least. */
const CHECK_PERIOD_MS = 1_000;
/**
 * Timers are coarser than a request to the broker: when the clock shows the deadline's own millisecond, it is read again
 * immediately, at most this often.
 */
const MAX_REREADS = 4;
/** When to check again while the reducer lags behind the log or the broker is unreachable; doubles up to the maximum. */
const RETRY_MS = 20;
const MAX_RETRY_MS = 500;

export interface DeadlineWatchOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly state: State;
  readonly apply: (input: Input) => void;
  /** Called if the log is not the one that the state belongs to. */
  readonly onLogReplaced: () => void;
  readonly signal: AbortSignal;
}

export interface DeadlineWatch {
  /** Call after every input: the next deadline may be earlier now. */
  recheck(): void;
  /** No input is applied after this returns. */
  stop(): void;
}

interface Watch extends DeadlineWatchOptions {
  readonly brokerClock: BrokerClock;
  /**
   * The broker's clock showed `atMs`, and the log ended at `sequence` after that: the time is applied once the log is read that
   * far.
   */
  lagging: { readonly atMs: number; readonly sequence: number } | undefined;
  /** The deadline that the timer is set for. */
  armedForMs: number;
  cancelTimer: () => void;
  retryMs: number;
  isChecking: boolean;
  isStopped: boolean;
}

export function watchDeadlines(options: DeadlineWatchOptions): DeadlineWatch {
  const watch: Watch = {
    ...options,
    brokerClock: createBrokerClock(options.bus, options.clock),
    lagging: undefined,
    armedForMs: Number.POSITIVE_INFINITY,
    cancelTimer: () => {},
    retryMs: RETRY_MS,
    isChecking: false,
    isStopped: false,
  };
  arm(watch);
  return {
    recheck: () => recheck(watch),
    stop: () => {
      watch.isStopped = true;
      watch.cancelTimer();
    },
  };
}

const isOver = ({ isStopped, signal }: Watch): boolean => isStopped || signal.aborted;

function recheck(watch: Watch): void {
  const { state, lagging } = watch;
  if (isOver(watch)) return;
  if (lagging !== undefined && state.sequence >= lagging.sequence) {
    applyTime(watch, lagging.atMs);
    arm(watch);
  } else if (!watch.isChecking && state.nextDeadlineMs < watch.armedForMs) arm(watch);
}

/** Sets the timer for the next deadline. */
function arm(watch: Watch): void {
  watch.cancelTimer();
  if (isOver(watch)) return;
  watch.retryMs = RETRY_MS;
  watch.armedForMs = watch.state.nextDeadlineMs;
  const delayMs = Math.max(1, Math.ceil(watch.brokerClock.untilMs(watch.armedForMs)));
  setTimer(watch, Math.min(CHECK_PERIOD_MS, delayMs));
}

function setTimer(watch: Watch, delayMs: number): void {
  watch.cancelTimer = watch.clock.setTimer(delayMs, () => void check(watch));
}

/** Checks whether the next deadline is due; retries soon if that cannot be decided. */
async function check(watch: Watch): Promise<void> {
  if (watch.isChecking) return;
  if (watch.brokerClock.untilMs(watch.state.nextDeadlineMs) > 0) return arm(watch);
  watch.isChecking = true;
  let isDecided = false;
  try {
    isDecided = watch.bus.status === "connected" && (await fireIfDue(watch));
  } catch (error) {
    watch.log.debug({ event: "broker_clock.unavailable", err: error }, "could not read the broker's clock");
  } finally {
    watch.isChecking = false;
  }
  if (isDecided) return arm(watch);
  watch.cancelTimer();
  if (isOver(watch)) return;
  setTimer(watch, watch.retryMs);
  watch.retryMs = Math.min(MAX_RETRY_MS, watch.retryMs * 2);
}

/** Returns false while the reducer lags behind the log, so that the deadline cannot fire yet. */
async function fireIfDue(watch: Watch): Promise<boolean> {
  const { bus, brokerClock, state } = watch;
  watch.lagging = undefined;
  let brokerMs = await brokerClock.read();
  for (let reread = 0; reread < MAX_REREADS && brokerMs === state.nextDeadlineMs; reread += 1)
    brokerMs = await brokerClock.read();
  if (brokerMs <= state.nextDeadlineMs) return true;
  const { createdAtMs, lastSequence, messages } = await bus.streamState("INPUTS");
  if (isOver(watch)) return true;
  if (state.logCreatedAtMs !== null && createdAtMs !== state.logCreatedAtMs) {
    watch.isStopped = true;
    watch.onLogReplaced();
    return true;
  }
  if (messages > 0 && state.sequence < lastSequence) {
    watch.lagging = { atMs: brokerMs, sequence: lastSequence };
    return false;
  }
  applyTime(watch, brokerMs);
  return true;
}

function applyTime(watch: Watch, atMs: number): void {
  watch.lagging = undefined;
  watch.apply({ kind: "clock", atMs });
}
