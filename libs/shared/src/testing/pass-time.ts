/** Lets the time of a manual clock pass, and everything run that becomes ready meanwhile. */
import type { ManualClock } from "./manual-clock.ts";

/** Everything that is ready runs before this resolves. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Advances the clock by `ms`, in steps, after each of which everything that is ready runs. */
export async function passTime(clock: Pick<ManualClock, "advance">, ms: number, stepMs = 100): Promise<void> {
  for (let passedMs = 0; passedMs < ms; passedMs += stepMs) {
    clock.advance(stepMs);
    await nextTurn();
  }
}
