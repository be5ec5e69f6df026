/**
 * Queue between the probes and the broker. Accepts signals without blocking a probe and publishes them in `seq` order.
 *
 *     add  ─▶ memory (newest) ─connected, disk empty─────────────────────────▶ broker
 *               │ disconnected, or too many behind a replay                        ▲
 *               ▼                                                                 │
 *             disk (older, possibly from an earlier process) ─connected: oldest first┘
 *
 * Records on disk are published first, so a live signal waits behind the replay. While the disk fails or hangs, live signals
 * skip it. One loop runs one step at a time. A failed batch resumes at its first unconfirmed record, so order survives a
 * failure. Records stored after that one are published twice under one id, and the broker and the evaluator deduplicate them.
 *
 * Limits: `maxInMemory` records in memory, the spool's cap on disk. Beyond either, the oldest record is dropped and counted.
 * A record that the broker rejects permanently is dropped too, because it would block all records behind it.
 */

import { within } from "@aviary/shared/runtime/abort.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { afterFailure, type Backoff, mayCall, noBackoff } from "@aviary/shared/runtime/faults.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { type DiskGate, isDiskUsable, openDiskGate, runOnDisk } from "./disk-gate.ts";
import { publishBatch, type SignalPublisher } from "./publish-batch.ts";
import type { SpoolRecord } from "./record.ts";
import type { Spool } from "./spool.ts";

export interface OutboxOptions {
  readonly bus: SignalPublisher;
  /** Opens the spool; retried while it fails. Undefined: signals are never written to disk. */
  readonly openSpool: (() => Promise<Spool>) | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly maxInMemory?: number;
  /** Batch size while there is a backlog. Live signals are published one by one, which keeps their order across failures. */
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
  /** Permanently rejected by the broker. */
  rejected: number;
}

export interface Outbox {
  enqueue(record: SpoolRecord): void;
  /**
   * Resolves when no step can run now: records are stored or spooled, or wait in memory because broker and disk are both
   * unavailable.
   */
  settled(): Promise<void>;
  /** Records in memory. */
  readonly waiting: number;
  readonly spool: Spool | undefined;
  readonly counts: Readonly<OutboxCounts>;
  /** Publishes the waiting records for up to about `graceMs`, spools the rest, and stops. */
  close(graceMs: number): Promise<void>;
}

/** More than this in memory is a backlog, and is published in batches. */
const BACKLOG = 16;
/** More records than this in memory behind a replay are moved to disk. */
const MEMORY_BEHIND_REPLAY = 256;
const DEFAULT_MAX_IN_MEMORY = 4_096;
const DEFAULT_WINDOW = 64;
const PUBLISH_RETRY = { baseMs: 500, ceilingMs: 15_000 };
const LOG_INTERVAL_MS = 60_000;
/** The longest pause while a step is possible but blocked, such as by a hanging disk. */
const BLOCKED_POLL_MS = 1_000;

interface OutboxState extends Omit<Required<OutboxOptions>, "openSpool"> {
  readonly openSpool: (() => Promise<Spool>) | undefined;
  readonly counts: OutboxCounts;
  readonly disk: DiskGate;
  readonly closing: PromiseWithResolvers<void>;
  /** When a failure of each kind was last logged. */
  readonly loggedAtMs: Map<string, number>;
  memory: SpoolRecord[];
  spool: Spool | undefined;
  backoff: Backoff;
  isClosed: boolean;
  /** Ends the loop's pause; a no-op while the loop runs. */
  wake: () => void;
  settledListeners: (() => void)[];
}

export function openOutbox(options: OutboxOptions): Outbox {
  const state = initialState(options);
  const stopListening = state.bus.onStatus(() => {
    state.backoff = noBackoff;
    state.wake();
  });
  const running = run(state);
  return {
    enqueue(record) {
      state.memory.push(record);
      dropOverflow(state);
      state.wake();
    },
    settled: () => settled(state),
    get waiting() {
      return state.memory.length;
    },
    get spool() {
      return state.spool;
    },
    counts: state.counts,
    async close(graceMs) {
      if (state.isClosed) return;
      await close(state, running, graceMs);
      stopListening();
      notifySettled(state);
    },
  };
}

function initialState(options: OutboxOptions): OutboxState {
  return {
    ...options,
    maxInMemory: options.maxInMemory ?? DEFAULT_MAX_IN_MEMORY,
    window: options.window ?? DEFAULT_WINDOW,
    counts: { published: 0, spooled: 0, replayed: 0, overflowed: 0, rejected: 0 },
    disk: openDiskGate(),
    closing: Promise.withResolvers<void>(),
    loggedAtMs: new Map(),
    memory: [],
    spool: undefined,
    backoff: noBackoff,
    isClosed: false,
    wake: () => {},
    settledListeners: [],
  };
}

async function run(state: OutboxState): Promise<void> {
  while (!state.isClosed) {
    try {
      if (await step(state)) continue;
    } catch (error) {
      logFailure(state, "outbox.disk_failed", error, "disk unavailable; signals wait in memory");
      continue;
    }
    notifySettled(state);
    await pause(state, nextStepInMs(state));
  }
}

