/** The benchmark interface. */
import type { MakeContestant } from "./rounds.ts";
import type { Measurement, TargetId } from "./targets.ts";

export interface Outcome {
  readonly measurements: readonly Measurement[];
  /** Context for reading the figures: the peer and the environment. */
  readonly notes: readonly string[];
}

export interface Benchmark {
  /** Contenders that run in separate processes, by name. */
  readonly contestants: Readonly<Record<string, MakeContestant>>;
  /** Measures. Everything it starts ends when the stack is disposed. */
  run(cleanup: AsyncDisposableStack): Promise<Outcome>;
}

export interface Entry {
  readonly name: string;
  readonly about: string;
  readonly targets: readonly TargetId[];
  load(): Promise<{ readonly benchmark: Benchmark }>;
}
