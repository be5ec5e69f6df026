/** Cancellation and timeouts. */
import type { Clock } from "./clock.ts";

/** Resolves when the signal aborts, immediately if it already has. Never rejects. */
export function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

/**
 * The value of the promise, or `undefined` after `ms` milliseconds; the promise is not canceled. Rejects if the promise rejects
 * within that time.
 */
export async function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T | undefined> {
  const timeout = Promise.withResolvers<undefined>();
  const cancel = clock.setTimer(ms, () => timeout.resolve(undefined), { background: true });
  try {
    return await Promise.race([promise, timeout.promise]);
  } finally {
    cancel();
  }
}
