/** Durable pull consumers of the memory bus: pending messages, unacknowledged messages and redeliveries. */
import type { Clock } from "../runtime/clock.ts";
import type { Delivery, DurableState } from "./bus.ts";
import type { MemoryMessage, MemoryStream } from "./memory-stream.ts";
import { matches } from "./subject-match.ts";

export interface MemoryDurableOptions {
  readonly filter: string;
  readonly ackWaitMs: number;
  readonly maxDeliver: number;
}

export interface MemoryDurable {
  readonly filter: string;
  configure(options: MemoryDurableOptions): void;
  state(): DurableState;
  take(max: number, waitMs: number): Promise<Delivery[]>;
}

interface Unanswered {
  /** Redelivered at this time. */
  again: number;
  deliveryCount: number;
}

/** Creates a durable at the start of the stream. Acknowledged messages of a work queue leave the stream. */
export function createMemoryDurable(
  stream: MemoryStream,
  isWorkQueue: boolean,
  clock: Clock,
  initial: MemoryDurableOptions,
): MemoryDurable {
  let options = initial;
  let next = 1;
  const unanswered = new Map<number, Unanswered>();

  function answered(sequence: number): void {
    unanswered.delete(sequence);
    if (isWorkQueue) stream.remove(sequence);
  }

  function collect(max: number): Delivery[] {
    const taken: Delivery[] = [];
    const now = clock.now();
    for (const [sequence, entry] of [...unanswered].sort(([a], [b]) => a - b)) {
      if (taken.length >= max) return taken;
      if (entry.again > now) continue;
      const message = stream.at(sequence);
      if (message === undefined || (options.maxDeliver > 0 && entry.deliveryCount >= options.maxDeliver))
        unanswered.delete(sequence);
      else taken.push(hand(message, entry.deliveryCount + 1));
    }
    const { firstSequence, lastSequence } = stream.state();
    for (next = Math.max(next, firstSequence, 1); next <= lastSequence && taken.length < max; next += 1) {
      const message = stream.at(next);
      if (message !== undefined && matches(options.filter, message.subject)) taken.push(hand(message, 1));
    }
    return taken;
  }

  function hand(message: MemoryMessage, deliveryCount: number): Delivery {
    const { sequence } = message;
    unanswered.set(sequence, { again: clock.now() + options.ackWaitMs, deliveryCount });
    const once =
      (answer: () => void): (() => Promise<void>) =>
      async () => {
        // A late acknowledgement, after the message was redelivered, does not apply to the new delivery.
        if (unanswered.get(sequence)?.deliveryCount === deliveryCount) answer();
      };
    return {
      ...message,
      deliveryCount,
      ack: once(() => answered(sequence)),
      retry: (afterMs) => once(() => unanswered.set(sequence, { again: clock.now() + afterMs, deliveryCount }))(),
      reject: once(() => answered(sequence)),
    };
  }

  return {
    get filter() {
      return options.filter;
    },
    configure(changed) {
      options = changed;
    },
    state() {
      const { firstSequence, lastSequence } = stream.state();
      let pending = 0;
      for (let sequence = Math.max(next, firstSequence, 1); sequence <= lastSequence; sequence += 1) {
        const message = stream.at(sequence);
        if (message !== undefined && matches(options.filter, message.subject)) pending += 1;
      }
      return { pending, ackPending: unanswered.size };
    },
    take(max, waitMs) {
      const taken = collect(max);
      if (taken.length > 0 || waitMs <= 0) return Promise.resolve(taken);
      return new Promise((resolve) => {
        const cancels: (() => void)[] = [];
        const finish = (deliveries: Delivery[]): void => {
          for (const cancel of cancels) cancel();
          resolve(deliveries);
        };
        const check = (): void => {
          const found = collect(max);
          if (found.length > 0) finish(found);
        };
        cancels.push(
          stream.onAppend(check),
          clock.setTimer(waitMs, () => finish(collect(max))),
        );
        const soonest = Math.min(...[...unanswered.values()].map((entry) => entry.again - clock.now()));
        if (soonest < waitMs) cancels.push(clock.setTimer(soonest, check));
      });
    },
  };
}
