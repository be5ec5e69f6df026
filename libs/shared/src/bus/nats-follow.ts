/**
 * Following a stream on NATS with our own ordered pull consumer.
 *
 *     open ─▶ reading ─ gap, lost connection, silence, consumer gone ─▶ open again after the last message received
 *               └─ stopped, stream deleted, stream went back, handler threw ─▶ ended (onEnd)
 *
 * The client's ordered consumer is not used: after a server restart it starts again at sequence 1 if it had delivered nothing
 * yet, loses "last per subject", and cannot be paused. Here the position in the log is ours, and every (re)opening passes it.
 * The consumer acknowledges nothing, is kept in the server's memory, and is removed by the server soon after this process ends.
 */
import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
} from "@nats-io/jetstream";
import { createInbox, type Msg, type NatsConnection, nanos, nuid, type Subscription } from "@nats-io/nats-core";
import type { Clock } from "../runtime/clock.ts";
import { terminal } from "../runtime/faults.ts";
import type { Follower, FollowOptions } from "./bus.ts";
import { busFault } from "./nats-fault.ts";
import { ConsumedMessage, parseDelivery } from "./nats-message.ts";
import { matchesAny } from "./subject-match.ts";

export interface FollowContext {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly clock: Clock;
  /** Calls the listener after every reconnect; returns a function that unsubscribes. */
  onReconnect(listener: () => void): () => void;
  /** Whether the server supports consumers with several filters (2.10 and newer). */
  severalFilters(): boolean;
}

/** The stream to follow: one of ours, or the stream of a bucket. */
export type FollowRequest = Omit<FollowOptions, "stream"> & { readonly stream: string };

/** Prefetched messages: enough to keep a fast reader busy, and the bound of the buffer while paused. */
const AHEAD = 1024;
const REFILL_AT = AHEAD / 2;
const PULL_EXPIRES_MS = 30_000;
/**
 * How long after the expiry of the newest request its messages may still arrive. nats-server 2.9 answers requests that expire
 * together with a single status, so statuses cannot be relied on.
 */
const LAPSE_MS = 500;
const HEARTBEAT_MS = 5000;
const INACTIVE_MS = 60_000;
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 2000;
/** While a cluster elects leaders, a stream may be reported as missing; after about ten seconds it really is. */
const NOT_FOUND_LIMIT = 8;

