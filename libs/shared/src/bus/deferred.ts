/**
 * A bus that may not be connected yet, so that a service can start before its broker: a collector measures and spools, a shim
 * answers with holds, an evaluator waits; and each can be stopped meanwhile.
 */
import type { Clock } from "../runtime/clock.ts";
import { afterFailure, faultCode, noBackoff, retryable } from "../runtime/faults.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Bus, BusStatus } from "./bus.ts";

export interface DeferredBusOptions {
  /** Makes one attempt to connect. */
  readonly connect: () => Promise<Bus>;
  readonly clock: Clock;
  /** Uniform in [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: Logger;
}

export interface DeferredBus extends Bus {
  /**
   * Resolves when connected, or when disposed before that. Rejects on a failure that retrying cannot fix, such as rejected
   * credentials.
   */
  readonly arrived: Promise<void>;
}

const RETRY = { baseMs: 500, ceilingMs: 5_000 };

/**
 * Connects in the background, retrying without limit. Until then the status is `reconnecting`, and every call is rejected with
 * the retryable fault `broker_unavailable`.
 */
export function deferredBus(options: DeferredBusOptions): DeferredBus {
  const { clock, random, log } = options;
  let lastCode: string | undefined;
  const listeners = new Set<(status: BusStatus) => void>();
  const leaving = new AbortController();
  let bus: Bus | undefined;
  const notify = (status: BusStatus): void => {
    for (const listener of [...listeners]) listener(status);
  };

  async function arrive(): Promise<void> {
    for (let backoff = noBackoff; ; ) {
      try {
        const found = await options.connect();
        if (leaving.signal.aborted) return found[Symbol.asyncDispose]();
        bus = found;
        log.info({ event: "broker.connected", broker: found.server }, "connected to the broker");
        found.onStatus(notify);
        notify(found.status);
        return;
      } catch (error) {
        if (leaving.signal.aborted) return;
        const code = faultCode(error);
        if (code === "broker_denied") throw error;
        // Any other failure may be temporary: a booting Mac has no name resolution and no routes for a while.
        if (code !== lastCode)
          log.warn({ event: "broker.unreachable", err: error, code }, "cannot reach the broker yet; retrying");
        lastCode = code;
        backoff = afterFailure(backoff, clock.monotonicMs(), RETRY, random);
      }
      try {
        await clock.sleep(backoff.notBeforeMs - clock.monotonicMs(), leaving.signal);
      } catch {
        return;
      }
    }
  }

  const present = (): Bus => {
    if (bus === undefined) throw retryable("broker_unavailable", "not connected to the broker yet");
    return bus;
  };
  const arrived = arrive();
  // Observing `arrived` is optional.
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
    get server() {
      return bus?.server ?? "not connected yet";
    },
    publish: async (message) => present().publish(message),
    follow: async (follow) => present().follow(follow),
    last: async (stream, subject) => present().last(stream, subject),
    streamState: async (stream) => present().streamState(stream),
    brokerTime: async () => present().brokerTime(),
    bucket: async (name) => present().bucket(name),
    ensureDurable: async (durable) => present().ensureDurable(durable),
    durableState: async (stream, name) => present().durableState(stream, name),
    take: async (stream, durable, max, waitMs) => present().take(stream, durable, max, waitMs),
    async [Symbol.asyncDispose]() {
      leaving.abort(new Error("the bus is being closed"));
      await bus?.[Symbol.asyncDispose]();
    },
  };
}
