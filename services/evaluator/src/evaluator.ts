/**
 * The evaluator: follows the log, folds it, performs what the fold decides. Read, step, perform; the rest is starting and stopping.
 */
import type { Bus, Follower } from "@aviary/shared/bus/bus.ts";
import { verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { parseVerdictRecord } from "@aviary/shared/contract/verdict.ts";
import type { Clock } from "@aviary/shared/shell/clock.ts";
import type { Logger } from "@aviary/shared/shell/logger.ts";
import type { Registry } from "@aviary/shared/shell/metrics.ts";
import { encodeCheckpoint } from "./core/checkpoint.ts";
import type { Effect } from "./core/effects.ts";
import type { Input } from "./core/inputs.ts";
import type { Setup } from "./core/setup.ts";
import { createState, type State } from "./core/state.ts";
import { step } from "./core/step.ts";
import { loadCheckpoint } from "./io/checkpoint.ts";
import { ensureDemand } from "./io/demand.ts";
import { createInputReader } from "./io/inputs.ts";
import { acquireLease, type Lease } from "./io/lease.ts";
import { createPerformer, type Performer } from "./io/perform.ts";

export interface EvaluatorOptions {
  readonly bus: Bus;
  readonly setup: Setup;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Names this process in the lease; differs between replicas. */
  readonly holder: string;
  readonly signal: AbortSignal;
  /** Something failed that only a restart mends. */
  readonly onFatal: (error: unknown) => void;
}

export interface Evaluator extends AsyncDisposable {
  /** Why it is not ready, or undefined: a standby is ready, a leader once it has folded what the log held when it began. */
  notReady(): string | undefined;
}

/** Key of the evaluator's lease and checkpoint. */
export const SHARD = "evaluator";
/** When this many batches wait to be performed, reading pauses. */
const MAX_WAITING = 256;
/** The broker's clock is asked again at least this often while a deadline is near; otherwise its offset is reused. */
const CLOCK_POLL_MS = 1_000;
/** How soon to look again while the fold is behind the log or the broker is away. */
const BEHIND_POLL_MS = 20;

/** Starts an evaluator: it waits for the lease, then folds and performs until it is disposed or loses the lease, then waits again. */
export function startEvaluator(options: EvaluatorOptions): Evaluator {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, options.signal]);
  let readiness: string | undefined = "waiting for the lease";
  const terms = leadInTerms(options, signal, (reason) => {
    readiness = reason;
  });
  terms.catch((error: unknown) => {
    if (!signal.aborted) options.onFatal(error);
  });
  return {
    notReady: () => (readiness === "waiting for the lease" ? undefined : readiness),
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error("the evaluator is stopping"));
      await terms.catch(() => undefined);
    },
  };
}

async function leadInTerms(
  options: EvaluatorOptions,
  signal: AbortSignal,
  ready: (reason: string | undefined) => void,
): Promise<void> {
  while (!signal.aborted) {
    ready("waiting for the lease");
    const lease = await acquireLease(options.bus, SHARD, options.holder, options.clock, signal);
    options.log.info({ holder: options.holder }, "leading");
    ready("folding what the log held");
    try {
      await lead(options, lease, AbortSignal.any([signal, lease.lost]), ready);
    } catch (error) {
      if (!signal.aborted && !lease.lost.aborted) throw error;
    } finally {
      await lease.release();
    }
    if (!signal.aborted) options.log.warn("the lease was lost: standing by");
  }
}

