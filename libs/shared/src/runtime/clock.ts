/**
 * Time as a thing that is handed in. This is the only file that reads the machine's clock or sets its timers; everything else takes a `Clock`,
 * so that tests and the simulation can drive time by hand.
 */

export interface TimerOptions {
  /** A background timer does not keep the process alive. */
  readonly background?: boolean;
}

export interface Clock {
  /** Milliseconds since the epoch; may jump when the machine's clock is set. */
  now(): number;
  /** Milliseconds since some fixed moment; never goes back. For measuring and for waiting. */
  monotonicMs(): number;
  /** Calls `fn` once after `ms` milliseconds (negative counts as 0, Infinity as never). The answer cancels it; cancelling twice is harmless. */
  setTimer(ms: number, fn: () => void, options?: TimerOptions): () => void;
  /** Resolves after `ms` milliseconds. Rejects with the signal's reason as soon as the signal aborts, and leaves no timer and no listener behind. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The longest delay that `setTimeout` can take; it turns anything longer into 1 ms. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

function setTimer(ms: number, fn: () => void, options: TimerOptions = {}): () => void {
  if (Number.isNaN(ms)) throw new RangeError("a timer needs a number of milliseconds, not NaN");
  let timer: NodeJS.Timeout | undefined;
  const arm = (leftMs: number): void => {
    const stepMs = Math.min(Math.max(leftMs, 0), MAX_TIMEOUT_MS);
    timer = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : fn()), stepMs);
    if (options.background === true) timer.unref();
  };
  arm(ms);
  return () => clearTimeout(timer);
}

/**
 * `sleep` in terms of `setTimer`, for every implementation of `Clock`.
 * @throws the signal's reason, when it aborts.
 */
export function sleepWith(timer: Clock["setTimer"], ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = timer(ms, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer,
  sleep: (ms, signal) => sleepWith(setTimer, ms, signal),
};
