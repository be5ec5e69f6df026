/**
 * The bus on NATS JetStream (nats-server 2.9 and newer).
 *
 * Features of newer servers are used only after checking the version: several filters per consumer (2.10), a reason on `reject`
 * (2.11), and the broker's clock in the stream info (2.10; with older servers, a message is stored to read it).
 */
import { AckPolicy, DeliverPolicy, JetStreamApiError, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { credsAuthenticator, type NatsConnection, nanos, type TlsOptions } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { type Clock, systemClock } from "../runtime/clock.ts";
import { retryable, terminal } from "../runtime/faults.ts";
import type { Bucket, Bus, BusStatus } from "./bus.ts";
import { type BucketContext, openBucket } from "./nats-bucket.ts";
import { busFault } from "./nats-fault.ts";
import { type FollowContext, followStream } from "./nats-follow.ts";
import { fromDirectRead, parseBrokerTime } from "./nats-message.ts";
import { takeFrom } from "./nats-take.ts";
import { createPublisher, type PublisherOptions } from "./publisher.ts";
import type { BucketName } from "./streams.ts";

export interface NatsOptions {
  /** `nats://host:port` or `tls://host:port`; several for a cluster. */
  readonly servers: string | readonly string[];
  /** The client's name, shown by the server's monitoring. */
  readonly name: string;
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
  /** The content of a credentials file (user JWT and seed). */
  readonly creds?: string;
  readonly tls?: TlsOptions;
  /** Retry until a server responds instead of failing immediately; for services that start together with their broker. */
  readonly waitOnFirstConnect?: boolean;
  /** The timeout of one connection attempt and of one request to the broker. */
  readonly timeoutMs?: number;
  readonly publisher?: Omit<PublisherOptions, "clock">;
  readonly clock?: Clock;
}

/** The bus, with its connection for code that manages streams. */
export interface NatsBus extends Bus {
  readonly connection: NatsConnection;
}

const EXISTS_WITH_OTHER_CONFIG = 10148;
const NAME_IN_USE = 10013;

/**
 * Connects. @throws Retryable `broker_unavailable` if no server responds (unless `waitOnFirstConnect`), Terminal `broker_denied`
 * if the credentials are rejected
 */
export async function connectNats(options: NatsOptions): Promise<NatsBus> {
  const clock = options.clock ?? systemClock;
  const timeoutMs = options.timeoutMs ?? 5000;
  const where = typeof options.servers === "string" ? options.servers : options.servers.join(", ");
  const connection = await connect({
    servers: typeof options.servers === "string" ? options.servers : [...options.servers],
    name: options.name,
    // Without this, every request builds two stack traces, half of the cost of a publish.
    noAsyncTraces: true,
    // Without limit: a broker may be unreachable for longer than any number of attempts (the default gives up after about twenty
    // seconds).
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    reconnectJitterTLS: 500,
    pingInterval: 10_000,
    timeout: timeoutMs,
    waitOnFirstConnect: options.waitOnFirstConnect ?? false,
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.pass === undefined ? {} : { pass: options.pass }),
    ...(options.token === undefined ? {} : { token: options.token }),
    ...(options.creds === undefined ? {} : { authenticator: credsAuthenticator(new TextEncoder().encode(options.creds)) }),
    ...(options.tls === undefined ? {} : { tls: options.tls }),
  }).catch((error: unknown) => {
    throw busFault(error, `connecting to ${where}`);
  });
  const manager = await jetstreamManager(connection, { timeout: timeoutMs, checkAPI: false });
  return makeBus(connection, manager, clock, options.publisher);
}

