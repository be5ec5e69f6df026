/**
 * Windows that stable accounts for leave the sums of the run: an outage of both slices is no evidence for or against the canary,
 * and must not outweigh the hours after it. They stay in the series, marked, and in the records.
 */
import type { Counts } from "./counts.ts";
import { EMPTY, withWindow } from "./counts.ts";
import type { KeyRule } from "./keys.ts";
import { environmentKey, rateKey } from "./keys.ts";
import { compareRate } from "./rule.ts";

/** Whether, in this window alone, both slices reach the ceiling and stable accounts for the canary. */
export function isSharedWindow(window: Counts, rule: KeyRule): boolean {
  const { stableBad, comparedRequests } = window;
  if (comparedRequests <= 0 || compareRate(stableBad, comparedRequests, rule.ceiling) < 0) return false;
  return rateKey(window, rule.ceiling) && !environmentKey(withWindow(EMPTY, window, rule.ceiling), rule);
}

/**
 * The windows, with the shared ones among the last `count` marked.
 * @param count number of windows of the range that stable accounts for
 */
export function markShared(windows: readonly Counts[], count: number, rule: KeyRule): readonly Counts[] {
  if (count === 0) return windows;
  const from = windows.length - count;
  return windows.map((window, k) =>
    k < from || window.leftOut === true || !isSharedWindow(window, rule) ? window : { ...window, leftOut: true },
  );
}

/** The windows, marked where those of another series of the same scope are. */
export function markLike(windows: readonly Counts[], other: readonly Counts[]): readonly Counts[] {
  return windows.map((window, k) => (other[k]?.leftOut === true ? { ...window, leftOut: true } : window));
}
