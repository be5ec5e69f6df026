/**
 * Runs one probe on its schedule grid. Each probe has its own runner, so a hanging or failing probe delays no other.
 *
 *     waiting ─grid instant─▶ reading ─▶ bodies published ─▶ waiting
 *                                │ fails or exceeds its timeout: no signal; logged once on failure and once on recovery
 *                                └ ignores its timeout: no new reading until it returns
 */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import type { SignalKind } from "@aviary/shared/contract/subjects.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { faultCode, retryable } from "@aviary/shared/runtime/faults.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { gridAfter, gridBefore, type Tick, tickAt } from "./core/schedule.ts";
import { BACKING_OFF } from "./io/upstream.ts";
import type { EnvelopeFacts, OpenProbe } from "./probe.ts";

export interface RunnerOptions {
  readonly name: string;
  readonly probe: OpenProbe;
  readonly coversPeriod: boolean;
  readonly periodMs: number;
  readonly phaseMs: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onSignal: (kind: SignalKind, tick: Tick, body: SignalBody<SignalKind>) => void;
  readonly onLearned: (facts: Partial<EnvelopeFacts>) => void;
  /** The facts to reset whenever a reading fails. */
  readonly unknownWhileFailing: Partial<EnvelopeFacts>;
  /** Called after each reading; `code` is undefined on success. */
  readonly onRead: (code: string | undefined, durationMs: number) => void;
}

/** Stops and closes the probe. Waits at most one second for a hanging reading. */
export type StopRunner = () => Promise<void>;

/** Timers may fire slightly early. */
const EARLY_MS = 20;
const STOP_MS = 1_000;

export function startRunner(options: RunnerOptions): StopRunner {
  const { clock, log, name, periodMs, phaseMs } = options;
  const stopping = new AbortController();
  let previousAt = clock.now();
  let reading: Promise<void> | undefined;
  let failureCode: string | undefined;
  let cancel = (): void => {};

  function arm(): void {
    const now = clock.now();
    cancel = clock.setTimer(gridAfter(now + EARLY_MS, periodMs, phaseMs) - now, () => {
      arm();
      begin(gridBefore(clock.now() + EARLY_MS, periodMs, phaseMs));
    });
  }

  function begin(atMs: number): void {
    if (reading !== undefined) {
      options.onLearned(options.unknownWhileFailing);
      options.onRead("still_reading", 0);
      return;
    }
    reading = readOnce(options.coversPeriod ? tickAt(atMs, previousAt, periodMs) : { atMs: atMs, periodMs }).finally(() => {
      reading = undefined;
    });
  }

  async function readOnce(tick: Tick): Promise<void> {
    const startedMs = clock.monotonicMs();
    const deadline = new AbortController();
    const cancelDeadline = clock.setTimer(options.timeoutMs, () =>
      deadline.abort(retryable("probe_timeout", `reading exceeded its timeout of ${options.timeoutMs} ms`)),
    );
    const signal = AbortSignal.any([stopping.signal, deadline.signal]);
    try {
      const outcome = await options.probe.read(tick, signal);
      // A late result no longer describes the gateway at this tick.
      signal.throwIfAborted();
      options.onLearned(outcome.learned);
      for (const body of outcome.bodies) options.onSignal(outcome.kind, tick, body);
      previousAt = tick.atMs;
      logTransition(undefined, undefined);
      options.onRead(undefined, clock.monotonicMs() - startedMs);
    } catch (error) {
      if (stopping.signal.aborted) return;
      const code = faultCode(error);
      options.onLearned(options.unknownWhileFailing);
      logTransition(code, error);
      options.onRead(code, clock.monotonicMs() - startedMs);
    } finally {
      cancelDeadline();
    }
  }

  /** Logs transitions only, because an outage lasts many readings. */
  function logTransition(code: string | undefined, error: unknown): void {
    if (code === BACKING_OFF || code === failureCode) return;
    if (code !== undefined) log.warn({ event: "probe.failed", probe: name, code, err: error }, `probe ${name} failed`);
    else if (failureCode !== undefined) log.info({ event: "probe.recovered", probe: name }, `probe ${name} recovered`);
    failureCode = code;
  }

  arm();
  // A snapshot can be read immediately; a count needs a whole period first.
  if (!options.coversPeriod) begin(clock.now());

  return async () => {
    cancel();
    stopping.abort(new Error("the collector is stopping"));
    const timedOut = Promise.withResolvers<void>();
    const cancelTimeout = clock.setTimer(STOP_MS, timedOut.resolve);
    await Promise.race([reading, timedOut.promise]);
    cancelTimeout();
    await options.probe[Symbol.asyncDispose]();
  };
}
