/** What a benchmark is. */
import type { MakeContestant } from "./rounds.ts";
import type { Measurement, TargetId } from "./targets.ts";

export interface Outcome {
  readonly measurements: readonly Measurement[];
  /** What one has to know to read the figures: who was compared, on what. */
  readonly notes: readonly string[];
}

export interface Benchmark {
  /** What runs in processes of its own, by name. */
  readonly contestants: Readonly<Record<string, MakeContestant>>;
  /** Measures. Whatever it starts ends when the stack is disposed. */
  run(cleanup: AsyncDisposableStack): Promise<Outcome>;
}

export interface Entry {
  readonly name: string;
  readonly about: string;
  readonly targets: readonly TargetId[];
  load(): Promise<{ readonly benchmark: Benchmark }>;
}
