/**
 * Whether stable is too small to show that it is affected too. The environment key compares with stable's rate, which few requests
 * do not show: next to 100 requests of stable, an incident of 2% is two errors.
 */
import { incompleteBeta } from "./beta.ts";
import type { WindowRange } from "./counts.ts";

/** Stable would be expected to have this many bad requests at the canary's rate; with fewer, the comparison shows nothing. */
const MIN_EXPECTED_ON_STABLE = 3;
const EQUAL_RATES_ERROR = 0.05;

type Compared = Pick<WindowRange, "comparedBad" | "comparedRequests" | "stableBad" | "stableRequests">;

/**
 * Probability that at least as many of all bad requests are on the canary if both slices have the same rate: the upper tail of the
 * binomial distribution of X + Xs trials with the canary's share of the requests, I_share(X, Xs + 1) (DLMF 8.17.5). Xs is
 * stable's number of bad requests at the canary's traffic between AZs and windows, hence a real number.
 */
export function equalRatesPValue({ comparedBad, comparedRequests, stableBad, stableRequests }: Compared): number {
  if (comparedBad <= 0 || stableRequests <= 0) return 1;
  const all = comparedRequests + stableRequests;
  const badOnStable = (stableBad * stableRequests) / comparedRequests;
  return incompleteBeta(comparedRequests / all, stableRequests / all, comparedBad, badOnStable + 1);
}

/** Whether stable would show the canary's rate, and what it shows is consistent with that rate. */
export function isConsistentWithStable(range: Compared): boolean {
  const { comparedBad, comparedRequests, stableRequests } = range;
  if (comparedBad * stableRequests < MIN_EXPECTED_ON_STABLE * comparedRequests) return false;
  return comparedRequests > 0 && equalRatesPValue(range) > EQUAL_RATES_ERROR;
}
