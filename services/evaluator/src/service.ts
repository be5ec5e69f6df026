/** The evaluator: competes for the lease, and applies the log and performs effects while it leads. */

import type { Bus } from "@aviary/shared/bus/bus.ts";
import { EVALUATOR_LEASE_KEY } from "@aviary/shared/contract/lease.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { isRetryable } from "@aviary/shared/runtime/faults.ts";
import { acquireLease, LEASE_FREE_MS, type Lease } from "@aviary/shared/runtime/lease.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Registry } from "@aviary/shared/runtime/metrics.ts";
import type { ResolvedConfig } from "./core/resolved-config.ts";
import { createCounters } from "./counters.ts";
import { watchLeaderConfiguration } from "./io/configuration-conflict.ts";
import { type LeaderContext, lead } from "./leader.ts";

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
   * Why it is not ready, or undefined: a standby is ready once it has read the leader's lease, a leader once it has applied all
   * messages that the log contained at its start.
   */
  notReady(): string | undefined;
}

/** Pause before competing for the lease again, after a leadership that failed retryably. */
const COMPETE_AGAIN_MS = 1_000;

/**
 * Starts an evaluator: it waits for the lease, then reduces and performs until it is disposed or loses the lease, then waits
 * again.
 */
export function startEvaluator(options: EvaluatorOptions): Evaluator {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, options.signal]);
  let unready: string | undefined;
  const setUnready = (reason: string | undefined): void => {
    unready = reason;
  };
  const replica: Replica = { ...options, counters: createCounters(options.metrics), setUnready };
  const stopped = competeForLease(replica, signal);
  stopped.catch((error: unknown) => {
    if (!signal.aborted) options.onFatal(error);
  });
  return {
    notReady: () => unready,
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error("the evaluator is stopping"));
      await stopped.catch(() => undefined);
    },
  };
}

interface Replica extends EvaluatorOptions, LeaderContext {}

/** Leads whenever it holds the lease, until the signal aborts. Throws on a permanent failure. */
async function competeForLease(replica: Replica, signal: AbortSignal): Promise<void> {
  const { log, holder } = replica;
  while (!signal.aborted) {
    replica.setUnready("the lease has not been read yet");
    const lease = await waitForLease(replica, signal);
    log.info({ event: "lease.acquired", holder }, "acquired the lease");
    replica.setUnready("catching up with the log");
    try {
      await lead(replica, lease, AbortSignal.any([signal, lease.lost]));
    } catch (error) {
      const stopped = signal.aborted || lease.lost.aborted;
      if (!stopped && !isRetryable(error)) throw error;
      if (!stopped)
        log.warn({ event: "leadership.interrupted", err: error }, "leadership ended early; resuming from the checkpoint");
    } finally {
      await lease.release();
    }
    if (signal.aborted) return;
    if (lease.lost.aborted) log.warn({ event: "lease.lost", holder }, "lost the lease; standing by");
    else await replica.clock.sleep(COMPETE_AGAIN_MS, signal).catch(() => undefined);
  }
}

function waitForLease({ bus, holder, clock, log, config, setUnready }: Replica, signal: AbortSignal): Promise<Lease> {
  const self = { holder, config: config.policyHash };
  const compare = watchLeaderConfiguration({ bus, clock, log, self });
  return acquireLease({
    bus,
    key: EVALUATOR_LEASE_KEY,
    ...self,
    clock,
    freeAfterMs: LEASE_FREE_MS,
    onStandby: (leader) => {
      setUnready(undefined);
      compare(leader);
    },
    signal,
  });
}
