/** A bus that may not be there yet: a collector measures and spools from its first second, whether or not the broker has started. */
import type { Bus, BusStatus } from "@aviary/shared/bus/bus.ts";
import type { Clock } from "@aviary/shared/shell/clock.ts";
import { afterFailure, faultCode, noBackoff, retryable } from "@aviary/shared/shell/faults.ts";
import type { Logger } from "@aviary/shared/shell/logger.ts";
import type { Outlet } from "./spool/outbox.ts";

export interface LateBusOptions {
  /** One attempt to connect. */
  readonly connect: () => Promise<Bus>;
  readonly clock: Clock;
  /** Uniform in [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: Logger;
}

export interface LateBus extends Outlet, AsyncDisposable {
  /** Resolves when the bus is there, or when this one is disposed before. Rejects when it will never be: wrong credentials do not mend themselves. */
  readonly arrived: Promise<void>;
}

const RETRY = { baseMs: 500, ceilingMs: 5_000 };

/** Connects in the background, for as long as it takes; until then the status is `reconnecting`, and nothing is taken. */
export function lateBus(options: LateBusOptions): LateBus {
  const { clock, random, log } = options;
  let said: string | undefined;
  const listeners = new Set<(status: BusStatus) => void>();
  const leaving = new AbortController();
  let bus: Bus | undefined;
  const tell = (status: BusStatus): void => {
    for (const listener of [...listeners]) listener(status);
  };

  async function arrive(): Promise<void> {
    for (let backoff = noBackoff; ; ) {
      try {
        const found = await options.connect();
        if (leaving.signal.aborted) return found[Symbol.asyncDispose]();
        bus = found;
        found.onStatus(tell);
        tell(found.status);
        return;
      } catch (error) {
        if (leaving.signal.aborted) return;
        const code = faultCode(error);
        if (code === "broker_denied") throw error;
        // Anything else may pass: a Mac that boots has no names and no routes for a while.
        if (code !== said) log.warn({ err: error, code }, "the broker cannot be reached yet; signals are kept meanwhile");
        said = code;
        backoff = afterFailure(backoff, clock.monotonicMs(), RETRY, random);
      }
      try {
        await clock.sleep(backoff.notBeforeMs - clock.monotonicMs(), leaving.signal);
      } catch {
        return;
      }
    }
  }

  const arrived = arrive();
  // Whoever wants to know asks; nobody has to.
  arrived.catch(() => {});
  return {
    arrived,
    get status() {
      return leaving.signal.aborted ? "closed" : (bus?.status ?? "reconnecting");
    },
    onStatus(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    publish: (message) =>
      bus?.publish(message) ?? Promise.reject(retryable("broker_unavailable", "not connected to the broker yet")),
    async [Symbol.asyncDispose]() {
      leaving.abort(new Error("the bus is no longer wanted"));
      await bus?.[Symbol.asyncDispose]();
    },
  };
}
