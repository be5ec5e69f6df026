/** Waiting with an end. */
import type { Clock } from "./clock.ts";

/** Resolves when the signal aborts; at once when it already has. Never rejects. */
export function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

/** The promise's value, or `undefined` after `ms` milliseconds; the promise itself goes on. Rejects when the promise does so in time. */
export async function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T | undefined> {
  const timeout = Promise.withResolvers<undefined>();
  const cancel = clock.setTimer(ms, () => timeout.resolve(undefined), { background: true });
  try {
    return await Promise.race([promise, timeout.promise]);
  } finally {
    cancel();
  }
}
