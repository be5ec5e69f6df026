/**
 * Between the probes and the broker. Takes signals at once and never makes a probe wait; hands them to the broker in the order of their numbers.
 *
 *     take ─▶ memory (newest) ─broker there, disk empty──────────────────────────▶ broker
 *               │ broker away, or too many behind a replay                            ▲
 *               ▼                                                                     │
 *             disk (older, perhaps of an earlier life) ─broker there: oldest first────┘
 *
 * What is on disk goes first, so a live signal waits behind the replay; only while the disk fails or hangs do live signals go ahead. One loop
 * does all of this, one thing at a time. What fails is done again from the first record that failed, so order survives a failure; what was stored
 * after that one is published twice, under one id, which the broker and the evaluator count once.
 *
 * Limits: `maxInMemory` records in memory, the spool's cap on disk; beyond either the oldest record goes and is counted. A record that the broker
 * refuses for good (not: cannot take now) goes as well: it would block everything behind it.
 */

import type { Bus } from "@aviary/shared/bus/bus.ts";
import { within } from "@aviary/shared/runtime/abort.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { afterFailure, faultCode, isRetryable, mayCall, noBackoff, retryable } from "@aviary/shared/runtime/faults.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { SpoolRecord } from "./record.ts";
import type { Spool } from "./spool.ts";

/** As much of the bus as the collector uses. */
export type SignalPublisher = Pick<Bus, "status" | "onStatus" | "publish">;

export interface OutboxOptions {
  readonly bus: SignalPublisher;
  /** Opens the spool; tried again while it fails. Undefined: nothing is kept on disk. */
  readonly openSpool: (() => Promise<Spool>) | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly maxInMemory?: number;
  /** Records published together while there is a backlog. Live signals go one by one, which keeps their order whatever fails. */
  readonly window?: number;
}

export interface OutboxCounts {
  published: number;
  /** Written to disk. */
  spooled: number;
  /** Published from disk; also counted as published. */
  replayed: number;
  /** Dropped because memory was full. */
  overflowed: number;
  /** Refused by the broker for good. */
  refused: number;
}

export interface Outbox {
  take(record: SpoolRecord): void;
  /** Resolves when nothing is left to do now: all is stored by the broker or kept on disk, or waits in memory because neither takes it. */
  settled(): Promise<void>;
  /** Records in memory. */
  readonly waiting: number;
  readonly spool: Spool | undefined;
  readonly counts: Readonly<OutboxCounts>;
  /** Hands over what waits for at most about `graceMs`, keeps the rest on disk, and ends. */
  close(graceMs: number): Promise<void>;
}

/** More than this in memory is a backlog, and is published in windows. */
const BACKLOG = 16;
/** More than this in memory behind a replay goes to disk. */
const MEMORY_BEHIND_REPLAY = 256;
const PUBLISH_RETRY = { baseMs: 500, ceilingMs: 15_000 };
/** How long the disk is left alone after it refused. */
const DISK_RETRY_MS = 10_000;
const DISK_TIMEOUT_MS = 5_000;
const LOG_EVERY_MS = 60_000;

