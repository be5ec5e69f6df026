/** The evaluator's metrics. Registered once per process, for any number of leaderships. */
import type { Registry } from "@aviary/shared/runtime/metrics.ts";
import type { Effect } from "./core/effects.ts";
import type { Input } from "./core/inputs.ts";

export interface Counters {
  applied(kind: Input["kind"]): void;
  performed(kind: Effect["kind"]): void;
  /** Reports the position in the log through `read` from now on. */
  position(read: () => number): void;
}

export function createCounters(metrics: Registry): Counters {
  let position = (): number => 0;
  const inputs = metrics.counter("aviary_evaluator_inputs_total", "Messages applied, by kind.", { labels: ["kind"] });
  const effects = metrics.counter("aviary_evaluator_effects_total", "Effects performed, by kind.", { labels: ["kind"] });
  metrics.read("gauge", "aviary_evaluator_log_sequence", "Last applied sequence of the log.", () => position());
  // One series per kind is built here, because this is on the hot path.
  const applied: Record<Input["kind"], { inc(): void }> = {
    signal: inputs.series({ kind: "signal" }),
    control: inputs.series({ kind: "control" }),
    unreadable: inputs.series({ kind: "unreadable" }),
    clock: inputs.series({ kind: "clock" }),
    "log-gap": inputs.series({ kind: "log-gap" }),
  };
  return {
    applied: (kind) => applied[kind].inc(),
    performed: (kind) => effects.series({ kind }).inc(),
    position: (read) => {
      position = read;
    },
  };
}
