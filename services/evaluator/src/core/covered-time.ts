/**
 * The event time that the signals of one gateway cover: disjoint ranges in order. Each signal covers the period before its
 * `observed_at`; ranges of event time without a signal are holes, regardless of the newest signal.
 */

/** A range of event time `[fromMs, toMs)`. */
interface TimeRange {
  fromMs: number;
  toMs: number;
}

export interface CoveredTime {
  readonly ranges: TimeRange[];
  /** The shortest period of its signals, milliseconds; 0 before the first one. */
  shortestMs: number;
}

/**
 * Ranges of one gateway in one window. A gateway that leaves more holes than this covers too little of a window anyway, so
 * further ranges are dropped: the coverage is then too low, never too high.
 */
const MAX_RANGES = 64;

export function createCoveredTime(): CoveredTime {
  return { ranges: [], shortestMs: 0 };
}

/** Adds `[toMs - periodMs, toMs)`. */
export function addCovered(covered: CoveredTime, toMs: number, periodMs: number): void {
  const fromMs = toMs - periodMs;
  covered.shortestMs = covered.shortestMs === 0 ? periodMs : Math.min(covered.shortestMs, periodMs);
  const { ranges } = covered;
  const last = ranges[ranges.length - 1];
  if (last !== undefined && fromMs >= last.fromMs && fromMs <= last.toMs) {
    if (toMs > last.toMs) last.toMs = toMs;
    return;
  }
  insertRange(ranges, { fromMs, toMs });
}

/** Inserts a range in order and joins it with those that it touches. */
function insertRange(ranges: TimeRange[], range: TimeRange): void {
  let first = 0;
  while (first < ranges.length && ranges[first]!.toMs < range.fromMs) first += 1;
  let end = first;
  const joined = { ...range };
  while (end < ranges.length && ranges[end]!.fromMs <= range.toMs) {
    joined.fromMs = Math.min(joined.fromMs, ranges[end]!.fromMs);
    joined.toMs = Math.max(joined.toMs, ranges[end]!.toMs);
    end += 1;
  }
  if (end === first && ranges.length >= MAX_RANGES) return;
  ranges.splice(first, end - first, joined);
}

/**
 * The share of `[startMs, endMs)` that is covered, a ratio. What happens after the last signal of a window is reported by the
 * first signal of the next one, so up to one period, the shortest, at the end of the window counts as covered.
 * @param cadenceMs the gateway's own period; all reports of a window may be longer, because failed ones preceded them
 */
export function coveredRatio({ ranges, shortestMs }: CoveredTime, startMs: number, endMs: number, cadenceMs: number): number {
  if (endMs <= startMs) return 1;
  let sumMs = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  for (const { fromMs, toMs } of ranges) {
    const clippedMs = Math.min(toMs, endMs) - Math.max(fromMs, startMs);
    if (clippedMs <= 0) continue;
    sumMs += clippedMs;
    lastMs = Math.min(toMs, endMs);
  }
  if (sumMs === 0) return 0;
  return (sumMs + Math.min(shortestMs, cadenceMs, endMs - lastMs)) / (endMs - startMs);
}