function makeBus(
  connection: NatsConnection,
  manager: JetStreamManager,
  clock: Clock,
  publisherOptions: PublisherOptions | undefined,
): NatsBus {
  const publisher = createPublisher(connection, { ...publisherOptions, clock });
  const listeners = new Set<(status: BusStatus) => void>();
  const reconnectListeners = new Set<() => void>();
  /** Durables that responded last time. */
  const knownDurables = new Set<string>();
  let status: BusStatus = "connected";
  let version = connection.info?.version ?? "0.0.0";

  function setStatus(next: BusStatus): void {
    if (status === next || status === "closed") return;
    status = next;
    for (const listener of [...listeners]) listener(next);
  }

  async function watchConnection(): Promise<void> {
    for await (const event of connection.status()) {
      if (event.type === "disconnect") {
        publisher.setConnected(false);
        setStatus("reconnecting");
      } else if (event.type === "reconnect") {
        version = connection.info?.version ?? version;
        publisher.setConnected(true);
        setStatus("connected");
        for (const listener of [...reconnectListeners]) listener();
      }
    }
  }
  void watchConnection();
  void connection.closed().then((error) => {
    publisher.close(
      terminal(
        "bus_closed",
        `the connection to the broker is closed${error instanceof Error ? `: ${error.message}` : ""}`,
        error ?? undefined,
      ),
    );
    setStatus("closed");
  });

  const atLeast = (major: number, minor: number): boolean => {
    const [haveMajor = 0, haveMinor = 0] = version.split(".").map(Number);
    return haveMajor > major || (haveMajor === major && haveMinor >= minor);
  };
  const onReconnect = (listener: () => void): (() => void) => {
    reconnectListeners.add(listener);
    return () => reconnectListeners.delete(listener);
  };
  const followContext: FollowContext = { connection, manager, clock, onReconnect, severalFilters: () => atLeast(2, 10) };
  const bucketContext: BucketContext = { manager, publisher, follow: (request) => followStream(followContext, request) };

  async function guarded<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw busFault(error, doing);
    }
  }

  return {
    connection,
    get status() {
      return status;
    },
    get server() {
      return `nats-server ${version}`;
    },
    onStatus(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    publish: (message) => publisher.publish(message),
    follow: (options) => followStream(followContext, options),
    last: (stream, subject) =>
      guarded(`reading the last message of ${subject}`, async () => {
        const found = await manager.streams.getMessage(stream, { last_by_subj: subject });
        return found === null ? undefined : fromDirectRead(found);
      }),
    streamState: (stream) =>
      guarded(`reading the state of ${stream}`, async () => {
        const { state, created } = await manager.streams.info(stream);
        const createdAtMs = parseBrokerTime(created);
        return { createdAtMs, messages: state.messages, firstSequence: state.first_seq, lastSequence: state.last_seq };
      }),
    brokerTime: () =>
      guarded("reading the broker's clock", async () => {
        if (atLeast(2, 10)) {
          // Answered by the leader of INPUTS, whose clock stamps the messages.
          const info = (await manager.streams.info("INPUTS")) as { ts?: string };
          if (info.ts !== undefined) return parseBrokerTime(info.ts);
        }
        await publisher.publish({ subject: "$KV.lease.clock", data: "" });
        // From the stream's leader, not from a replica. Another process may have written since, which is equally valid.
        const stored = await manager.streams.getMessage("KV_lease", { last_by_subj: "$KV.lease.clock" });
        if (stored === null) throw retryable("broker_unavailable", "the message written to read the broker's clock was removed");
        return parseBrokerTime(stored.timestamp);
      }),
    bucket: (name: BucketName): Promise<Bucket> => guarded(`opening bucket ${name}`, () => openBucket(bucketContext, name)),
    ensureDurable: ({ stream, name, filter, ackWaitMs, maxDeliver }) =>
      guarded(`creating the durable ${stream}/${name}`, async () => {
        const changeable = { filter_subject: filter, ack_wait: nanos(ackWaitMs), max_deliver: maxDeliver ?? -1 };
        try {
          await manager.consumers.add(stream, {
            durable_name: name,
            ack_policy: AckPolicy.Explicit,
            deliver_policy: DeliverPolicy.All,
            ...changeable,
          });
        } catch (error) {
          if (!(error instanceof JetStreamApiError) || (error.code !== EXISTS_WITH_OTHER_CONFIG && error.code !== NAME_IN_USE))
            throw error;
          await manager.consumers.update(stream, name, changeable);
        }
      }),
    durableState: (stream, name) =>
      guarded(`reading the durable ${stream}/${name}`, async () => {
        const info = await manager.consumers.info(stream, name);
        return { pending: info.num_pending, ackPending: info.num_ack_pending };
      }),
    take: (stream, durable, max, waitMs) =>
      guarded(`taking from ${stream}/${durable}`, async () => {
        // Newer servers do not respond to a request for a missing consumer, so its existence is checked once.
        const key = `${stream}/${durable}`;
        if (!knownDurables.has(key)) await manager.consumers.info(stream, durable);
        knownDurables.delete(key);
        const taken = await takeFrom({ connection, clock, namesReason: atLeast(2, 11) }, stream, durable, max, waitMs);
        knownDurables.add(key);
        return taken;
      }),
    async [Symbol.asyncDispose]() {
      if (!connection.isClosed()) await connection.close();
    },
  };
}
