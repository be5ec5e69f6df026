/**
 * Random choices from a seed. Every choice of a simulation is drawn from the plan's seed, so a seed determines the whole history.
 */
import { seededRandom } from "../../libs/shared/src/testing/random.ts";

export interface RandomChoices {
  /** Uniform in (0, 1). */
  next(): number;
  /** An integer from `min` to `max`, inclusive. */
  integer(min: number, max: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
}

/** `stream` separates the parts of one seed. */
export function createChoices(seed: number, stream: number): RandomChoices {
  const next = seededRandom(seed, stream);
  const integer = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    integer,
    chance: (probability) => next() < probability,
    pick: (items) => items[integer(0, items.length - 1)]!,
  };
}
