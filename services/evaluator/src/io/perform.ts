/**
 * Performs effects one after another, in the order emitted by the reducer. Each has an id derived from content, so that a
 * successor of a crashed evaluator duplicates nothing. A failed effect is retried while the broker is unreachable, and a bounded
 * number of times while it is reachable; then the evaluator stops, and a restart is a replay.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { canaryKey, deadSubject, incidentSubject, verdictSubject } from "@aviary/shared/contract/subjects.ts";
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
 * How far effects were performed before this term, according to the stream of verdicts. Effects are performed in log order, so
 * everything before the newest verdict is done; effects at its very instant may be done, and are repeated under the same ids.
 */
export interface Done {
  /** Broker time of the newest verdict. */
  readonly beforeMs: number;
  /** The newest verdict per canary key: it is not published again even if the broker has dropped its id. */
  readonly verdicts: ReadonlyMap<string, { readonly id: string; readonly atMs: number }>;
}

export interface PerformerOptions {
  readonly bus: Bus;
  readonly shard: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether effects may be performed now; otherwise the queue waits. */
  readonly allowed: () => boolean;
  /** The effects that an earlier evaluator performed. */
  readonly done: Done;
  /** Serializes the current state. Called only while nothing is pending, so that every effect of the state is performed. */
  readonly takeCheckpoint: () => string;
  readonly onPerformed: (kind: Effect["kind"]) => void;
  /** A batch has left the queue. */
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
  settled(): Promise<void>;
}

const MAX_ATTEMPTS = 20;
const RETRY_MS = 250;
const WAIT_MS = 100;

export function createPerformer(options: PerformerOptions): Performer {
  const queue: Batch[] = [];
  let running: Promise<void> | undefined;
  let over = false;
  /** Requested checkpoints are saved as one, when nothing else is pending: serializing takes longer than anything else here. */
  let checkpointDue = false;
  const drain = async (): Promise<void> => {
    try {
      for (let batch = queue[0]; batch !== undefined; batch = queue[0]) {
        checkpointDue = (await performBatch(options, batch)) || checkpointDue;
        queue.shift();
        if (checkpointDue && queue.length === 0) {
          checkpointDue = false;
          const text = options.takeCheckpoint();
          await untilDone(options, () => saveCheckpoint(options.bus, options.shard, text, options.allowed));
          options.onPerformed("checkpoint");
        }
        options.onProgress();
      }
    } catch (error) {
      over = true;
      queue.length = 0;
      if (!options.signal.aborted) options.onFatal(error);
    } finally {
      running = undefined;
    }
  };
  return {
    enqueue(batch) {
      if (over) return;
      queue.push(batch);
      running ??= Promise.resolve().then(drain);
    },
    get waiting() {
      return queue.length;
    },
    settled: async () => {
      while (running !== undefined) await running;
    },
  };
}

/** Performs all effects of a batch but its checkpoint, and returns whether it requests one. */
async function performBatch(options: PerformerOptions, batch: Batch): Promise<boolean> {
  let checkpoint = false;
  for (const effect of batch.effects) {
    if (effect.kind === "checkpoint") checkpoint = true;
    else if (!isDone(options.done, batch, effect)) {
      await untilDone(options, () => perform(options, effect));
      options.onPerformed(effect.kind);
    }
  }
  return checkpoint;
}

function isDone(done: Done, batch: Batch, effect: Effect): boolean {
  if (batch.atMs < done.beforeMs) return true;
  // A batch may contain verdicts of many deadlines if no message arrived for long.
  if (effect.kind !== "verdict") return false;
  const { id, at, subject } = effect.record.body;
  const last = done.verdicts.get(canaryKey(subject));
  return last !== undefined && (id === last.id || Date.parse(at) < last.atMs);
}

/** Retries until done. Waiting for the broker or the lease does not count as an attempt. */
async function untilDone(options: PerformerOptions, work: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    while (!options.allowed() || options.bus.status !== "connected") await options.clock.sleep(WAIT_MS, options.signal);
    try {
      await work();
      return;
    } catch (error) {
      options.signal.throwIfAborted();
      if (!isRetryable(error) || attempt >= MAX_ATTEMPTS) throw error;
      options.log.warn({ err: error, attempt }, "effect failed; retrying");
      await options.clock.sleep(RETRY_MS, options.signal);
    }
  }
}

async function perform(options: PerformerOptions, effect: Exclude<Effect, { kind: "checkpoint" }>): Promise<void> {
  const { bus } = options;
  switch (effect.kind) {
    case "dead":
      await bus.publish({ subject: deadSubject("evaluator"), data: JSON.stringify(effect.letter), id: effect.id });
      return;
    case "incident": {
      const { incident } = effect;
      await bus.publish({
        subject: incidentSubject(incident.subject, incident.code),
        data: JSON.stringify(incident),
        id: incident.id,
      });
      return;
    }
    case "verdict": {
      const { body } = effect.record;
      await inSpan("verdict", { "aviary.verdict.id": body.id, "aviary.verdict": body.verdict }, () =>
        bus.publish({ subject: verdictSubject(body.subject), data: JSON.stringify(effect.record), id: body.id }),
      );
      const first = body.reasons[0];
      options.log[body.verdict === "fail" ? "warn" : "info"](
        {
          event: "verdict.published",
          verdict: body.verdict,
          canary: `${body.subject.namespace}/${body.subject.name}`,
          id: body.id,
          reason: first?.code,
          window: body.window?.index,
        },
        first?.text ?? "healthy: no reasons",
      );
      return;
    }
    case "lane": {
      const bucket = await bus.bucket("lane");
      mustStillLead(options.allowed, `writing the record of lane ${effect.record.lane}`);
      await bucket.put(effect.record.lane, JSON.stringify(effect.record));
      return;
    }
    case "demand":
      await setDemand(bus, effect.lane, effect.depth, options.allowed);
      return;
  }
}