/** Runs one step. Returns false when no step can run now. */
async function step(state: OutboxState): Promise<boolean> {
  const { spool } = state;
  // Before any publish: an earlier process may have left older records.
  if (spool === undefined && state.openSpool !== undefined && mayUseDisk(state)) {
    state.spool = await runOnDisk(state.disk, state.clock, state.openSpool);
    return true;
  }
  const hasMemory = state.memory.length > 0;
  const hasReplay = spool?.isEmpty === false && mayUseDisk(state);
  const mustSpill = !mayPublish(state) || (hasReplay && state.memory.length > MEMORY_BEHIND_REPLAY);
  if (hasMemory && mustSpill && spool !== undefined && mayUseDisk(state)) await spillToDisk(state, spool);
  else if (spool !== undefined && hasReplay && mayPublish(state)) await replay(state, spool);
  else if (hasMemory && mayPublish(state)) await publishFromMemory(state);
  else return false;
  return true;
}

async function replay(state: OutboxState, spool: Spool): Promise<void> {
  const records = (await runOnDisk(state.disk, state.clock, () => spool.head())).slice(0, state.window);
  const published = await publish(state, records);
  state.counts.replayed += published;
  await runOnDisk(state.disk, state.clock, () => spool.advance(published));
}

async function spillToDisk(state: OutboxState, spool: Spool): Promise<void> {
  const records = state.memory;
  state.memory = [];
  try {
    await runOnDisk(state.disk, state.clock, () => spool.append(records));
    state.counts.spooled += records.length;
  } catch (error) {
    // Some records may be on disk already; those are published twice, under one id.
    state.memory = [...records, ...state.memory];
    dropOverflow(state);
    throw error;
  }
}

async function publishFromMemory(state: OutboxState): Promise<void> {
  const batch = state.memory.slice(0, state.memory.length > BACKLOG ? state.window : 1);
  state.memory = state.memory.slice(batch.length);
  const rest = batch.slice(await publish(state, batch));
  state.memory = [...rest, ...state.memory];
  dropOverflow(state);
}

/** Publishes the records and updates counts and backoff. Returns how many from the start are done. */
async function publish(state: OutboxState, records: readonly SpoolRecord[]): Promise<number> {
  const { bus, clock, counts, closing } = state;
  const batch = await publishBatch({
    bus,
    records,
    closing: closing.promise,
    onFailure: (kind, error) => {
      if (kind === "retryable") logFailure(state, "outbox.publish_failed", error, "publish failed; retrying");
      else logFailure(state, "outbox.signal_refused", error, "broker rejected a signal permanently; dropped");
    },
  });
  counts.rejected += batch.rejected;
  counts.published += batch.stored;
  const isComplete = batch.done === records.length;
  state.backoff = isComplete ? noBackoff : afterFailure(state.backoff, clock.monotonicMs(), PUBLISH_RETRY, state.random);
  return batch.done;
}

function dropOverflow(state: OutboxState): void {
  const excess = state.memory.length - state.maxInMemory;
  if (excess <= 0) return;
  state.memory = state.memory.slice(excess);
  state.counts.overflowed += excess;
}

function mayPublish({ bus, backoff, clock }: OutboxState): boolean {
  return bus.status === "connected" && mayCall(backoff, clock.monotonicMs());
}

function mayUseDisk({ openSpool, disk, clock }: OutboxState): boolean {
  return openSpool !== undefined && isDiskUsable(disk, clock);
}

/** The time until a backoff ends that blocks a step. Other events call `wake`. */
function nextStepInMs({ bus, clock, memory, spool, backoff, openSpool, disk }: OutboxState): number {
  const nowMs = clock.monotonicMs();
  const hasRecords = memory.length > 0 || spool?.isEmpty === false;
  const publishInMs = bus.status === "connected" && hasRecords ? backoff.notBeforeMs - nowMs : Number.POSITIVE_INFINITY;
  const needsDisk = openSpool !== undefined && (hasRecords || spool === undefined);
  const diskInMs = needsDisk ? disk.retryAtMs - nowMs : Number.POSITIVE_INFINITY;
  const future = [publishInMs, diskInMs].filter((ms) => ms > 0);
  return future.length === 0 ? BLOCKED_POLL_MS : Math.min(...future);
}

/** Resolves at the next `wake`, at the latest after `ms`. */
function pause(state: OutboxState, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const cancel = state.clock.setTimer(ms, () => state.wake());
    state.wake = () => {
      cancel();
      state.wake = () => {};
      resolve();
    };
  });
}

function settled(state: OutboxState): Promise<void> {
  if (state.isClosed) return Promise.resolve();
  return new Promise((resolve) => {
    state.settledListeners.push(resolve);
    state.wake();
  });
}

function notifySettled(state: OutboxState): void {
  const listeners = state.settledListeners;
  state.settledListeners = [];
  for (const listener of listeners) listener();
}

async function close(state: OutboxState, running: Promise<void>, graceMs: number): Promise<void> {
  const { bus, clock } = state;
  if (bus.status === "connected") await within(clock, graceMs, settled(state));
  state.isClosed = true;
  state.closing.resolve();
  state.wake();
  await within(clock, graceMs, running);
  // Read after the loop has stopped: its last step may have opened the spool.
  const { spool } = state;
  if (state.memory.length === 0 || spool === undefined || state.disk.isBusy) return;
  await spillToDisk(state, spool).catch((error: unknown) =>
    logFailure(state, "outbox.close_failed", error, "waiting signals lost: they could not be written to disk"),
  );
}

/** At most one line per minute and event, because an outage lasts a while. */
function logFailure({ clock, log, loggedAtMs, memory }: OutboxState, event: string, error: unknown, message: string): void {
  const nowMs = clock.monotonicMs();
  if (nowMs - (loggedAtMs.get(event) ?? Number.NEGATIVE_INFINITY) < LOG_INTERVAL_MS) return;
  loggedAtMs.set(event, nowMs);
  log.warn({ event, err: error, waiting: memory.length }, message);
}
