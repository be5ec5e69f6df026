/** The broker's clock, read over the network and extrapolated with this process's monotonic clock. */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";

/** How long a reading is trusted, measured monotonically. */
const TRUST_MS = 10_000;

export interface BrokerClock {
  /** Reads the broker's clock. */
  read(): Promise<number>;
  /** Milliseconds until an instant of the broker's clock; 0 if the last reading is too old to extrapolate. */
  untilMs(atMs: number): number;
}

export function createBrokerClock(bus: Bus, clock: Clock): BrokerClock {
  // Measured from the request, not from the response, so that after a slow response an instant seems too early, never too late.
  let offsetMs = 0;
  let readAtMs = Number.NEGATIVE_INFINITY;
  return {
    read: async () => {
      const requestedAtMs = clock.monotonicMs();
      const brokerMs = await bus.brokerTime();
      readAtMs = requestedAtMs;
      offsetMs = brokerMs - requestedAtMs;
      return brokerMs;
    },
    untilMs: (atMs) => {
      const nowMs = clock.monotonicMs();
      return nowMs - readAtMs < TRUST_MS ? atMs - (nowMs + offsetMs) : 0;
    },
  };
}
