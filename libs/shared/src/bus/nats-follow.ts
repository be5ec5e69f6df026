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
import { JetStreamApiCodes, JetStreamApiError, type JetStreamManager } from "@nats-io/jetstream";
import { createInbox, type Msg, type NatsConnection, nuid, type Subscription } from "@nats-io/nats-core";
import type { Clock } from "../runtime/clock.ts";
import { backoffMs, terminal } from "../runtime/faults.ts";
import type { Follower, FollowOptions } from "./bus.ts";
import { type CaughtUp, createCaughtUp } from "./caught-up.ts";
import { consumerConfig, createPosition, type Position } from "./follow-position.ts";
import { createMessageBuffer, type MessageBuffer } from "./message-buffer.ts";
import { busFault } from "./nats-fault.ts";
import { ConsumedMessage, type DeliveryFacts, parseDelivery } from "./nats-message.ts";
import { createPullRequests, HEARTBEAT_MS, type PullRequests } from "./pull-requests.ts";
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

const MAX_SILENT_TICKS = 2;
const RETRY = { baseMs: 100, ceilingMs: 2_000 };
/** While a cluster elects leaders, a stream may be reported as missing. After about ten seconds it counts as missing. */
const NOT_FOUND_LIMIT = 8;

/** One follower. `generation` increases with every consumer; callbacks of an earlier one are ignored. */
interface Following {
  readonly context: FollowContext;
  readonly request: FollowRequest;
  readonly subjects: readonly string[];
  readonly namePrefix: string;
  readonly buffer: MessageBuffer<ConsumedMessage>;
  readonly pulls: PullRequests;
  readonly position: Position;
  readonly caughtUp: CaughtUp;
  generation: number;
  ended: boolean;
  /** Whether the server applies the filters; otherwise they are applied here. */
  serverFilters: boolean;
  subscription: Subscription | undefined;
  consumer: string;
  inbox: string;
  consumerSequence: number;
  /** Heartbeat intervals without any message. */
  silentTicks: number;
  /** Stops the listeners that outlive a consumer. */
  stopWatching: () => void;
}

/** Starts to follow; resolves when the consumer exists. @throws a fault if it cannot be created now */
export async function followStream(context: FollowContext, request: FollowRequest): Promise<Follower> {
  const following = createFollowing(context, request);
  const { buffer, pulls, caughtUp } = following;
  const stopListening = context.onReconnect(() => restart(following));
  const stopTicking = watchSilence(following);
  following.stopWatching = () => {
    stopListening();
    stopTicking();
  };
  try {
    await openConsumer(following, 1);
  } catch (error) {
    following.ended = true;
    following.stopWatching();
    closeConsumer(following);
    throw busFault(error, `following ${request.stream}`);
  }
  void context.connection.closed().then((error) => finish(following, error instanceof Error ? error : undefined));

  return {
    caughtUp: caughtUp.promise,
    pause: () => buffer.pause(),
    resume() {
      if (!buffer.isPaused || following.ended) return;
      following.silentTicks = 0;
      buffer.resume();
      reachEnd(following);
      if (following.consumer !== "") pulls.refill();
    },
    stop: async () => finish(following, undefined),
  };
}

