/**
 * The pull requests of one consumer: keeps the server supplied with a bounded number of requested messages.
 *
 * nats-server 2.9 answers requests that expire together with a single status, so statuses cannot be relied on: everything
 * requested counts as expired some time after the newest request.
 */
import { nanos } from "@nats-io/nats-core";
import type { Clock } from "../runtime/clock.ts";

/** Requested at once: enough to keep a fast reader busy, and the bound of the buffer while paused. */
const PREFETCH_MESSAGES = 1024;
const REFILL_AT = PREFETCH_MESSAGES / 2;
const PULL_EXPIRES_MS = 30_000;
/** How long after the expiry of the newest request its messages may still arrive. */
const LAPSE_MS = 500;
/** The server's interval of heartbeats while it has nothing to deliver. */
export const HEARTBEAT_MS = 5_000;

export interface PullRequests {
  /** Messages requested and not yet delivered. */
  readonly outstanding: number;
  /** A new consumer: nothing is requested from it yet. */
  reset(): void;
  delivered(): void;
  /** `count` requested messages will not be delivered. */
  expired(count: number): void;
  /** Requests more, if fewer than half are outstanding and the reader accepts messages. */
  refill(): void;
  stop(): void;
}

/**
 * @param send publishes the body of a request
 * @param mayPull whether the reader accepts messages now
 */
export function createPullRequests(clock: Clock, send: (body: string) => void, mayPull: () => boolean): PullRequests {
  let outstanding = 0;
  let cancelLapse = (): void => {};

  const pull = (): void => {
    const batch = PREFETCH_MESSAGES - Math.max(outstanding, 0);
    outstanding = PREFETCH_MESSAGES;
    cancelLapse();
    cancelLapse = clock.setTimer(PULL_EXPIRES_MS + LAPSE_MS, lapse, { background: true });
    send(`{"batch":${batch},"expires":${nanos(PULL_EXPIRES_MS)},"idle_heartbeat":${nanos(HEARTBEAT_MS)}}`);
  };
  const refill = (): void => {
    if (outstanding <= REFILL_AT && mayPull()) pull();
  };
  const lapse = (): void => {
    outstanding = 0;
    refill();
  };

  return {
    get outstanding() {
      return outstanding;
    },
    reset() {
      outstanding = 0;
    },
    delivered() {
      outstanding -= 1;
    },
    expired(count) {
      outstanding -= count;
    },
    refill,
    stop: () => cancelLapse(),
  };
}
