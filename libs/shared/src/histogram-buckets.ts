/**
 * The bucket layout of `histogram.ts`: bucket i at scale s covers (2^(i/2^s), 2^((i+1)/2^s)] milliseconds, within a fixed range.
 * Every double is assigned to the bucket that exact arithmetic would select, on every machine.
 */

export const MAX_SCALE = 8;
const MIN_OCTAVE = -10;
const MAX_OCTAVE = 27;
/** 2^-10 ms; values at or below it are counted as zero. */
export const MIN_VALUE_MS = 2 ** MIN_OCTAVE;
/** 2^27 ms; values above it are counted in the last bucket. */
export const MAX_VALUE_MS = 2 ** MAX_OCTAVE;
/** Number of buckets in the range at the finest scale. */
export const MAX_BUCKETS = (MAX_OCTAVE - MIN_OCTAVE) << MAX_SCALE;

/** Index of the first bucket of the range. */
export function minIndex(scale: number): number {
  return MIN_OCTAVE << scale;
}

/** Index of the last bucket of the range. */
export function maxIndex(scale: number): number {
  return (MAX_OCTAVE << scale) - 1;
}

/** Index of the bucket of a finite value; one less than the first index if the value belongs in `zero`. */
export function bucketOf(value: number, scale: number): number {
  if (value <= MIN_VALUE_MS) return minIndex(scale) - 1;
  if (value >= MAX_VALUE_MS) return maxIndex(scale);
  // The logarithm is only an estimate: rounding moves the double just above an edge below it at 2,036 of the 2,368 edges at scale
  // 6.
  const guess = Math.ceil(Math.log2(value) * (1 << scale)) - 1;
  if (value > lowerEdge(guess + 1, scale)) return guess + 1;
  return value <= lowerEdge(guess, scale) ? guess - 1 : guess;
}

/** Harmonic mean of the two edges: the estimate with the smallest relative error over the bucket. */
export function estimateOf(index: number, scale: number): number {
  const lower = lowerEdge(index, scale);
  const upper = lowerEdge(index + 1, scale);
  return (2 * lower * upper) / (lower + upper);
}

/** The largest double not above 2^(index / 2^scale), for indexes up to one octave outside the range. */
export function lowerEdge(index: number, scale: number): number {
  const withinOctave = index & ((1 << scale) - 1);
  return EDGES[withinOctave << (MAX_SCALE - scale)]! * OCTAVES[(index >> scale) - MIN_OCTAVE + 1]!;
}

/** 2^octave, from one octave below the range to one above. */
const OCTAVES = Float64Array.from({ length: MAX_OCTAVE - MIN_OCTAVE + 3 }, (_, k) => 2 ** (k + MIN_OCTAVE - 1));

/**
 * 2^(k/256) for k in 0..255, rounded down to a double. Edges are irrational, so with edges rounded down, `value <= edge` is true
 * for exactly the doubles for which it is true mathematically. Computed with integers of 128 fractional bits instead of Math.pow,
 * whose last bit differs between builds: the same latency must be assigned to the same bucket on every machine.
 */
const EDGES = exactEdges();

function exactEdges(): Float64Array {
  const bits = 128n;
  let step = 2n << bits;
  for (let n = 0; n < MAX_SCALE; n++) step = squareRoot(step << bits);
  const edges = new Float64Array(1 << MAX_SCALE);
  let edge = 1n << bits;
  for (let k = 0; k < edges.length; k++) {
    edges[k] = Number(edge >> (bits - 52n)) / 2 ** 52;
    edge = (edge * step) >> bits;
  }
  return edges;
}

/** Integer square root, rounded down, by Newton's method from above; `n` below 2^258. */
function squareRoot(n: bigint): bigint {
  let root = 1n << 129n;
  for (let next = (root + n / root) >> 1n; next < root; next = (root + n / root) >> 1n) root = next;
  return root;
}