function createFollowing(context: FollowContext, request: FollowRequest): Following {
  const { from, stream, onMessage } = request;
  const buffer = createMessageBuffer<ConsumedMessage>(onMessage, (cause) =>
    finish(following, terminal("handler_threw", `the handler of ${stream} threw: ${(cause as Error).message}`, cause)),
  );
  const send = (body: string): void => {
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${following.consumer}`;
    context.connection.publish(subject, body, { reply: following.inbox });
  };
  const following: Following = {
    context,
    request,
    subjects: request.subjects ?? [],
    namePrefix: `follow_${nuid.next()}`,
    buffer,
    pulls: createPullRequests(context.clock, send, () => !buffer.isPaused && !following.ended),
    position: createPosition(from),
    caughtUp: createCaughtUp(),
    generation: 1,
    ended: false,
    serverFilters: true,
    subscription: undefined,
    consumer: "",
    inbox: "",
    consumerSequence: 0,
    silentTicks: 0,
    stopWatching: () => {},
  };
  return following;
}

/** Creates the consumer of one generation, and requests its first messages. */
async function openConsumer(following: Following, generation: number): Promise<void> {
  const { context, request, subjects, position, caughtUp, pulls } = following;
  const { stream } = request;
  const isCurrent = (): boolean => generation === following.generation;
  const info = await context.manager.streams.info(stream);
  if (!isCurrent()) return;
  const lastSequence = info.state.last_seq;
  if (position.receivedAny && lastSequence < position.lastSequence) {
    const text = `stream ${stream} ends at ${lastSequence}, but ${position.lastSequence} was read from it: it was recreated or lost data`;
    throw terminal("stream_went_back", text);
  }
  following.serverFilters = subjects.length < 2 || context.severalFilters();
  if (request.from === "new" && !position.isLocated) position.lastSequence = lastSequence;
  position.isLocated = true;
  const created = await context.manager.consumers.add(stream, consumerConfigOf(following, generation));
  if (!isCurrent()) return removeConsumer(following, created.name);
  following.consumer = created.name;
  following.consumerSequence = 0;
  following.silentTicks = 0;
  following.inbox = createInbox();
  pulls.reset();
  following.subscription = context.connection.subscribe(following.inbox, {
    callback: (error, message) => {
      if (!isCurrent()) return;
      if (error === null) onReply(following, message);
      else finish(following, terminal("follow_denied", `this user has no permission to read ${stream}: ${error.message}`, error));
    },
  });
  caughtUp.expect(created.num_pending);
  reachEnd(following);
  pulls.refill();
}

function consumerConfigOf({ namePrefix, request, subjects, serverFilters, position, caughtUp }: Following, generation: number) {
  const name = `${namePrefix}_${generation}`;
  return consumerConfig({ name, from: request.from, subjects, serverFilters, position, isCaughtUp: caughtUp.reached });
}

/** A message on the consumer's inbox: a delivery, or a status. */
function onReply(following: Following, message: Msg): void {
  following.silentTicks = 0;
  const reply = message.reply as string;
  if (reply.startsWith("$JS.ACK.")) onDelivery(following, message, parseDelivery(reply));
  else onStatus(following, message);
}

function onDelivery(following: Following, message: Msg, facts: DeliveryFacts): void {
  const { pulls, caughtUp, position, subjects, buffer } = following;
  // A delivery was lost on the way.
  if (facts.consumerSequence !== following.consumerSequence + 1) {
    restart(following);
    return;
  }
  following.consumerSequence = facts.consumerSequence;
  pulls.delivered();
  caughtUp.delivered(facts.pending);
  if (facts.streamSequence > position.lastSequence) {
    position.lastSequence = facts.streamSequence;
    position.receivedAny = true;
    if (following.serverFilters || matchesAny(subjects, message.subject)) buffer.push(new ConsumedMessage(message, facts));
  }
  reachEnd(following);
  pulls.refill();
}

function onStatus(following: Following, message: Msg): void {
  const { pulls, caughtUp } = following;
  switch (message.headers?.code) {
    case 100:
      // A heartbeat means that nothing was left to deliver: the whole stream has been read.
      if (pulls.outstanding > 0) caughtUp.sawEnd();
      reachEnd(following);
      return;
    case 404:
    case 408:
      pulls.expired(Number(message.headers.get("Nats-Pending-Messages") || pulls.outstanding));
      pulls.refill();
      return;
    default:
      // Consumer gone, leader changed, no responders: open again after the last message.
      restart(following);
  }
}

/** The initial state is complete once its end was seen and every message before it was handled. */
function reachEnd({ caughtUp, buffer }: Following): void {
  if (buffer.isEmpty) caughtUp.reach();
}

function closeConsumer(following: Following): void {
  following.generation += 1;
  following.pulls.stop();
  following.subscription?.unsubscribe();
  following.subscription = undefined;
  if (following.consumer !== "") removeConsumer(following, following.consumer);
  following.consumer = "";
}

function removeConsumer({ context: { connection, manager }, request }: Following, name: string): void {
  if (connection.isClosed()) return;
  // Not awaited: the server removes a consumer that outlives this process once it is idle.
  manager.consumers.delete(request.stream, name).catch(() => undefined);
}

function restart(following: Following): void {
  if (following.ended) return;
  closeConsumer(following);
  void reopen(following, following.generation);
}

async function reopen(following: Following, generation: number): Promise<void> {
  const isCurrent = (): boolean => generation === following.generation && !following.ended;
  for (let attempt = 0; isCurrent(); attempt += 1) {
    try {
      return await openConsumer(following, generation);
    } catch (error) {
      if (!isCurrent()) return;
      const notFound = error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound;
      const fault = busFault(error, `following ${following.request.stream}`);
      if (fault.name === "Terminal" && (!notFound || attempt >= NOT_FOUND_LIMIT)) return finish(following, fault);
      await following.context.clock.sleep(backoffMs(attempt, RETRY, Math.random));
    }
  }
}

function finish(following: Following, error: Error | undefined): void {
  if (following.ended) return;
  following.ended = true;
  following.stopWatching();
  closeConsumer(following);
  following.buffer.close();
  const { stream, onEnd } = following.request;
  following.caughtUp.fail(error ?? terminal("follow_stopped", `following ${stream} was stopped before it had caught up`));
  onEnd?.(error);
}

/** Opens the consumer again after several heartbeat intervals without any message; returns a function that stops watching. */
function watchSilence(following: Following): () => void {
  const { clock } = following.context;
  const tick = (): void => {
    // A paused reader requests nothing, so silence is expected.
    following.silentTicks = following.buffer.isPaused || following.consumer === "" ? 0 : following.silentTicks + 1;
    if (following.silentTicks > MAX_SILENT_TICKS) restart(following);
    cancel = clock.setTimer(HEARTBEAT_MS, tick, { background: true });
  };
  let cancel = clock.setTimer(HEARTBEAT_MS, tick, { background: true });
  return () => cancel();
}