/** One term as leader: ends when the signal aborts, throws when something fails for good. */
async function lead(
  options: EvaluatorOptions,
  lease: Lease,
  signal: AbortSignal,
  ready: (reason: string | undefined) => void,
): Promise<void> {
  const { bus, clock, log, setup } = options;
  for (const lane of setup.lanes.keys()) await ensureDemand(bus, lane);
  const state = (await loadCheckpoint(bus, SHARD, setup)) ?? createState(setup);
  const counters = countersOf(options.metrics, state);
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
    doneBeforeMs: await performedUpTo(bus, setup),
    onPerformed: (kind) => {
      counters.performed(kind);
      if (performer.waiting < MAX_WAITING / 2) follower?.resume();
    },
    onFatal: failed.reject,
  });

  const fold = (input: Input): void => {
    const { effects } = step(state, input);
    if (effects.length === 0) return;
    performer.enqueue({
      atMs: state.nowMs,
      effects,
      checkpoint: effects.some((effect) => effect.kind === "checkpoint") ? encodeCheckpoint(state) : undefined,
    });
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

/** What is decided is still performed when the service is asked to stop, for at most two seconds. */
async function settle(performer: Performer, clock: Clock): Promise<void> {
  const stop = new AbortController();
  await Promise.race([performer.settled(), clock.sleep(2_000, stop.signal).catch(() => undefined)]);
  stop.abort();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Broker time of the newest verdict: everything before it was performed, because performing keeps the order of the log. */
async function performedUpTo(bus: Bus, setup: Setup): Promise<number> {
  let newestMs = 0;
  for (const canary of setup.canaries.values()) {
    const message = await bus.last("VERDICTS", verdictSubject(canary.ref));
    if (message === undefined) continue;
    const parsed = parseVerdictRecord(JSON.parse(Buffer.from(message.data).toString()));
    if (parsed.success) newestMs = Math.max(newestMs, Date.parse(parsed.data.body.at));
  }
  return newestMs;
}

/** Says so when the log no longer holds the place where the checkpoint wants to continue. */
async function noteLogGap(bus: Bus, state: State, log: Logger, fold: (input: Input) => void): Promise<void> {
  const inputs = await bus.streamState("INPUTS");
  if (state.sequence > inputs.lastSequence) {
    log.error(
      { checkpoint: state.sequence, last: inputs.lastSequence },
      "the log is shorter than the checkpoint: it was replaced; folding it from its beginning",
    );
    state.sequence = 0;
  } else if (state.sequence === 0 || inputs.firstSequence <= state.sequence + 1) return;
  const sequence = Math.max(inputs.firstSequence - 1, state.sequence + 1);
  log.error({ from: state.sequence + 1, first: inputs.firstSequence }, "the log no longer holds where the checkpoint continues");
  if (sequence >= 1) fold({ kind: "log-gap", sequence, storedAt: state.nowMs });
}

/**
 * Fires deadlines when no message does: waits until the broker's clock has passed the next one, reads how far the log goes, and once
 * everything up to there is folded tells the fold what time it is.
 */
function watchDeadlines(bus: Bus, clock: Clock, state: State, fold: (input: Input) => void, log: Logger, signal: AbortSignal) {
  let offsetMs = 0;
  let known = false;
  let armedForMs = Number.POSITIVE_INFINITY;
  let busy = false;
  let cancel = (): void => {};
  const recheck = (): void => {
    if (signal.aborted || busy || state.nextDeadlineMs >= armedForMs) return;
    arm();
  };
  const arm = (): void => {
    cancel();
    if (signal.aborted) return;
    armedForMs = state.nextDeadlineMs;
    const dueInMs = known ? armedForMs - (clock.now() + offsetMs) + 2 : 0;
    cancel = clock.setTimer(Math.min(CLOCK_POLL_MS, Math.max(1, dueInMs)), () => void look());
  };
  const look = async (): Promise<void> => {
    if (busy) return;
    const dueInMs = state.nextDeadlineMs - (clock.now() + offsetMs);
    if (known && dueInMs > 0) return arm();
    busy = true;
    let told = false;
    try {
      told = bus.status === "connected" && (await tell());
    } catch (error) {
      log.debug({ err: error }, "the broker's clock could not be read");
    } finally {
      busy = false;
    }
    if (told) return arm();
    cancel();
    if (!signal.aborted) cancel = clock.setTimer(BEHIND_POLL_MS, () => void look());
  };
  /** Returns false when the fold is still behind the log, so that the deadline cannot fire yet. */
  const tell = async (): Promise<boolean> => {
    const brokerMs = await bus.brokerTime();
    offsetMs = brokerMs - clock.now();
    known = true;
    if (brokerMs <= state.nextDeadlineMs) return true;
    const { lastSequence, messages } = await bus.streamState("INPUTS");
    if (messages > 0 && state.sequence < lastSequence) return false;
    fold({ kind: "clock", at: brokerMs });
    return true;
  };
  arm();
  return { recheck, stop: () => cancel() };
}

function countersOf(metrics: Registry, state: State) {
  const inputs = metrics.counter("aviary_evaluator_inputs_total", "Messages folded, by kind.", { labels: ["kind"] });
  const effects = metrics.counter("aviary_evaluator_effects_total", "Effects performed, by kind.", { labels: ["kind"] });
  metrics.read("gauge", "aviary_evaluator_log_sequence", "Last folded sequence of the log.", () => state.sequence);
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
  };
}
