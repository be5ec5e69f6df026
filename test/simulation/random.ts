/** Chance, drawn from one seed: every choice of a simulation comes from here, so a seed is a whole history. */
import { seededRandom } from "../../libs/shared/src/testing/random.ts";

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** A whole number from `min` to `max`, both included. */
  whole(min: number, max: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
}

/** All choices of one part of a seed; `stream` separates the parts. */
export function createRandom(seed: number, stream: number): Random {
  const next = seededRandom(seed, stream);
  const whole = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    whole,
    chance: (probability) => next() < probability,
    pick: (items) => items[whole(0, items.length - 1)]!,
  };
}
