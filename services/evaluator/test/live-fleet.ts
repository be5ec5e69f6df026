/** A simulated fleet on a live bus, whose reports an evaluator reads. */
import assert from "node:assert/strict";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { controlSubject, signalMessageId, signalSubject } from "@aviary/shared/contract/subjects.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { createRegistry } from "@aviary/shared/runtime/metrics.ts";
import type { ManualClock } from "@aviary/shared/testing/manual-clock.ts";
import { nextTurn, passTime } from "@aviary/shared/testing/pass-time.ts";
import type { Input } from "../src/core/inputs.ts";
import { type Evaluator, type EvaluatorOptions, startEvaluator } from "../src/service.ts";
import { CANARY, type SimulatedFleet } from "./core/simulated-fleet.ts";

type LiveOptions = Pick<EvaluatorOptions, "bus" | "clock" | "config" | "holder"> & Partial<EvaluatorOptions>;

/** Starts an evaluator. By default it writes no logs, and a fatal error fails the test. */
export function startLiveEvaluator(options: LiveOptions): Evaluator {
  return startEvaluator({
    log: silentLogger,
    metrics: createRegistry(),
    signal: new AbortController().signal,
    onFatal: (error) => assert.fail(error as Error),
    ...options,
  });
}

/** Publishes a signal or a control message as its sender does. */
export async function publishInput(bus: Bus, input: Input): Promise<void> {
  if (input.kind === "signal") {
    const { signal } = input;
    await bus.publish({
      subject: signalSubject(signal, signal.kind),
      data: JSON.stringify(signal),
      id: signalMessageId(signal, signal.collector_boot, signal.seq),
    });
  } else if (input.kind === "control") {
    await bus.publish({
      subject: controlSubject("payments", CANARY, input.control.verb),
      data: JSON.stringify(input.control),
      id: input.control.id,
    });
  }
}

/**
 * Advances the clocks of fleet and bus by five seconds, and publishes the fleet's reports.
 * @param change a change of the fleet before the reports; its control messages are published with them
 */
export async function passTick(fleet: SimulatedFleet, bus: Bus, clock: ManualClock, change = (): void => {}): Promise<void> {
  const from = fleet.log.length;
  change();
  fleet.advance(5);
  await passTime(clock, 5_000);
  for (const input of fleet.log.slice(from)) await publishInput(bus, input);
  await nextTurn();
}
