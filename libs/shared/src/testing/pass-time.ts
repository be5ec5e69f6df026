/** Advances a manual clock and runs everything that becomes ready meanwhile. */
import type { ManualClock } from "./manual-clock.ts";

/** Resolves after everything that is ready has run. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Advances the clock by `ms`, in steps, after each of which everything that is ready runs. */
export async function passTime(clock: Pick<ManualClock, "advance">, ms: number, stepMs = 100): Promise<void> {
  for (let passedMs = 0; passedMs < ms; passedMs += stepMs) {
    clock.advance(stepMs);
    await nextTurn();
  }
}
