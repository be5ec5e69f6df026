/** A clock controlled by a test. Timers fire inside `advance`, in time order. */
import { type Clock, sleepWith } from "../runtime/clock.ts";

export interface ManualClock extends Clock {
  /** Advances time and fires due timers, including those set meanwhile. */
  advance(ms: number): void;
  /** Number of armed timers. */
  readonly timers: number;
}

export function manualClock(startAt = Date.UTC(2026, 10, 1)): ManualClock {
  let elapsedMs = 0;
  const timers = new Set<{ dueMs: number; fn: () => void }>();
  const setTimer: Clock["setTimer"] = (ms, fn) => {
    const timer = { dueMs: elapsedMs + Math.max(0, ms), fn };
    timers.add(timer);
    return () => void timers.delete(timer);
  };
  return {
    now: () => startAt + elapsedMs,
    monotonicMs: () => elapsedMs,
    setTimer,
    sleep: (ms, signal) => sleepWith(setTimer, ms, signal),
    advance: (ms) => {
      const untilMs = elapsedMs + ms;
      for (;;) {
        const [next] = [...timers].filter(({ dueMs }) => dueMs <= untilMs).sort((a, b) => a.dueMs - b.dueMs);
        if (next === undefined) break;
        timers.delete(next);
        elapsedMs = next.dueMs;
        next.fn();
      }
      elapsedMs = untilMs;
    },
    get timers() {
      return timers.size;
    },
  };
}
