/** The leader: restores the state from the checkpoint, then reduces the log and performs the effects while it holds the lease. */

import type { Bus, Follower } from "@aviary/shared/bus/bus.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { isFromTheFuture, parseVerdictRecord, type VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { aborted } from "@aviary/shared/runtime/abort.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { retryable, type Terminal, terminal } from "@aviary/shared/runtime/faults.ts";
import type { Lease } from "@aviary/shared/runtime/lease.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { encodeCheckpoint } from "./core/checkpoint.ts";
import type { Effect } from "./core/effects.ts";
import type { Input } from "./core/inputs.ts";
import { reduce } from "./core/reducer.ts";
import type { ResolvedConfig } from "./core/resolved-config.ts";
import { createState, type State } from "./core/state.ts";
import type { Counters } from "./counters.ts";
import { loadCheckpoint } from "./io/checkpoint.ts";
import { keepConfiguration } from "./io/configuration.ts";
import { watchDeadlines } from "./io/deadline-watch.ts";
import { ensureDemand } from "./io/demand.ts";
import { createInputReader } from "./io/inputs.ts";
import { createPerformer, type Performer, type PublishedVerdicts } from "./io/perform.ts";

export interface LeaderContext {
  readonly bus: Bus;
  readonly config: ResolvedConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly counters: Counters;
  /** Sets why the process is not ready; undefined once the leader has caught up with the log. */
  readonly setUnready: (reason: string | undefined) => void;
}

/** Reading pauses when this many batches are pending. */
const MAX_PENDING_BATCHES = 256;
/** How long pending effects are still performed when the leader stops. */
const DRAIN_MS = 2_000;

/** Leads until the signal aborts. Throws when an effect or reading the log fails. */
export async function lead(context: LeaderContext, lease: Lease, signal: AbortSignal): Promise<void> {
  const { bus, clock, log, config, counters } = context;
  for (const lane of config.lanes.keys()) await ensureDemand(bus, lane);
  const state = (await loadCheckpoint(bus, config, log)) ?? createState(config);
  counters.position(() => state.sequence);
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  const gap = await findLogGap(bus, state, log);
  // Verdicts of another log do not show which effects of this one were performed.
  const published = gap === undefined ? await publishedVerdicts(bus, config) : NOTHING_PUBLISHED;
  const pipeline = createPipeline(context, { state, lease, published, signal, onFatal: failed.reject });
  if (gap !== undefined) pipeline.apply(gap);
  const fromSequence = state.sequence + 1;
  const onLogReplaced = (): void => failed.reject(retryable("log_replaced", "INPUTS was replaced while it was read"));
  const deadlines = watchDeadlines({ bus, clock, log, state, apply: pipeline.apply, onLogReplaced, signal });
  const readInput = createInputReader();
  const follower = await bus.follow({
    stream: "INPUTS",
    from: { sequence: state.sequence + 1 },
    onMessage: (message) => {
      const input = readInput(message);
      counters.applied(input.kind);
      pipeline.apply(input);
      deadlines.recheck();
    },
    onEnd: (error) => {
      if (!signal.aborted) failed.reject(error ?? retryable("log_ended", "reading INPUTS ended: it was deleted"));
    },
  });
  pipeline.throttle(follower);
  const stop = new AbortController();
  const isLeading = (): boolean => lease.held();
  const record = { bus, config, clock, log, state, fromSequence, isLeading, signal: AbortSignal.any([signal, stop.signal]) };
  const recording = reportCaughtUp(context, follower, state, signal).then(() => keepConfiguration(record));
  try {
    await Promise.race([failed.promise, aborted(signal)]);
  } finally {
    stop.abort();
    await recording;
    deadlines.stop();
    await follower.stop();
    await drain(pipeline.performer, clock);
  }
}

interface PipelineOptions {
  readonly state: State;
  readonly lease: Lease;
  readonly published: PublishedVerdicts;
  readonly signal: AbortSignal;
  readonly onFatal: (error: unknown) => void;
}

interface Pipeline {
  /** Reduces one input and enqueues its effects. */
  apply(input: Input): void;
  /** Pauses this reader of the log while too many effects are pending. */
  throttle(reader: Follower): void;
  readonly performer: Performer;
}

