/** Seeded randomness for the example fleet: the same seed gives the same latencies and the same arrivals. */

/** Uniform in [0, 1), the generator mulberry32 (https://gist.github.com/tommyettinger/46a874533244883189143505d203312c). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A seed for each named part of one fleet: FNV-1a of the name (http://www.isthe.com/chongo/tech/comp/fnv/), mixed with the fleet's seed. */
export function seedOf(name: string, seed: number): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
}

/** The time to the next arrival of a Poisson process, in the unit of `mean`. */
export function exponential(random: () => number, mean: number): number {
  return -Math.log(1 - random()) * mean;
}

/** Lognormal with the given median; `sigma` 0.5 puts the 99th percentile at 3.2 medians. Box-Muller. */
export function lognormal(random: () => number, median: number, sigma: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return median * Math.exp(sigma * normal);
}
