/** The evaluator: follows the log, reduces it, and performs the effects. The rest of this file is starting and stopping. */

import type { Bus, Follower } from "@aviary/shared/bus/bus.ts";
import { EVALUATOR_LEASE_KEY } from "@aviary/shared/contract/lease.ts";
import { verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { parseVerdictRecord, type VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { aborted } from "@aviary/shared/runtime/abort.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { isRetryable } from "@aviary/shared/runtime/faults.ts";
import { acquireLease, LEASE_FREE_MS, type Lease } from "@aviary/shared/runtime/lease.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Registry } from "@aviary/shared/runtime/metrics.ts";
import { encodeCheckpoint } from "./core/checkpoint.ts";
import type { Effect } from "./core/effects.ts";
import type { Input } from "./core/inputs.ts";
import { reduce } from "./core/reducer.ts";
import type { ResolvedConfig } from "./core/resolved-config.ts";
import { createState, type State } from "./core/state.ts";
import { loadCheckpoint } from "./io/checkpoint.ts";
import { watchDeadlines } from "./io/deadline-watch.ts";
import { ensureDemand } from "./io/demand.ts";
import { createInputReader } from "./io/inputs.ts";
import { createPerformer, type Done, type Performer } from "./io/perform.ts";

export interface EvaluatorOptions {
  readonly bus: Bus;
  readonly config: ResolvedConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Identifies this process in the lease; unique per replica. */
  readonly holder: string;
  readonly signal: AbortSignal;
  /** Called for an unrecoverable error; the process must restart. */
  readonly onFatal: (error: unknown) => void;
}

export interface Evaluator extends AsyncDisposable {
  /**
   * Why it is not ready, or undefined: a standby is ready once it has read the leader's lease, a leader once it has applied what
   * the log contained at its start.
   */
  notReady(): string | undefined;
}

/** Key of the evaluator's lease and checkpoint. */
export const SHARD = EVALUATOR_LEASE_KEY;
/** Reading pauses when this many batches are pending. */
const MAX_WAITING = 256;
/** Pause before the next term after one that failed retryably. */
const NEXT_TERM_MS = 1_000;

/**
 * Starts an evaluator: it waits for the lease, then reduces and performs until it is disposed or loses the lease, then waits
 * again.
 */
export function startEvaluator(options: EvaluatorOptions): Evaluator {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, options.signal]);
  let readiness: string | undefined;
  const counters = countersOf(options.metrics);
  const terms = leadInTerms(options, counters, signal, (reason) => {
    readiness = reason;
  });
  terms.catch((error: unknown) => {
    if (!signal.aborted) options.onFatal(error);
  });
  return {
    notReady: () => readiness,
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error("the evaluator is stopping"));
      await terms.catch(() => undefined);
    },
  };
}

async function leadInTerms(
  options: EvaluatorOptions,
  counters: Counters,
  signal: AbortSignal,
  ready: (reason: string | undefined) => void,
): Promise<void> {
  while (!signal.aborted) {
    ready("the lease has not been read yet");
    const lease = await acquireLease({
      bus: options.bus,
      key: EVALUATOR_LEASE_KEY,
      holder: options.holder,
      clock: options.clock,
      freeAfterMs: LEASE_FREE_MS,
      onStandby: () => ready(undefined),
      signal,
    });
    options.log.info({ holder: options.holder }, "leading");
    ready("catching up with the log");
    try {
      await lead(options, counters, lease, AbortSignal.any([signal, lease.lost]), ready);
    } catch (error) {
      const ended = signal.aborted || lease.lost.aborted;
      if (!ended && !isRetryable(error)) throw error;
      if (!ended) options.log.warn({ err: error }, "the term ended early; the next one continues from the checkpoint");
    } finally {
      await lease.release();
    }
    if (signal.aborted) return;
    if (lease.lost.aborted) options.log.warn("lost the lease; standing by");
    else await options.clock.sleep(NEXT_TERM_MS, signal).catch(() => undefined);
  }
}

