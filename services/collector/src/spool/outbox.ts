/**
 * The queue between probes and broker. Accepts signals immediately, never blocks a probe, and publishes signals in order of their
 * sequence numbers.
 *
 *     take ─▶ memory (newest) ─broker connected, disk empty───────────────────────▶ broker
 *               │ broker unreachable, or too many behind a replay                     ▲
 *               ▼                                                                     │
 *             disk (older, possibly of an earlier boot) ─broker connected: oldest first┘
 *
 * Records on disk are published first, so a live signal waits for the replay; only while the disk fails or hangs are live signals
 * published first. A single loop does this, one operation at a time. A failed operation is repeated from the first failed record,
 * which preserves order; records stored after that one are published twice under one id, which broker and evaluator count once.
 *
 * Limits: `maxInMemory` records in memory, the spool's limit on disk; beyond either, the oldest record is dropped and counted. A
 * record that the broker rejects permanently is dropped too, because it would block all later ones.
 */

import type { Bus } from "@aviary/shared/bus/bus.ts";
import { within } from "@aviary/shared/runtime/abort.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { afterFailure, faultCode, isRetryable, mayCall, noBackoff, retryable } from "@aviary/shared/runtime/faults.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { SpoolRecord } from "./record.ts";
import type { Spool } from "./spool.ts";

/** The part of the bus used by the collector. */
export type Outlet = Pick<Bus, "status" | "onStatus" | "publish">;

export interface OutboxOptions {
  readonly bus: Outlet;
  /** Opens the spool; retried while it fails. Undefined: nothing is kept on disk. */
  readonly openSpool: (() => Promise<Spool>) | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly maxInMemory?: number;
  /**
   * Records published together during a backlog. Live signals are published one by one, which preserves their order under
   * failures.
   */
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
  /** Rejected permanently by the broker. */
  refused: number;
}

export interface Outbox {
  take(record: SpoolRecord): void;
  /**
   * Resolves when there is nothing to do now: every record is stored by the broker or on disk, or waits in memory because neither
   * accepts it.
   */
  settled(): Promise<void>;
  /** Records in memory. */
  readonly waiting: number;
  readonly spool: Spool | undefined;
  readonly counts: Readonly<OutboxCounts>;
  /** Publishes waiting records for at most about `graceMs`, keeps the rest on disk, and stops. */
  close(graceMs: number): Promise<void>;
}

/** More records than this in memory are a backlog, and are published in windows. */
const BACKLOG = 16;
/** More records than this in memory behind a replay are moved to disk. */
const MEMORY_BEHIND_REPLAY = 256;
const PUBLISH_RETRY = { baseMs: 500, ceilingMs: 15_000 };
/** The pause after a disk failure. */
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

  /** At most one line per minute and kind: disk and broker outages last a while. */
  function complain(kind: string, error: unknown, message: string): void {
    const now = clock.monotonicMs();
    if (now - (loggedMs.get(kind) ?? Number.NEGATIVE_INFINITY) < LOG_EVERY_MS) return;
    loggedMs.set(kind, now);
    log.warn({ err: error, waiting: memory.length }, message);
  }

  const mayPublish = (): boolean => bus.status === "connected" && mayCall(backoff, clock.monotonicMs());
  const mayUseDisk = (): boolean => openSpool !== undefined && !diskBusy && clock.monotonicMs() >= diskFromMs;

  /** One disk operation at a time. A hanging one continues on its own, and the disk counts as failed until it returns. */
  async function onDisk<T>(work: () => Promise<T>): Promise<T> {
    diskBusy = true;
    const done = work().finally(() => {
      diskBusy = false;
    });
    const late = Promise.withResolvers<never>();
    const cancel = clock.setTimer(DISK_TIMEOUT_MS, () =>
      late.reject(retryable("disk_hangs", `the disk did not respond within ${DISK_TIMEOUT_MS} ms`)),
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

  /** Publishes, waiting no longer than the connection lasts; returns how many records from the start are done. */
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
          return complain("publish", error, "the broker does not accept signals");
        results[index] = "refused";
        complain("refused", error, "the broker rejected a signal permanently; dropped");
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
      // A part may already be on disk; it is then published twice, under one id.
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

  /** Performs one operation; false if there is nothing to do now. */
  async function step(): Promise<boolean> {
    // Before publishing: an earlier boot may have left older records.
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
        complain("disk", error, "cannot access the spool; signals wait in memory");
        continue;
      }
      tellSettled();
      await pause(untilNextStepMs());
    }
  }

  /** Waits until a paused operation may be retried; any other event calls `wake`. */
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
    // Nothing was done although an operation was allowed, as when the disk hangs.
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
          complain("close", error, "signals were lost: the disk does not accept them"),
        );
      }
      stopListening();
      tellSettled();
    },
  };
}
