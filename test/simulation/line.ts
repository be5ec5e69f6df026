/** Delivery of stored messages from the broker to one follower. */
import type { Kernel, Life } from "./kernel.ts";
import type { Link } from "./link.ts";

export interface DeliveryLine {
  push(fn: () => void): void;
  pause(): void;
  resume(): void;
  end(): void;
  /** Resolves when everything in flight when `promise` resolved has been delivered. */
  behind(promise: Promise<void>): Promise<void>;
}

/** How often to check whether a cut link is restored. */
const LOOK_MS = 200;

/** Messages in flight to one follower: in order, in batches, delayed, and not while the link is cut. */
export function createDeliveryLine(kernel: Kernel, life: Life, link: Link, delayMs: () => number): DeliveryLine {
  let waiting: (() => void)[] = [];
  let traveling = false;
  let paused = false;
  let ended = false;
  const deliver = (): void => {
    traveling = false;
    if (link.cut !== "none") {
      setOff();
      return;
    }
    const batch = waiting;
    waiting = [];
    for (let index = 0; index < batch.length && !ended; index++) {
      if (paused) {
        waiting = [...batch.slice(index), ...waiting];
        return;
      }
      batch[index]!();
    }
  };
  const setOff = (): void => {
    if (traveling || paused || waiting.length === 0) return;
    traveling = true;
    // While the link is cut, nothing is delivered; check again later.
    kernel.after(link.cut === "none" ? delayMs() : LOOK_MS, life, deliver);
  };
  return {
    push(fn: () => void) {
      if (ended) return;
      waiting.push(fn);
      setOff();
    },
    end() {
      ended = true;
      waiting = [];
    },
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      setOff();
    },
    /** Resolves when everything in flight when `promise` resolved has been delivered. */
    behind(promise: Promise<void>): Promise<void> {
      return promise.then(() => new Promise((resolve) => this.push(resolve)));
    },
  };
}
