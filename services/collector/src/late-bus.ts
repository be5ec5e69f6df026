/** A bus that may not be there yet: a collector measures and spools from its first second, whether or not the broker has started. */
import type { Bus, BusStatus } from "@aviary/shared/bus/bus.ts";
import { retryable } from "@aviary/shared/shell/faults.ts";
import type { Outlet } from "./spool/outbox.ts";

export interface LateBus extends Outlet, AsyncDisposable {
  /** Resolves when the bus is there. Rejects with why it will never be. */
  readonly arrived: Promise<void>;
}

/** `connecting` resolves to the bus; until then this one is `reconnecting` and takes nothing. */
export function lateBus(connecting: Promise<Bus>): LateBus {
  const listeners = new Set<(status: BusStatus) => void>();
  let bus: Bus | undefined;
  let gone = false;
  const tell = (status: BusStatus): void => {
    for (const listener of [...listeners]) listener(status);
  };
  const arrived = connecting.then(async (found) => {
    if (gone) return found[Symbol.asyncDispose]();
    bus = found;
    found.onStatus(tell);
    tell(found.status);
  });
  arrived.catch(() => {});
  return {
    arrived,
    get status() {
      return gone ? "closed" : (bus?.status ?? "reconnecting");
    },
    onStatus(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    publish: (message) =>
      bus?.publish(message) ?? Promise.reject(retryable("broker_unavailable", "not connected to the broker yet")),
    async [Symbol.asyncDispose]() {
      gone = true;
      await bus?.[Symbol.asyncDispose]();
    },
  };
}
