/** Takes messages from a durable pull consumer, one bounded request at a time. */
import { createInbox, type Msg, type NatsConnection, nanos } from "@nats-io/nats-core";
import type { Clock } from "../runtime/clock.ts";
import { type Fault, retryable, terminal } from "../runtime/faults.ts";
import type { Delivery } from "./bus.ts";
import { busFault } from "./nats-fault.ts";
import { ConsumedMessage, type DeliveryFacts, parseDelivery } from "./nats-message.ts";

export interface TakeContext {
  readonly connection: NatsConnection;
  readonly clock: Clock;
  /** Whether the server accepts a reason with `+TERM` (2.11); older ones reject the whole acknowledgement. */
  readonly namesReason: boolean;
}

/** How long a request may remain unanswered beyond its own limit before it counts as lost. */
const LOST_MS = 5000;
const ANSWER_TIMEOUT_MS = 5000;

/**
 * Takes up to `max` messages; waits at most `waitMs` for the first and not for further ones.
 * The server implements this with `no_wait` and `expires` together
 * (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-13.md).
 */
export function takeFrom(
  context: TakeContext,
  stream: string,
  durable: string,
  max: number,
  waitMs: number,
): Promise<Delivery[]> {
  const { connection, clock } = context;
  const inbox = createInbox();
  return new Promise((resolve, reject) => {
    const taken: Delivery[] = [];
    const finish = (fault?: Fault): void => {
      cancelTimer();
      subscription.unsubscribe();
      // Delivered messages must be acknowledged, whatever happened afterwards.
      if (fault === undefined || taken.length > 0) resolve(taken);
      else reject(fault);
    };
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null) finish(busFault(error, `taking from ${stream}/${durable}`));
        else if ((message.reply ?? "").startsWith("$JS.ACK.")) {
          taken.push(new TakenMessage(context, message, parseDelivery(message.reply as string)));
          if (taken.length >= max) finish();
        } else onStatus(message.headers?.code ?? 0, message.headers?.description ?? "");
      },
    });
    const onStatus = (code: number, description: string): void => {
      if (code === 100) return;
      if (code === 404 || code === 408) finish();
      else if (code === 503)
        finish(terminal("durable_missing", `${stream}/${durable} does not exist, or JetStream is unavailable`));
      else finish(retryable("broker_unavailable", `${stream}/${durable}: ${code} ${description}`));
    };
    const cancelTimer = clock.setTimer(waitMs + LOST_MS, () =>
      finish(retryable("broker_unavailable", `${stream}/${durable}: no response from the broker`)),
    );
    const expires = waitMs > 0 ? `,"expires":${nanos(waitMs)}` : "";
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${durable}`, `{"batch":${max},"no_wait":true${expires}}`, {
      reply: inbox,
    });
  });
}

class TakenMessage extends ConsumedMessage implements Delivery {
  readonly deliveryCount: number;
  readonly #context: TakeContext;

  constructor(context: TakeContext, source: Msg, facts: DeliveryFacts) {
    super(source, facts);
    this.deliveryCount = facts.deliveryCount;
    this.#context = context;
  }

  ack(): Promise<void> {
    return this.#answer("+ACK");
  }

  retry(afterMs: number): Promise<void> {
    return this.#answer(afterMs > 0 ? `-NAK {"delay":${nanos(afterMs)}}` : "-NAK");
  }

  reject(reason: string): Promise<void> {
    return this.#answer(this.#context.namesReason ? `+TERM ${reason.replace(/\s+/g, " ")}` : "+TERM");
  }

  /** Requests a confirmation, so that the consumer's state is exact when this resolves. */
  async #answer(text: string): Promise<void> {
    try {
      await this.#context.connection.request(this.source.reply as string, text, { timeout: ANSWER_TIMEOUT_MS });
    } catch (error) {
      throw busFault(error, `acknowledging ${this.subject} with ${text}`);
    }
  }
}
