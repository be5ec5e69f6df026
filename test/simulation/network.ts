/**
 * The bus as seen by one node: the memory bus behind a network that delays, loses, duplicates and disconnects.
 *
 *   write ─▶ lost? ── sent again under the same id after 2 s, for 15 s; then a retryable fault      (as the pipelined publisher
 *   does)
 *   read  ─▶ lost? ── a retryable fault after 5 s
 *   cut   ─▶ known: the client detects the disconnect, and writes wait for the connection; silent: it still reports a connection
 *   follow ─▶ in order, none lost, no duplicates, delayed; across disconnects
 *
 * A request in flight when its sender crashes still arrives; retries of a crashed node do not.
 */
import type { Bucket, BucketEntry, Bus, BusStatus, Delivery, Follower, Outgoing, Stored } from "@aviary/shared/bus/bus.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";
import type { RandomChoices } from "./choices.ts";
import type { History } from "./history.ts";
import { count } from "./history.ts";
import type { Kernel, Life } from "./kernel.ts";
import { START_MS } from "./kernel.ts";
import { createDeliveryLine } from "./line.ts";
import type { Link } from "./link.ts";

const RESEND_MS = 2_000;
const WRITE_FOR_MS = 15_000;
const READ_FOR_MS = 5_000;
/** A second copy of a write arrives at most this much later than the first. */
const COPY_LATER_MS = 8_000;

export interface NetworkOptions {
  readonly kernel: Kernel;
  readonly broker: Bus;
  readonly link: Link;
  readonly life: Life;
  readonly random: RandomChoices;
  readonly history: History;
  /** Called when the broker has stored a write of this process. */
  readonly onWritten: () => void;
}

/** An evaluator's name in the lease. */
export const holderOf = (life: Life): string => `${life.node}#${life.number}`;