/** One term as leader: ends when the signal aborts, throws on a permanent failure. */
async function lead(
  options: EvaluatorOptions,
  counters: Counters,
  lease: Lease,
  signal: AbortSignal,
  ready: (reason: string | undefined) => void,
): Promise<void> {
  const { bus, clock, log, config } = options;
  for (const lane of config.lanes.keys()) await ensureDemand(bus, lane);
  const state = (await loadCheckpoint(bus, SHARD, config)) ?? createState(config);
  counters.position(() => state.sequence);
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  let follower: Follower | undefined;
  const performer = createPerformer({
    bus,
    shard: SHARD,
    clock,
    log,
    signal,
    allowed: () => lease.held(),
    done: await performedUpTo(bus, config),
    takeCheckpoint: () => encodeCheckpoint(state),
    onPerformed: counters.performed,
    // Only after everything is performed: a long log is then read in parts with a checkpoint after each.
    onProgress: () => {
      if (performer.waiting === 0) follower?.resume();
    },
    onFatal: failed.reject,
  });

  const fold = (input: Input): void => {
    const { effects } = reduce(state, input);
    if (effects.length === 0) return;
    performer.enqueue({ atMs: state.nowMs, effects });
    if (performer.waiting >= MAX_WAITING) follower?.pause();
  };
  await noteLogGap(bus, state, log, fold);
  const readInput = createInputReader();
  const deadlines = watchDeadlines(bus, clock, state, fold, log, signal);
  follower = await bus.follow({
    stream: "INPUTS",
    from: { sequence: state.sequence + 1 },
    onMessage: (message) => {
      const input = readInput(message);
      counters.folded(input.kind);
      fold(input);
      deadlines.recheck();
    },
    onEnd: (error) => {
      if (!signal.aborted) failed.reject(error ?? new Error("reading INPUTS ended"));
    },
  });
  follower.caughtUp.then(
    () => {
      log.info({ sequence: state.sequence }, "caught up with the log");
      ready(undefined);
    },
    () => undefined,
  );
  try {
    await Promise.race([failed.promise, aborted(signal)]);
  } finally {
    deadlines.stop();
    await follower.stop();
    await settle(performer, clock);
  }
}

/** On a stop, pending effects are still performed, for at most two seconds. */
async function settle(performer: Performer, clock: Clock): Promise<void> {
  const stop = new AbortController();
  await Promise.race([performer.settled(), clock.sleep(2_000, stop.signal).catch(() => undefined)]);
  stop.abort();
}

/** The newest verdicts: everything before them was performed, because effects are performed in log order. */
async function performedUpTo(bus: Bus, config: ResolvedConfig): Promise<Done> {
  let beforeMs = 0;
  const verdicts = new Map<string, { id: string; atMs: number }>();
  for (const canary of config.canaries.values()) {
    const message = await bus.last("VERDICTS", verdictSubject(canary.ref));
    const record = message && readVerdict(message.data);
    if (record === undefined) continue;
    const atMs = Date.parse(record.body.at);
    verdicts.set(canary.key, { id: record.body.id, atMs });
    beforeMs = Math.max(beforeMs, atMs);
  }
  return { beforeMs, verdicts };
}

/** Undefined if another version, or an unauthorised writer, wrote it. */
function readVerdict(data: Uint8Array): VerdictRecord | undefined {
  try {
    const parsed = parseVerdictRecord(JSON.parse(Buffer.from(data).toString()));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** Emits a gap if the log no longer contains the checkpoint's position. */
async function noteLogGap(bus: Bus, state: State, log: Logger, fold: (input: Input) => void): Promise<void> {
  const inputs = await bus.streamState("INPUTS");
  if (state.sequence > inputs.lastSequence) {
    log.error(
      { checkpoint: state.sequence, last: inputs.lastSequence },
      "the log ends before the checkpoint, so it was replaced; applying it from its start",
    );
    state.sequence = -1;
  } else if (state.sequence === 0 || inputs.firstSequence <= state.sequence + 1) return;
  else
    log.error({ from: state.sequence + 1, first: inputs.firstSequence }, "the log no longer contains the checkpoint's position");
  fold({ kind: "log-gap", sequence: Math.max(0, inputs.firstSequence - 1), storedAtMs: state.nowMs });
}

type Counters = ReturnType<typeof countersOf>;

/** Registered once, for any number of terms. */
function countersOf(metrics: Registry) {
  let position = (): number => 0;
  const inputs = metrics.counter("aviary_evaluator_inputs_total", "Messages applied, by kind.", { labels: ["kind"] });
  const effects = metrics.counter("aviary_evaluator_effects_total", "Effects performed, by kind.", { labels: ["kind"] });
  metrics.read("gauge", "aviary_evaluator_log_sequence", "Last applied sequence of the log.", () => position());
  const folded: Record<Input["kind"], { inc(): void }> = {
    signal: inputs.series({ kind: "signal" }),
    control: inputs.series({ kind: "control" }),
    unreadable: inputs.series({ kind: "unreadable" }),
    clock: inputs.series({ kind: "clock" }),
    "log-gap": inputs.series({ kind: "log-gap" }),
  };
  return {
    folded: (kind: Input["kind"]) => folded[kind].inc(),
    performed: (kind: Effect["kind"]) => effects.series({ kind }).inc(),
    /** The position of the current term in the log. */
    position: (read: () => number) => {
      position = read;
    },
  };
}
