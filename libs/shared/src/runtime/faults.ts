/**
 * Faults of the outside world, of two kinds. A retryable fault may pass without intervention; a terminal one requires a change.
 * Every fault has a short reason code for logs, metrics and tests, a message for people, and the error that caused it.
 *
 * Also here: the project's only retry loop, and the back-off that a caller keeps per upstream.
 */

/** The same call may succeed later. */
export class Retryable extends Error {
  override readonly name = "Retryable";
  readonly code: string;
  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The same call fails again until something is changed. */
export class Terminal extends Error {
  override readonly name: string = "Terminal";
  readonly code: string;
  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export type Fault = Retryable | Terminal;

/** Creates a retryable fault, to throw or to return. `code` is lower_snake_case. */
export function retryable(code: string, message: string, cause?: unknown): Retryable {
  return new Retryable(code, message, cause);
}

/** Creates a terminal fault, to throw or to return. `code` is lower_snake_case. */
export function terminal(code: string, message: string, cause?: unknown): Terminal {
  return new Terminal(code, message, cause);
}

/** Whether an error is a retryable fault; unclassified errors are not retried. */
export function isRetryable(error: unknown): error is Retryable {
  return error instanceof Retryable;
}

/** The reason code of a fault; `unclassified` for any other error. */
export function faultCode(error: unknown): string {
  return error instanceof Retryable || error instanceof Terminal ? error.code : "unclassified";
}

export interface RetryOptions {
  /** The maximum number of calls including the first; at least 1, 3 by default. */
  readonly attempts?: number;
  /** Upper bound of the first wait; doubles for each further wait. */
  readonly baseMs: number;
  /** Upper bound of any wait. */
  readonly capMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Waits; rejects when the signal aborts (the `sleep` of a Clock). */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly signal?: AbortSignal;
}

/**
 * Calls `fn` until it succeeds, fails with a non-retryable error, or has been called `attempts` times; the last error is rethrown
 * unchanged.
 * Between calls it waits `random() × min(capMs, baseMs × 2^n)`: "full jitter", which spreads callers that failed together over
 * the interval (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). An aborted signal ends the loop with
 * the signal's reason.
 */
export async function withRetries<T>(options: RetryOptions, fn: (attempt: number) => Promise<T>): Promise<T> {
  const attempts = options.attempts ?? 3;
  if (!Number.isInteger(attempts) || attempts < 1)
    throw new RangeError(`attempts must be an integer of at least 1, not ${attempts}`);
  for (let attempt = 1; ; attempt += 1) {
    options.signal?.throwIfAborted();
    try {
      return await fn(attempt);
    } catch (error) {
      if (!isRetryable(error) || attempt >= attempts) throw error;
    }
    const ceilingMs = Math.min(options.capMs, options.baseMs * 2 ** (attempt - 1));
    await options.sleep(options.random() * ceilingMs, options.signal);
  }
}

/**
 * The back-off of one upstream.
 *
 *     open ──failed──▶ waiting until notBeforeMs ──time passes──▶ open (the next call is the trial)
 *       ▲                                                          │
 *       └── succeeded: failures = 0 ◀──────────────────────────────┤
 *           waiting again, twice as long up to the ceiling ◀─failed┘
 *
 * Times are on the caller's clock; use a monotonic one.
 */
export interface Backoff {
  readonly failures: number;
  /** No call before this instant. */
  readonly notBeforeMs: number;
}

export interface BackoffLimits {
  /** The wait after the first failure. */
  readonly baseMs: number;
  /** The longest wait, regardless of the number of failures. */
  readonly ceilingMs: number;
}

/** An upstream without failures. */
export const noBackoff: Backoff = { failures: 0, notBeforeMs: Number.NEGATIVE_INFINITY };

/** Whether the upstream may be called at `nowMs`. */
export function mayCall(state: Backoff, nowMs: number): boolean {
  return nowMs >= state.notBeforeMs;
}

/**
 * The wait after a failure that `failures` others preceded. It is in [d/2, d) with d = min(ceilingMs, baseMs × 2^failures):
 * half is fixed, so that a short random wait cannot cause a hot loop, and half is random, so that callers do not return
 * simultaneously.
 */
export function backoffMs(failures: number, { baseMs, ceilingMs }: BackoffLimits, random: () => number): number {
  const waitMs = Math.min(ceilingMs, baseMs * 2 ** Math.min(failures, 52));
  return waitMs / 2 + (random() * waitMs) / 2;
}

/** The state after one more failure at `nowMs`. */
export function afterFailure(state: Backoff, nowMs: number, limits: BackoffLimits, random: () => number): Backoff {
  return { failures: state.failures + 1, notBeforeMs: nowMs + backoffMs(state.failures, limits, random) };
}