export function openOutbox(options: OutboxOptions): Outbox {
  const { bus, clock, random, log, openSpool } = options;
  const maxInMemory = options.maxInMemory ?? 4_096;
  const window = options.window ?? 64;
  const counts: OutboxCounts = { published: 0, spooled: 0, replayed: 0, overflowed: 0, refused: 0 };
  const closing = Promise.withResolvers<void>();
  const loggedMs = new Map<string, number>();
  let memory: SpoolRecord[] = [];
  let spool: Spool | undefined;
  let diskBusy = false;
  let diskFromMs = Number.NEGATIVE_INFINITY;
  let backoff = noBackoff;
  let closed = false;
  let wake = (): void => {};
  let settledListeners: (() => void)[] = [];

  const stopListening = bus.onStatus(() => {
    backoff = noBackoff;
    wake();
  });

  /** At most one line a minute of each kind: a disk or broker that is away stays away for a while. */
  function complain(kind: string, error: unknown, message: string): void {
    const now = clock.monotonicMs();
    if (now - (loggedMs.get(kind) ?? Number.NEGATIVE_INFINITY) < LOG_EVERY_MS) return;
    loggedMs.set(kind, now);
    log.warn({ err: error, waiting: memory.length }, message);
  }

  const mayPublish = (): boolean => bus.status === "connected" && mayCall(backoff, clock.monotonicMs());
  const mayUseDisk = (): boolean => openSpool !== undefined && !diskBusy && clock.monotonicMs() >= diskFromMs;

  /** One use of the disk at a time. One that hangs goes on by itself, and the disk counts as failed until it ends. */
  async function onDisk<T>(work: () => Promise<T>): Promise<T> {
    diskBusy = true;
    const done = work().finally(() => {
      diskBusy = false;
    });
    const late = Promise.withResolvers<never>();
    const cancel = clock.setTimer(DISK_TIMEOUT_MS, () =>
      late.reject(retryable("disk_hangs", `the disk gave no answer within ${DISK_TIMEOUT_MS} ms`)),
    );
    try {
      return await Promise.race([done, late.promise]);
    } catch (error) {
      diskFromMs = clock.monotonicMs() + DISK_RETRY_MS;
      throw error;
    } finally {
      cancel();
    }
  }

  /** Publishes, waiting no longer than the connection lasts; says how many from the beginning are dealt with. */
  async function publish(records: readonly SpoolRecord[]): Promise<number> {
    const lost = Promise.withResolvers<void>();
    const stop = bus.onStatus((status) => {
      if (status !== "connected") lost.resolve();
    });
    if (bus.status !== "connected") lost.resolve();
    const results = records.map((): "stored" | "refused" | undefined => undefined);
    const all = records.map(async (record, index) => {
      try {
        await bus.publish({ subject: record.subject, id: record.id, data: record.data });
        results[index] = "stored";
      } catch (error) {
        if (isRetryable(error) || faultCode(error) === "bus_closed")
          return complain("publish", error, "the broker does not take signals");
        results[index] = "refused";
        complain("refused", error, "the broker refuses a signal for good");
      }
    });
    await Promise.race([Promise.all(all), lost.promise, closing.promise]);
    stop();
    const failed = results.indexOf(undefined);
    const dealtWith = failed === -1 ? records.length : failed;
    counts.refused += results.slice(0, dealtWith).filter((result) => result === "refused").length;
    counts.published += results.slice(0, dealtWith).filter((result) => result === "stored").length;
    backoff = failed === -1 ? noBackoff : afterFailure(backoff, clock.monotonicMs(), PUBLISH_RETRY, random);
    return dealtWith;
  }

  async function replay(from: Spool): Promise<void> {
    const records = (await onDisk(() => from.head())).slice(0, window);
    const published = await publish(records);
    counts.replayed += published;
    await onDisk(() => from.advance(published));
  }

  async function keepOnDisk(to: Spool): Promise<void> {
    const records = memory;
    memory = [];
    try {
      await onDisk(() => to.append(records));
      counts.spooled += records.length;
    } catch (error) {
      // A part may be on disk already; then it goes twice, under one id.
      memory = [...records, ...memory];
      trim();
      throw error;
    }
  }

  async function publishFromMemory(): Promise<void> {
    const batch = memory.slice(0, memory.length > BACKLOG ? window : 1);
    memory = memory.slice(batch.length);
    const rest = batch.slice(await publish(batch));
    memory = [...rest, ...memory];
    trim();
  }

  function trim(): void {
    const tooMany = memory.length - maxInMemory;
    if (tooMany <= 0) return;
    memory = memory.slice(tooMany);
    counts.overflowed += tooMany;
  }

  /** Does one thing; false when there is nothing to do now. */
  async function step(): Promise<boolean> {
    // Before anything is published: an earlier life may have left older records.
    if (spool === undefined && openSpool !== undefined && mayUseDisk()) {
      spool = await onDisk(openSpool);
      return true;
    }
    const behind = spool?.isEmpty === false && mayUseDisk();
    const spill = !mayPublish() || (behind && memory.length > MEMORY_BEHIND_REPLAY);
    if (memory.length > 0 && spill && spool !== undefined && mayUseDisk()) await keepOnDisk(spool);
    else if (behind && mayPublish()) await replay(spool as Spool);
    else if (memory.length > 0 && mayPublish()) await publishFromMemory();
    else return false;
    return true;
  }

  async function run(): Promise<void> {
    while (!closed) {
      try {
        if (await step()) continue;
      } catch (error) {
        complain("disk", error, "signals cannot be kept on disk or read from it; they wait in memory");
        continue;
      }
      tellSettled();
      await pause(untilNextStepMs());
    }
  }

  /** Until something that is waited for may be tried again; whatever else happens calls `wake`. */
  function untilNextStepMs(): number {
    const now = clock.monotonicMs();
    const onDiskToo = spool?.isEmpty === false;
    const publishMs =
      bus.status === "connected" && (memory.length > 0 || onDiskToo) ? backoff.notBeforeMs - now : Number.POSITIVE_INFINITY;
    const diskMs =
      openSpool !== undefined && (memory.length > 0 || onDiskToo || spool === undefined)
        ? diskFromMs - now
        : Number.POSITIVE_INFINITY;
    const wanted = [publishMs, diskMs].filter((ms) => ms > 0);
    // Empty: something may be tried at once and yet nothing was, as when the disk hangs.
    return wanted.length === 0 ? 1_000 : Math.min(...wanted);
  }

  /** Resolves at the next `wake`, at the latest after `ms`. */
  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = clock.setTimer(ms, () => wake());
      wake = () => {
        cancel();
        wake = () => {};
        resolve();
      };
    });
  }

  function tellSettled(): void {
    const listeners = settledListeners;
    settledListeners = [];
    for (const listener of listeners) listener();
  }

  function settled(): Promise<void> {
    if (closed) return Promise.resolve();
    return new Promise((resolve) => {
      settledListeners.push(resolve);
      wake();
    });
  }

  const running = run();

  return {
    take(record) {
      memory.push(record);
      trim();
      wake();
    },
    settled,
    get waiting() {
      return memory.length;
    },
    get spool() {
      return spool;
    },
    counts,
    async close(graceMs) {
      if (closed) return;
      if (bus.status === "connected") await within(clock, graceMs, settled());
      closed = true;
      closing.resolve();
      wake();
      await within(clock, graceMs, running);
      if (memory.length > 0 && spool !== undefined && !diskBusy) {
        await keepOnDisk(spool).catch((error: unknown) =>
          complain("close", error, "signals are lost: the disk does not take them"),
        );
      }
      stopListening();
      tellSettled();
    },
  };
}
