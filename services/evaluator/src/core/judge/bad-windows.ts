/** Bad windows of a reference: incidents before the run, which must not pass for the noise of a healthy service. */
import type { Counts } from "./counts.ts";
import { EMPTY, withWindow } from "./counts.ts";
import { burstFactor, pValueOf, rateKey, significanceKey } from "./keys.ts";
import { defaultNoise } from "./noise.ts";
import { ALPHA_PART, HEALTHY_SHARE } from "./rule.ts";

/** At most this share of the windows is left out: more of them are not incidents but what the service is like. */
const MAX_LEFT_OUT = 1 / 4;

/**
 * The largest burst that one window may show and still be healthy. An incident that covers a part of a window looks like one enormous
 * burst; kept in the reference, it would make the service pass for one whose failures come in such bursts.
 */
const LARGEST_BURST = 10;

/**
 * Whether the rule would call this window bad, alone and with the default noise: its rate reaches the ceiling, and a healthy
 * service exceeds it with p <= 1/4,000.
 */
export function isBadWindow(window: Counts, ceiling: number): boolean {
  const range = withWindow(EMPTY, { ...window, healthyBad: HEALTHY_SHARE * ceiling * window.requests }, ceiling);
  if (!rateKey(range, ceiling)) return false;
  const noise = defaultNoise(ceiling);
  const bursts = Math.min(burstFactor(range, noise), LARGEST_BURST);
  return significanceKey(range, pValueOf(range, bursts, { noise, meanVariance: 0 }), ALPHA_PART);
}

/**
 * The positions of the bad windows.
 * @param windows the windows of a reference; those without requests are never bad
 * @param ceiling allowed share of bad requests, a ratio
 * @returns nothing if more than a quarter of the windows with requests are bad: then all stay
 */
export function badWindows(windows: readonly Counts[], ceiling: number): ReadonlySet<number> {
  const bad = new Set<number>();
  for (const [k, window] of windows.entries()) if (isBadWindow(window, ceiling)) bad.add(k);
  const used = windows.filter(({ requests }) => requests > 0).length;
  return bad.size <= MAX_LEFT_OUT * used ? bad : new Set();
}
