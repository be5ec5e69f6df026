/**
 * Bursts that come back. A burst counts as one event, so a burst in one window is no rate; but a service that fails 8% of its
 * requests, always within one minute of each window, fails 8% of its requests.
 */
import type { Counts, WindowRange } from "./counts.ts";
import type { KeyRule } from "./keys.ts";
import { midPValue } from "./p-value.ts";
import { compareRate, MIN_BAD, SINGLE_WINDOW_FACTOR } from "./rule.ts";

const MIN_REPEATED_WINDOWS = 3;
const MIN_BURST = 2;

/** Whether all of these windows, three or more, are so bad that each alone would fail if its bad requests were spread over it. */
export function isRepeated(windows: readonly Counts[], { ceiling, version }: KeyRule): boolean {
  if (version < 3 || windows.length < MIN_REPEATED_WINDOWS) return false;
  return windows.every(
    ({ requests, bad, leftOut }) =>
      leftOut !== true && bad >= MIN_BAD && compareRate(bad, requests, ceiling, SINGLE_WINDOW_FACTOR) >= 0,
  );
}

/**
 * The p-value of the number of bursts: a healthy service has `healthyBad / bursts` of them, and they vary like its rate.
 * @param bursts mean number of bad requests in one, the burst factor
 */
export function burstsPValue(
  { bad, healthyBad, requests, requestSquares }: WindowRange,
  bursts: number,
  { noise, meanVariance }: Pick<KeyRule, "noise" | "meanVariance">,
): number {
  if (bursts < MIN_BURST) return 1;
  const variance = (noise.overdispersion * requestSquares) / (requests * healthyBad) + meanVariance;
  return midPValue(bad / bursts, healthyBad / bursts, variance);
}
