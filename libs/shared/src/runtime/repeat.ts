/** Work that is repeated for as long as a process runs. */
import type { Clock } from "./clock.ts";

export interface Repetition {
  readonly clock: Clock;
  readonly everyMs: number;
  /** Ends the repetition. */
  readonly signal: AbortSignal;
  /** Called for a failure, once per message until the work succeeds again. */
  readonly onFailure: (error: unknown) => void;
}

/** Runs `work` now and at every interval until the signal aborts; never rejects. */
export async function repeat({ clock, everyMs, signal, onFailure }: Repetition, work: () => Promise<void>): Promise<void> {
  let lastMessage: string | undefined;
  while (!signal.aborted) {
    try {
      await work();
      lastMessage = undefined;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (message !== lastMessage && !signal.aborted) onFailure(error);
      lastMessage = message;
    }
    await clock.sleep(everyMs, signal).catch(() => undefined);
  }
}