function createPipeline({ bus, clock, log, counters }: LeaderContext, options: PipelineOptions): Pipeline {
  const { state, lease, published, signal, onFatal } = options;
  let follower: Follower | undefined;
  // The state may then be inconsistent, so it is neither reduced further nor written to a checkpoint. Earlier effects are still
  // performed.
  let isBroken = false;
  const performer = createPerformer({
    bus,
    clock,
    log,
    signal,
    mayPerform: () => lease.held(),
    published,
    takeCheckpoint: () => (isBroken ? undefined : encodeCheckpoint(state)),
    onPerformed: counters.performed,
    // Resumed only after everything is performed, so that a long log is read in parts with a checkpoint after each.
    onProgress: () => {
      if (performer.waiting === 0) follower?.resume();
    },
    onFatal,
  });
  const apply = (input: Input): void => {
    if (isBroken) return;
    let effects: readonly Effect[];
    try {
      effects = reduce(state, input).effects;
    } catch (cause) {
      isBroken = true;
      onFatal(reducerFailed(input, cause));
      return;
    }
    if (effects.length === 0) return;
    performer.enqueue({ atMs: state.nowMs, effects });
    if (performer.waiting >= MAX_PENDING_BATCHES) follower?.pause();
  };
  const throttle = (reader: Follower): void => {
    follower = reader;
  };
  return { apply, throttle, performer };
}

/** The evaluator stops, because replaying the input would fail again, and skipping it would decide without it. */
function reducerFailed(input: Input, cause: unknown): Terminal {
  const position = input.kind === "clock" ? `the deadlines up to ${isoTime(input.atMs)}` : `message ${input.sequence} of INPUTS`;
  const what = cause instanceof Error ? cause.message : String(cause);
  return terminal("reducer_failed", `the reducer threw at ${position}: ${what}`, cause);
}

/** Once the log is applied, the leader is ready. */
function reportCaughtUp(
  { log, setUnready }: LeaderContext,
  follower: Follower,
  state: State,
  signal: AbortSignal,
): Promise<void> {
  return follower.caughtUp.then(
    () => {
      if (signal.aborted) return;
      log.info({ event: "event_log.caught_up", sequence: state.sequence }, "caught up with the log");
      setUnready(undefined);
    },
    () => undefined,
  );
}

async function drain(performer: Performer, clock: Clock): Promise<void> {
  const stop = new AbortController();
  await Promise.race([performer.idle(), clock.sleep(DRAIN_MS, stop.signal).catch(() => undefined)]);
  stop.abort();
}

/** The newest verdicts: everything before them was performed, because effects are performed in log order. */
async function publishedVerdicts(bus: Bus, config: ResolvedConfig): Promise<PublishedVerdicts> {
  let newestAtMs = 0;
  const brokerMs = await bus.brokerTime();
  const byCanary = new Map<string, { id: string; atMs: number }>();
  for (const canary of config.canaries.values()) {
    const message = await bus.last("VERDICTS", verdictSubject(canary.ref));
    const record = message && readVerdict(message.data);
    // A time in the future would mark every verdict until then as published. It occurs if the broker's clock was set back.
    if (record === undefined || isFromTheFuture(record.body, Math.min(message!.storedAtMs, brokerMs))) continue;
    const atMs = Date.parse(record.body.at);
    byCanary.set(canary.key, { id: record.body.id, atMs });
    newestAtMs = Math.max(newestAtMs, atMs);
  }
  return { newestAtMs, byCanary };
}

/** Undefined if another version, or an unauthorized writer, wrote it. */
function readVerdict(data: Uint8Array): VerdictRecord | undefined {
  try {
    const parsed = parseVerdictRecord(JSON.parse(Buffer.from(data).toString()));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

const NOTHING_PUBLISHED: PublishedVerdicts = { newestAtMs: 0, byCanary: new Map() };

/** The gap to apply if the log no longer contains the checkpoint's position, or is another log than the checkpoint's. */
async function findLogGap(bus: Bus, state: State, log: Logger): Promise<Input | undefined> {
  const { createdAtMs, firstSequence, lastSequence } = await bus.streamState("INPUTS");
  const isOther = state.logCreatedAtMs !== null && state.logCreatedAtMs !== createdAtMs;
  state.logCreatedAtMs = createdAtMs;
  if (isOther || state.sequence > lastSequence) {
    log.error(
      { event: "event_log.replaced", checkpoint: state.sequence, last: lastSequence, created_at: isoTime(createdAtMs) },
      "the log is not the one of the checkpoint; applying it from its start",
    );
    state.sequence = -1;
    for (const canary of state.canaries.values()) canary.configHash = null;
  } else if (state.sequence === 0 || firstSequence <= state.sequence + 1) {
    return undefined;
  } else {
    log.error(
      { event: "event_log.gap", from: state.sequence + 1, first: firstSequence },
      "the log no longer contains the checkpoint's position",
    );
  }
  return { kind: "log-gap", sequence: Math.max(0, firstSequence - 1), storedAtMs: state.nowMs };
}
