/**
 * The real reducer over a log in simulated time. An input is applied when it is stored, a deadline when it is due. While the
 * evaluator is down, the log grows; afterwards the evaluator continues from its checkpoint.
 */
import type { FleetFile } from "@aviary/shared/contract/fleet.ts";
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Effect } from "../../../services/evaluator/src/core/effects.ts";
import type { Input } from "../../../services/evaluator/src/core/inputs.ts";
import type { State } from "../../../services/evaluator/src/core/state.ts";
import { type Kernel, START_MS } from "../../simulation/kernel.ts";
import type { Product } from "../../simulation/product.ts";

export interface EvaluatorOptions {
  readonly product: Product;
  readonly kernel: Kernel;
  readonly fleet: FleetFile;
  readonly policies: ReadonlyMap<string, Policy>;
  readonly perform: (effect: Effect) => void;
}

type Stored<T> = T extends { readonly sequence: number } ? Omit<T, "sequence" | "storedAtMs"> : never;

export interface SimulatedEvaluator {
  /** Stores inputs now, in order. */
  store(inputs: readonly Stored<Input>[]): void;
  readonly isUp: boolean;
  stop(): void;
  /** Restores the checkpoint and applies what was stored meanwhile. */
  start(): void;
}

/** The delay of a deadline, until the broker's clock has passed it. */
const LAG_MS = 10;

export function createEvaluator(options: EvaluatorOptions): SimulatedEvaluator {
  const { product, kernel, perform } = options;
  const config = product.resolveConfig(options.fleet, options.policies, "policy");
  let state: State = product.createState(config);
  let sequence = 0;
  let isUp = true;
  let armedAtMs = Number.POSITIVE_INFINITY;
  const waiting: Input[] = [];

  const apply = (input: Input): void => {
    const reduced = product.reduce(state, input);
    state = reduced.state;
    for (const effect of reduced.effects) perform(effect);
  };
  const tick = (): void => {
    armedAtMs = Number.POSITIVE_INFINITY;
    if (!isUp) return;
    apply({ kind: "clock", atMs: START_MS + kernel.nowMs });
    arm();
  };
  const arm = (): void => {
    const dueMs = state.nextDeadlineMs - START_MS + LAG_MS;
    if (dueMs >= armedAtMs) return;
    armedAtMs = dueMs;
    kernel.after(Math.max(1, dueMs - kernel.nowMs), undefined, () => {
      if (armedAtMs === dueMs) tick();
    });
  };

  return {
    get isUp() {
      return isUp;
    },
    store(inputs) {
      const storedAtMs = START_MS + kernel.nowMs;
      for (const input of inputs) {
        sequence += 1;
        const stored = { ...input, sequence, storedAtMs } as Input;
        if (isUp) apply(stored);
        else waiting.push(stored);
      }
      if (isUp) arm();
    },
    stop() {
      isUp = false;
    },
    start() {
      if (isUp) return;
      isUp = true;
      const restored = product.decodeCheckpoint(product.encodeCheckpoint(state), config);
      if (restored === undefined) throw new Error("the evaluator cannot read its own checkpoint");
      state = restored;
      for (const input of waiting.splice(0)) apply(input);
      tick();
    },
  };
}
