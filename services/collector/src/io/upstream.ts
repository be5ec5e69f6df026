/**
 * Calls to a dependency with retries and backoff: up to three attempts with full jitter, then a pause that doubles per failure up to a ceiling.
 * No calls during the pause. One object per independent dependency.
 */
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { afterFailure, mayCall, noBackoff, type Retryable, retryable, withRetries } from "@aviary/shared/runtime/faults.ts";

export interface UpstreamOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: () => number;
  /** Base backoff: the first pause is 50–100% of this. */
  readonly pauseMs: number;
  readonly ceilingMs: number;
}

export interface Upstream {
  /**
   * Calls `fn` up to three times while it fails with retryable faults.
   * @throws the last fault; a fault of code `backing_off`, without a call, during the pause; or the signal's reason
   */
  call<T>(signal: AbortSignal, fn: (attempt: number) => Promise<T>): Promise<T>;
}

export const BACKING_OFF = "backing_off";
const ATTEMPTS = 3;
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 400;

export function createUpstream(options: UpstreamOptions): Upstream {
  const { name, clock, random } = options;
  const limits = { baseMs: options.pauseMs, ceilingMs: options.ceilingMs };
  let backoff = noBackoff;
  return {
    async call(signal, fn) {
      const nowMs = clock.monotonicMs();
      if (!mayCall(backoff, nowMs)) throw backingOff(name, backoff.notBeforeMs - nowMs);
      try {
        const result = await withRetries(
          {
            attempts: ATTEMPTS,
            baseMs: RETRY_BASE_MS,
            capMs: RETRY_CAP_MS,
            random,
            sleep: (ms, until) => clock.sleep(ms, until),
            signal,
          },
          fn,
        );
        backoff = noBackoff;
        return result;
      } catch (error) {
        // Every failure backs off, because an immediate call is unlikely to help.
        backoff = afterFailure(backoff, clock.monotonicMs(), limits, random);
        throw error;
      }
    },
  };
}

function backingOff(name: string, remainingMs: number): Retryable {
  return retryable(BACKING_OFF, `${name} is backing off for ${Math.ceil(remainingMs)} ms`);
}
