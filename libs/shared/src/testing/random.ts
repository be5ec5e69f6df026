/** The one seeded generator of tests, simulations, benchmarks and the example fleet. */
import { fnv1a } from "../contract/ids.ts";

/** Uniform numbers in (0, 1). */
export type Random = () => number;

/**
 * The generator sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of state from three seeds.
 * Equal seeds give equal sequences on every machine; `stream` and `substream` separate the parts of one seed.
 */
export function seededRandom(seed: number, stream = 0, substream = 0): Random {
  let a = seed | 0;
  let b = stream | 0;
  let c = substream | 0;
  let counter = 1;
  const next = (): number => {
    const t = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    c |= 0;
    return ((t >>> 0) + 0.5) / 2 ** 32;
  };
  for (let k = 0; k < 15; k++) next();
  return next;
}

/** The seed of one named part of a seeded whole. */
export function seedOf(name: string, seed = 0): number {
  return (fnv1a(name) ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
}