export function createNodeBus({ kernel, broker, link, life, random, history, onWritten }: NetworkOptions): Bus {
  const opened = new Map<string, Bucket>();
  const statusListeners = new Set<(status: BusStatus) => void>();
  const status = (): BusStatus => (link.cut === "known" ? "reconnecting" : "connected");
  let lastStatus = status();
  const onLinkChange = (): void => {
    if (status() === lastStatus || !life.alive) return;
    lastStatus = status();
    // The client detects changes inside the node: not while that is paused.
    kernel.after(0, life, () => {
      for (const listener of [...statusListeners]) listener(status());
    });
  };
  link.onChange.add(onLinkChange);
  life.onExit.push(() => link.onChange.delete(onLinkChange));

  const delayMs = (): number =>
    random.chance(link.plan.slow) ? random.integer(50, Math.max(50, link.plan.slowMs)) : random.integer(1, 12);
  const isLost = (): boolean => link.cut !== "none" || random.chance(link.plan.loss);

  /** Runs `fn` when the link is restored, or immediately. */
  function whenWhole(fn: () => void): void {
    if (link.cut !== "known") {
      fn();
      return;
    }
    const look = (): void => {
      if (link.cut === "known") return;
      link.onChange.delete(look);
      kernel.after(random.integer(0, 30), life, fn);
    };
    link.onChange.add(look);
    life.onExit.push(() => link.onChange.delete(look));
  }

  /** One request and its response. `work` happens at the broker, at most once per attempt. */
  function exchange<T>(kind: "read" | "write", what: string, work: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    // The work of a process that has exited has no effect.
    if (!life.alive) return promise;
    const untilMs = kernel.nowMs + (kind === "write" ? WRITE_FOR_MS : READ_FOR_MS);
    let answered = false;
    const answer = (deliver: () => void): void => {
      if (isLost()) {
        again();
        return;
      }
      kernel.after(delayMs(), life, () => {
        if (answered) return;
        answered = true;
        deliver();
      });
    };
    let givesUp = false;
    const again = (): void => {
      if (answered) return;
      if (!givesUp) {
        givesUp = true;
        kernel.after(untilMs - kernel.nowMs, life, () => {
          if (answered) return;
          answered = true;
          count(history, "timeout");
          reject(retryable(kind === "write" ? "publish_timeout" : "broker_unavailable", `${what}: no response from the broker`));
        });
      }
      if (kind === "write") kernel.after(RESEND_MS, life, () => whenWhole(attempt));
    };
    const attempt = (): void => {
      if (answered) return;
      if (isLost()) {
        count(history, "lost");
        again();
        return;
      }
      if (kind === "read" && random.chance(0.5)) {
        // The value as of now; a real broker could also read it later, but one event is cheaper than two.
        void work().then(
          (value) => answer(() => resolve(value)),
          (error: unknown) => answer(() => reject(error)),
        );
        return;
      }
      kernel.after(delayMs(), undefined, () => {
        if (link.cut !== "none") {
          again();
          return;
        }
        void work().then(
          (value) => answer(() => resolve(value)),
          (error: unknown) => answer(() => reject(error)),
        );
      });
    };
    attempt();
    return promise;
  }

  /** Records what an evaluator starts to write, and the owner of the lease at that time. */
  function begin(what: string): void {
    if (!link.node.startsWith("evaluator") || !life.alive) return;
    history.begun.push({ atMs: START_MS + kernel.nowMs, holder: holderOf(life), what, leaseHolder: history.leaseHolder });
  }

  async function store(message: Outgoing): Promise<Stored> {
    const stored = await broker.publish(message);
    if (stored.duplicate) count(history, "duplicate dropped");
    else if (stored.stream !== "DEMAND") {
      history.order += 1;
      history.stored.push({
        order: history.order,
        atMs: START_MS + kernel.nowMs,
        node: link.node,
        stream: stored.stream,
        sequence: stored.sequence,
        subject: message.subject,
        id: message.id,
        data: message.data as string,
      });
      history.trace?.push(
        `${at(kernel)} broker   stored ${stored.stream} ${stored.sequence} ${message.subject} from ${link.node}`,
      );
    }
    onWritten();
    return stored;
  }

  /** A second copy that is delayed in the network. */
  function copyOf(message: Outgoing): void {
    if (message.id === undefined || !random.chance(link.plan.duplicate)) return;
    const forgotten = link.node.startsWith("collector") && random.chance(link.plan.forget);
    const copy: Outgoing = forgotten ? { subject: message.subject, data: message.data } : message;
    kernel.after(random.integer(1, COPY_LATER_MS), undefined, () => {
      if (link.cut !== "none") return;
      count(history, forgotten ? "copy stored twice" : "copy");
      void store(copy);
    });
  }

  function bucketOf(name: string, bucket: Bucket): Bucket {
    const put = (key: string, value: string | Uint8Array): void => {
      history.order += 1;
      history.puts.push({
        order: history.order,
        atMs: START_MS + kernel.nowMs,
        node: link.node,
        bucket: name,
        key,
        value,
      });
      if (name === "lease") history.leaseHolder = (JSON.parse(value as string) as { holder: string }).holder;
      else history.trace?.push(`${at(kernel)} broker   put ${name}/${key} from ${link.node}`);
      onWritten();
    };
    return {
      get: (key) => exchange("read", `reading ${name}/${key}`, () => bucket.get(key)),
      put: (key, value) => {
        begin(`${name}/${key}`);
        return exchange("write", `writing ${name}/${key}`, async () => {
          const revision = await bucket.put(key, value);
          put(key, value);
          return revision;
        });
      },
      update: (key, value, revision) => {
        // The client retries a compare-and-set under one id, so a lost response does not look like a lost race.
        let stored: number | undefined;
        return exchange("write", `writing ${name}/${key}`, async () => {
          if (stored !== undefined) return stored;
          stored = await bucket.update(key, value, revision);
          put(key, value);
          return stored;
        });
      },
      delete: (key) => exchange("write", `deleting ${name}/${key}`, () => bucket.delete(key)),
      keys: () => exchange("read", `listing ${name}`, () => bucket.keys()),
      watch: async (onEntry) => {
        const line = createDeliveryLine(kernel, life, link, delayMs);
        const watch = await exchange("read", `watching ${name}`, () =>
          bucket.watch((key: string, entry: BucketEntry | undefined) => line.push(() => onEntry(key, entry))),
        );
        life.onExit.push(() => void watch.stop());
        return {
          ready: line.behind(watch.ready),
          stop: () => {
            line.end();
            return watch.stop();
          },
        };
      },
    };
  }

  return {
    get status() {
      return status();
    },
    server: "simulated",
    onStatus(listener) {
      statusListeners.add(listener);
      return () => statusListeners.delete(listener);
    },
    publish(message) {
      begin(message.subject);
      copyOf(message);
      return exchange("write", message.subject, () => store(message));
    },
    async follow(request): Promise<Follower> {
      const line = createDeliveryLine(kernel, life, link, delayMs);
      const follower = await exchange("read", `following ${request.stream}`, () =>
        broker.follow({ ...request, onMessage: (message) => line.push(() => request.onMessage(message)) }),
      );
      life.onExit.push(() => void follower.stop());
      const caughtUp = line.behind(follower.caughtUp);
      caughtUp.catch(() => undefined);
      return {
        caughtUp,
        pause: line.pause,
        resume: line.resume,
        stop: () => {
          line.end();
          return follower.stop();
        },
      };
    },
    last: (stream, subject) => exchange("read", `reading ${subject}`, () => broker.last(stream, subject)),
    streamState: (stream) => exchange("read", `reading ${stream}`, () => broker.streamState(stream)),
    brokerTime: () => exchange("read", "reading the clock", () => broker.brokerTime()),
    bucket: async (name) => {
      // Opening calls the broker. Occasionally is enough: a process waiting for the lease does so five times per second.
      const known = opened.get(name);
      if (known !== undefined && !random.chance(0.3)) return known;
      const made = await exchange("read", `opening ${name}`, async () => bucketOf(name, await broker.bucket(name)));
      opened.set(name, made);
      return made;
    },
    ensureDurable: (options) => exchange("write", `durable ${options.name}`, () => broker.ensureDurable(options)),
    durableState: (stream, name) => exchange("read", `durable ${name}`, () => broker.durableState(stream, name)),
    take: (stream, name, max, waitMs) =>
      exchange("read", `taking from ${name}`, async () =>
        (await broker.take(stream, name, max, waitMs)).map(
          (delivery): Delivery => ({ ...delivery, ack: () => exchange("write", "acknowledging", () => delivery.ack()) }),
        ),
      ),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** `12.345` seconds since the start. */
export function at(kernel: Kernel): string {
  return (kernel.nowMs / 1000).toFixed(3).padStart(8);
}
