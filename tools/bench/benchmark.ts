/** The benchmark interface. */
import type { CreateWorkload } from "./rounds.ts";
import type { MeasuredTarget, TargetId } from "./targets.ts";

export interface BenchmarkResult {
  readonly measurements: readonly MeasuredTarget[];
  /** Context for reading the figures: the peer and the environment. */
  readonly notes: readonly string[];
}

export interface Benchmark {
  /** Contenders that run in separate processes, by name. */
  readonly workloads: Readonly<Record<string, CreateWorkload>>;
  /** Measures. Everything it starts ends when the stack is disposed. */
  run(cleanup: AsyncDisposableStack): Promise<BenchmarkResult>;
}

export interface BenchmarkEntry {
  readonly name: string;
  readonly about: string;
  readonly targets: readonly TargetId[];
  load(): Promise<{ readonly benchmark: Benchmark }>;
}
