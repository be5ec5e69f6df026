/**
 * Time as a dependency. Only this file reads the machine's clock or sets its timers; all other code accepts a `Clock`, so that
 * tests and the simulation can control time.
 */

export interface TimerOptions {
  /** A background timer does not keep the process alive. */
  readonly background?: boolean;
}

export interface Clock {
  /** Milliseconds since the epoch; jumps when the machine's clock is set. */
  now(): number;
  /** Milliseconds since an arbitrary instant; never decreases. For measuring and waiting. */
  monotonicMs(): number;
  /**
   * Calls `fn` once after `ms` milliseconds (negative counts as 0, Infinity as never). Returns a function that cancels the timer;
   * it is idempotent.
   */
  setTimer(ms: number, fn: () => void, options?: TimerOptions): () => void;
  /**
   * Resolves after `ms` milliseconds. Rejects with the signal's reason as soon as the signal aborts, and removes its timer and
   * listener.
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The longest delay `setTimeout` supports; it replaces longer ones by 1 ms. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

function setTimer(ms: number, fn: () => void, options: TimerOptions = {}): () => void {
  if (Number.isNaN(ms)) throw new RangeError("timer duration must be a number of milliseconds, got NaN");
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
 * Implements `sleep` with `setTimer`, for every implementation of `Clock`.
 * @throws the signal's reason if it aborts
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

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer,
  sleep: (ms, signal) => sleepWith(setTimer, ms, signal),
};