/** Starts to follow; resolves when the consumer exists. @throws a fault if it cannot be created now */
export async function followStream(context: FollowContext, request: FollowRequest): Promise<Follower> {
  const { connection, manager, clock } = context;
  const { stream, onMessage } = request;
  const subjects = request.subjects ?? [];
  const namePrefix = `follow_${nuid.next()}`;

  let generation = 0;
  let ended = false;
  let paused = false;
  let serverFilters = true;
  let draining = false;
  let subscription: Subscription | undefined;
  let consumer = "";
  let inbox = "";
  /** The highest sequence received, delivered or buffered. */
  let cursor = request.from instanceof Object && "sequence" in request.from ? request.from.sequence - 1 : 0;
  let tookAny = false;
  let consumerSequence = 0;
  let outstanding = 0;
  let silentTicks = 0;
  let cancelLapse = (): void => {};
  let untilCaughtUp = 0;
  let sawEnd = false;
  let caughtUp = false;
  let buffer: ConsumedMessage[] = [];
  const caught = Promise.withResolvers<void>();

  function startOf(lastSequence: number): Partial<ConsumerConfig> {
    const { from } = request;
    // Until the initial state is complete, "last per subject" is requested again as such; messages already received are skipped.
    if (from === "last-per-subject" && !caughtUp) {
      // The server requires a filter with this policy, even one that selects everything.
      return {
        deliver_policy: DeliverPolicy.LastPerSubject,
        ...(subjects.length > 1 && serverFilters ? {} : { filter_subject: ">" }),
      };
    }
    if (!tookAny) {
      if (from === "all") return { deliver_policy: DeliverPolicy.All };
      if (from === "new") cursor = generation === 1 ? lastSequence : cursor;
      else if (from instanceof Object && "time" in from) {
        return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(Math.ceil(from.time)).toISOString() };
      }
    }
    return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(cursor + 1, 1) };
  }

  async function open(mine: number): Promise<void> {
    const info = await manager.streams.info(stream);
    if (mine !== generation) return;
    if (tookAny && info.state.last_seq < cursor) {
      throw terminal(
        "stream_went_back",
        `stream ${stream} ends at ${info.state.last_seq}, but ${cursor} was read from it: it was recreated or lost data`,
      );
    }
    serverFilters = subjects.length < 2 || context.severalFilters();
    const created = await manager.consumers.add(stream, {
      name: `${namePrefix}_${mine}`,
      ack_policy: AckPolicy.None,
      ...startOf(info.state.last_seq),
      ...(subjects.length === 1 ? { filter_subject: subjects[0] as string } : {}),
      ...(subjects.length > 1 && serverFilters ? { filter_subjects: [...subjects] } : {}),
      inactive_threshold: nanos(INACTIVE_MS),
      mem_storage: true,
      num_replicas: 1,
    });
    if (mine !== generation) return removeConsumer(created.name);
    consumer = created.name;
    consumerSequence = 0;
    outstanding = 0;
    silentTicks = 0;
    inbox = createInbox();
    subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (mine !== generation) return;
        if (error === null) onDelivery(message);
        else finish(terminal("follow_denied", `the broker does not let this user read ${stream}: ${error.message}`, error));
      },
    });
    if (!caughtUp) {
      untilCaughtUp = created.num_pending;
      sawEnd = untilCaughtUp === 0;
      reachEnd();
    }
    if (!paused) pull();
  }

  function onDelivery(message: Msg): void {
    silentTicks = 0;
    const reply = message.reply as string;
    if (!reply.startsWith("$JS.ACK.")) {
      onStatus(message);
      return;
    }
    const facts = parseDelivery(reply);
    if (facts.consumerSequence !== consumerSequence + 1) {
      restart();
      return;
    }
    consumerSequence = facts.consumerSequence;
    outstanding -= 1;
    if (!caughtUp) {
      untilCaughtUp -= 1;
      sawEnd ||= untilCaughtUp <= 0 || facts.pending === 0;
    }
    if (facts.streamSequence > cursor) {
      cursor = facts.streamSequence;
      tookAny = true;
      if (serverFilters || matchesAny(subjects, message.subject)) deliver(new ConsumedMessage(message, facts));
    }
    reachEnd();
    if (outstanding <= REFILL_AT && !paused && !ended) pull();
  }

  function deliver(message: ConsumedMessage): void {
    buffer.push(message);
    drain();
  }

  /** Delivers buffered messages until paused; a handler that calls `resume` does not re-enter. */
  function drain(): void {
    if (draining) return;
    draining = true;
    let next = 0;
    try {
      while (next < buffer.length && !paused && !ended) {
        next += 1;
        onMessage(buffer[next - 1] as ConsumedMessage);
      }
    } catch (cause) {
      finish(terminal("handler_threw", `the handler of ${stream} threw: ${(cause as Error).message}`, cause));
    }
    if (next >= buffer.length) buffer.length = 0;
    else buffer = buffer.slice(next);
    draining = false;
    reachEnd();
  }

  function reachEnd(): void {
    if (caughtUp || !sawEnd || buffer.length > 0) return;
    caughtUp = true;
    caught.resolve();
  }

  function onStatus(message: Msg): void {
    switch (message.headers?.code) {
      case 100:
        // A heartbeat means that nothing was left to deliver: the whole stream has been read.
        sawEnd ||= outstanding > 0;
        reachEnd();
        return;
      case 404:
      case 408:
        outstanding -= Number(message.headers.get("Nats-Pending-Messages") || outstanding);
        if (outstanding <= REFILL_AT && !paused) pull();
        return;
      default:
        // Consumer gone, leader changed, no responders: open again after the last message.
        restart();
    }
  }

  function pull(): void {
    const batch = AHEAD - Math.max(outstanding, 0);
    outstanding = AHEAD;
    cancelLapse();
    cancelLapse = clock.setTimer(PULL_EXPIRES_MS + LAPSE_MS, lapse, { background: true });
    const body = `{"batch":${batch},"expires":${nanos(PULL_EXPIRES_MS)},"idle_heartbeat":${nanos(HEARTBEAT_MS)}}`;
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, body, { reply: inbox });
  }

  /** Every request has expired, whether or not the server reported it. */
  function lapse(): void {
    outstanding = 0;
    if (!paused) pull();
  }

  function close(): void {
    generation += 1;
    cancelLapse();
    subscription?.unsubscribe();
    subscription = undefined;
    if (consumer !== "") removeConsumer(consumer);
    consumer = "";
  }

  function removeConsumer(name: string): void {
    if (connection.isClosed()) return;
    // Not awaited: the server removes a consumer that outlives this process once it is idle.
    manager.consumers.delete(stream, name).catch(() => undefined);
  }

  function restart(): void {
    if (ended) return;
    close();
    void reopen(generation);
  }

  async function reopen(mine: number): Promise<void> {
    for (let attempt = 0; mine === generation && !ended; attempt += 1) {
      try {
        await open(mine);
        return;
      } catch (error) {
        if (mine !== generation) return;
        const notFound = error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound;
        const fault = busFault(error, `following ${stream}`);
        if (fault.name === "Terminal" && (!notFound || attempt >= NOT_FOUND_LIMIT)) return finish(fault);
        const ceilingMs = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(attempt, 10));
        await clock.sleep(ceilingMs / 2 + (Math.random() * ceilingMs) / 2);
      }
    }
  }

  function finish(error: Error | undefined): void {
    if (ended) return;
    ended = true;
    stopListening();
    stopWatching();
    close();
    buffer = [];
    caught.promise.catch(() => undefined);
    if (!caughtUp) caught.reject(error ?? terminal("follow_stopped", `following ${stream} was stopped before it had caught up`));
    request.onEnd?.(error);
  }

  function watchSilence(): () => void {
    let cancel = clock.setTimer(HEARTBEAT_MS, tick, { background: true });
    function tick(): void {
      // A paused reader requests nothing, so silence means nothing.
      silentTicks = paused || consumer === "" ? 0 : silentTicks + 1;
      if (silentTicks > 2) restart();
      cancel = clock.setTimer(HEARTBEAT_MS, tick, { background: true });
    }
    return () => cancel();
  }

  const stopListening = context.onReconnect(restart);
  const stopWatching = watchSilence();
  generation = 1;
  try {
    await open(1);
  } catch (error) {
    ended = true;
    stopListening();
    stopWatching();
    close();
    throw busFault(error, `following ${stream}`);
  }
  void connection.closed().then((error) => finish(error instanceof Error ? error : undefined));

  return {
    caughtUp: caught.promise,
    pause() {
      paused = true;
    },
    resume() {
      if (!paused || ended) return;
      paused = false;
      silentTicks = 0;
      drain();
      if (!paused && !ended && consumer !== "" && outstanding <= REFILL_AT) pull();
    },
    async stop() {
      finish(undefined);
    },
  };
}
