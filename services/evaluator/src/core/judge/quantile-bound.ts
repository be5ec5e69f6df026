/** A lower confidence bound of a quantile by order statistics: no assumption about the distribution. */
import { incompleteBeta } from "./beta.ts";

const BOUND_ERROR = 0.05;

/**
 * The rank, from the slowest observation, of the 95% lower confidence bound of a quantile (David and Nagaraja, Order Statistics,
 * 7.1): the smallest r with P(Y >= r) <= 5%, where Y, the number of observations above the quantile, is binomial; its upper tail
 * is I_share(r, n - r + 1), DLMF 8.17.5.
 * @param total number of observations
 * @returns 1 to `total`, or null if there are too few observations for a bound
 */
export function lowerBoundRank(total: number, quantile: number): number | null {
  const isBound = (rank: number) => incompleteBeta(1 - quantile, quantile, rank, total - rank + 1) <= BOUND_ERROR;
  if (total < 1 || !isBound(total)) return null;
  let [below, rank] = [0, total];
  while (rank - below > 1) {
    const middle = (below + rank) >> 1;
    if (isBound(middle)) rank = middle;
    else below = middle;
  }
  return rank;
}
