/**
 * Runs one probe on its grid. Each probe has a runner of its own: one that hangs or fails delays nobody.
 *
 *     waiting ─grid instant─▶ reading ─▶ bodies handed on ─▶ waiting
 *                                │ fails, or is not done by its timeout: no signal; said once, and once more when it is over
 *                                └ ignores its timeout: nothing is read again until it lets go
 */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import type { SignalKind } from "@aviary/shared/contract/subjects.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { faultCode, retryable } from "@aviary/shared/runtime/faults.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { gridAfter, gridBefore, type Tick, tickAt } from "./core/schedule.ts";
import { BACKING_OFF } from "./io/upstream.ts";
import type { Facts, OpenProbe } from "./probe.ts";

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
  readonly onLearned: (facts: Partial<Facts>) => void;
  /** Called after each reading; `code` is undefined when it went well. */
  readonly onRead: (code: string | undefined, tookMs: number) => void;
}

/** Stops and closes the probe; waits no longer than a second for one that hangs. */
export type StopRunner = () => Promise<void>;

/** Timers may fire a little early. */
const EARLY_MS = 20;
const STOP_MS = 1_000;

export function startRunner(options: RunnerOptions): StopRunner {
  const { clock, log, name, periodMs, phaseMs } = options;
  const stopping = new AbortController();
  let previousAt = clock.now();
  let reading: Promise<void> | undefined;
  let failing: string | undefined;
  let cancel = (): void => {};

  function arm(): void {
    const now = clock.now();
    cancel = clock.setTimer(gridAfter(now + EARLY_MS, periodMs, phaseMs) - now, () => {
      arm();
      begin(gridBefore(clock.now() + EARLY_MS, periodMs, phaseMs));
    });
  }

  function begin(at: number): void {
    if (reading !== undefined) {
      options.onRead("still_reading", 0);
      return;
    }
    reading = readOnce(options.coversPeriod ? tickAt(at, previousAt, periodMs) : { at, periodMs }).finally(() => {
      reading = undefined;
    });
  }

  async function readOnce(tick: Tick): Promise<void> {
    const startedMs = clock.monotonicMs();
    const deadline = new AbortController();
    const cancelDeadline = clock.setTimer(options.timeoutMs, () =>
      deadline.abort(retryable("probe_timeout", `the reading took longer than ${options.timeoutMs} ms`)),
    );
    const signal = AbortSignal.any([stopping.signal, deadline.signal]);
    try {
      const outcome = await options.probe.read(tick, signal);
      // Whatever came too late is not what the gateway is like at this tick.
      signal.throwIfAborted();
      options.onLearned(outcome.learned);
      for (const body of outcome.bodies) options.onSignal(outcome.kind, tick, body);
      previousAt = tick.at;
      tell(undefined, undefined);
      options.onRead(undefined, clock.monotonicMs() - startedMs);
    } catch (error) {
      if (stopping.signal.aborted) return;
      const code = faultCode(error);
      tell(code, error);
      options.onRead(code, clock.monotonicMs() - startedMs);
    } finally {
      cancelDeadline();
    }
  }

  /** Changes only: a gateway that is down is down for a while. */
  function tell(code: string | undefined, error: unknown): void {
    if (code === BACKING_OFF || code === failing) return;
    if (code !== undefined) log.warn({ probe: name, code, err: error }, `${name} fails`);
    else if (failing !== undefined) log.info({ probe: name }, `${name} works again`);
    failing = code;
  }

  arm();
  // What a gateway is like is known at once; what it does in a period takes a period.
  if (!options.coversPeriod) begin(clock.now());

  return async () => {
    cancel();
    stopping.abort(new Error("the collector is stopping"));
    const hung = Promise.withResolvers<void>();
    const cancelHung = clock.setTimer(STOP_MS, hung.resolve);
    await Promise.race([reading, hung.promise]);
    cancelHung();
    await options.probe[Symbol.asyncDispose]();
  };
}
