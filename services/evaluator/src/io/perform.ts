/**
 * Performs effects one after another, in the order emitted by the reducer. Each has an id derived from content, so that a
 * successor of a crashed evaluator duplicates nothing. A failed effect is retried while the broker is unreachable, and a bounded
 * number of times while it is reachable; then the evaluator stops, and a restart is a replay.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { DeadLetter } from "@aviary/shared/contract/dead.ts";
import { incidentMessage } from "@aviary/shared/contract/incident.ts";
import { canaryKey, deadSubject, verdictSubject } from "@aviary/shared/contract/subjects.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { isRetryable } from "@aviary/shared/runtime/faults.ts";
import { mustStillLead } from "@aviary/shared/runtime/lease.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { inSpan } from "@aviary/shared/runtime/telemetry.ts";
import type { Effect } from "../core/effects.ts";
import { saveCheckpoint } from "./checkpoint.ts";
import { setDemand } from "./demand.ts";

/** The effects of one step. */
export interface Batch {
  readonly atMs: number;
  readonly effects: readonly Effect[];
}

/**
 * The newest verdicts of earlier leaders, which show how far effects were performed. Effects are performed in log order, so
 * everything before the newest verdict is done; effects at its very instant may be done, and are repeated under the same ids.
 */
export interface PublishedVerdicts {
  /** Broker time of the newest one across all canaries. */
  readonly newestAtMs: number;
  /** The newest one per canary key: it is not published again even if the broker has dropped its id. */
  readonly byCanary: ReadonlyMap<string, { readonly id: string; readonly atMs: number }>;
}

export interface PerformerOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether effects may be performed now; otherwise the queue waits. */
  readonly mayPerform: () => boolean;
  readonly published: PublishedVerdicts;
  /**
   * Serializes the current state; undefined if it must not be stored. Called only while nothing is pending, so that every
   * effect of the state is performed.
   */
  readonly takeCheckpoint: () => string | undefined;
  readonly onPerformed: (kind: Effect["kind"]) => void;
  /** Called when a batch has left the queue. */
  readonly onProgress: () => void;
  readonly onFatal: (error: unknown) => void;
  readonly signal: AbortSignal;
}

export interface Performer {
  /** Has no effect after a permanent failure: a later checkpoint must not point past it. */
  enqueue(batch: Batch): void;
  /** Number of pending batches. */
  readonly waiting: number;
  /** Resolves when everything enqueued so far is performed, or the performer has stopped. */
  idle(): Promise<void>;
}

const MAX_ATTEMPTS = 20;
const RETRY_MS = 250;
const WAIT_MS = 100;

export function createPerformer(options: PerformerOptions): Performer {
  const queue: Batch[] = [];
  let running: Promise<void> | undefined;
  let isStopped = false;
  /** Requested checkpoints are saved as one, when nothing else is pending: serializing takes longer than anything else here. */
  let checkpointDue = false;
  const drain = async (): Promise<void> => {
    try {
      for (let batch = queue[0]; batch !== undefined; batch = queue[0]) {
        checkpointDue = (await performBatch(options, batch)) || checkpointDue;
        queue.shift();
        if (checkpointDue && queue.length === 0) {
          checkpointDue = false;
          await performCheckpoint(options);
        }
        options.onProgress();
      }
    } catch (error) {
      isStopped = true;
      queue.length = 0;
      if (!options.signal.aborted) options.onFatal(error);
    } finally {
      running = undefined;
    }
  };
  return {
    enqueue(batch) {
      if (isStopped) return;
      queue.push(batch);
      running ??= Promise.resolve().then(drain);
    },
    get waiting() {
      return queue.length;
    },
    idle: async () => {
      while (running !== undefined) await running;
    },
  };
}

/** Performs all effects of a batch except its checkpoint, and returns whether it requests one. */
async function performBatch(options: PerformerOptions, batch: Batch): Promise<boolean> {
  let requestsCheckpoint = false;
  for (const effect of batch.effects) {
    if (effect.kind === "checkpoint") requestsCheckpoint = true;
    else if (!isPerformed(options.published, batch, effect)) {
      await retry(options, effect.kind, () => perform(options, effect));
      options.onPerformed(effect.kind);
    }
  }
  return requestsCheckpoint;
}

async function performCheckpoint(options: PerformerOptions): Promise<void> {
  const text = options.takeCheckpoint();
  if (text === undefined) return;
  await retry(options, "checkpoint", async () => {
    const bytes = await saveCheckpoint(options.bus, text, options.mayPerform);
    options.log.debug({ event: "checkpoint.saved", bytes }, "saved the checkpoint");
  });
  options.onPerformed("checkpoint");
}

/** Whether an earlier leader has performed the effect. */
function isPerformed(published: PublishedVerdicts, batch: Batch, effect: Effect): boolean {
  if (batch.atMs < published.newestAtMs) return true;
  // After a long silence, a batch may contain verdicts of many deadlines.
  if (effect.kind !== "verdict") return false;
  const { id, at, subject } = effect.record.body;
  const last = published.byCanary.get(canaryKey(subject));
  return last !== undefined && (id === last.id || Date.parse(at) < last.atMs);
}

/** Retries until it succeeds. Waiting for the broker or the lease does not count as an attempt. */
async function retry(options: PerformerOptions, kind: Effect["kind"], work: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    while (!options.mayPerform() || options.bus.status !== "connected") await options.clock.sleep(WAIT_MS, options.signal);
    try {
      await work();
      return;
    } catch (error) {
      options.signal.throwIfAborted();
      if (!isRetryable(error) || attempt >= MAX_ATTEMPTS) throw error;
      options.log.warn({ event: "effect.retrying", effect: kind, attempt, err: error }, "effect failed; retrying");
      await options.clock.sleep(RETRY_MS, options.signal);
    }
  }
}

async function perform(options: PerformerOptions, effect: Exclude<Effect, { kind: "checkpoint" }>): Promise<void> {
  const { bus } = options;
  switch (effect.kind) {
    case "dead":
      await bus.publish({ subject: deadSubject("evaluator"), data: JSON.stringify(effect.letter), id: effect.id });
      logRejected(options.log, effect.letter);
      return;
    case "incident":
      await bus.publish(incidentMessage(effect.incident));
      return;
    case "verdict": {
      const { body } = effect.record;
      await inSpan("verdict", { "aviary.verdict.id": body.id, "aviary.verdict": body.verdict }, () =>
        bus.publish({ subject: verdictSubject(body.subject), data: JSON.stringify(effect.record), id: body.id }),
      );
      logVerdict(options.log, body);
      return;
    }
    case "lane": {
      const bucket = await bus.bucket("lane");
      mustStillLead(options.mayPerform, `writing the record of lane ${effect.record.lane}`);
      await bucket.put(effect.record.lane, JSON.stringify(effect.record));
      return;
    }
    case "demand":
      await setDemand(bus, effect.lane, effect.depth, options.mayPerform);
      return;
  }
}

/** Logged here, not on read, so that the dead-letter limit also bounds the log. */
function logRejected(log: Logger, { subject, sequence, reason, text, suppressed }: DeadLetter): void {
  log.warn({ event: "input.rejected", subject, sequence, reason, suppressed }, `input rejected: ${text}`);
}

function logVerdict(log: Logger, { subject, verdict, id, reasons: [first], window }: VerdictBody): void {
  const canary = canaryKey(subject);
  log[verdict === "fail" ? "warn" : "info"](
    { event: "verdict.published", verdict, canary, id, reason: first?.code, window: window?.index },
    first?.text ?? "healthy: no reasons",
  );
}
