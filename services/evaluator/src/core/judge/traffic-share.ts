/**
 * The canary's share of the requests against its weight. A canary that sheds its load, or that the balancer no longer reaches,
 * looks healthy in what is left; so a share of less than half the weight is a hold.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { ALL_WEIGHT } from "./coverage.ts";
import { fitClauses, grouped, percent, roundedFigure } from "./format.ts";
import type { WindowFigures } from "./literal.ts";
import type { MarginalResult } from "./marginal-result.ts";
import { NO_OBJECTION } from "./marginal-result.ts";
import { lowerTail } from "./p-value.ts";

/** Below this part of the expected requests, traffic is missing. */
const MIN_PART = 0.5;
const ALPHA_MISSING = 0.001;
/** Intra-class correlation of the split: balancers split by connection or session, not by request. */
const SPLIT_OVERDISPERSION = 0.01;

/**
 * @param windows oldest first; the last one is judged. The weight of a window is that at its end, so the smaller one of the last
 *   two ends is expected; a run's first window is not judged
 */
export function trafficShareRule(
  windows: readonly ClosedWindow[],
  { canary, stable }: WindowFigures,
  policy: Policy,
): MarginalResult {
  const [before, last] = [windows.at(-2), windows.at(-1)];
  if (policy.traffic !== "real" || before === undefined || last === undefined || !last.complete) return NO_OBJECTION;
  // Without a known weight there is nothing to compare with; the gates treat it as unknown.
  if (before.window.weight === null || last.window.weight === null) return NO_OBJECTION;
  const weight = Math.min(before.window.weight, last.window.weight);
  if (!(weight > 0 && weight < ALL_WEIGHT) || stable.requests === 0) return NO_OBJECTION;
  const share = weight / ALL_WEIGHT;
  const all = canary.requests + stable.requests;
  const expected = share * all;
  if (canary.requests >= MIN_PART * expected || pMissing(canary.requests, expected, share) > ALPHA_MISSING) return NO_OBJECTION;
  const reason: Reason = {
    code: "traffic_missing",
    metric: "canary_share",
    value: roundedFigure(canary.requests / all),
    limit: roundedFigure(MIN_PART * share),
    unit: "1",
    text: fitClauses(
      `${grouped(canary.requests)} of ${grouped(all)} requests reached the canary in this window (${percent(canary.requests / all)})`,
      `, ${grouped(expected)} expected at a weight of ${Number(weight.toPrecision(3))}%`,
    ),
  };
  return { outcome: "hold", reasons: [{ outcome: "hold", reason }] };
}

/**
 * Probability of so few requests or fewer: a negative binomial with the mean and the variance of a beta-binomial split,
 * E (1 - share) (1 + (E - 1) rho), as a lower tail of the chi-square test with overdispersion.
 */
function pMissing(requests: number, expected: number, share: number): number {
  const variance = expected * (1 - share) * (1 + Math.max(0, expected - 1) * SPLIT_OVERDISPERSION);
  return lowerTail(requests, expected, Math.max(1e-9, (variance - expected) / (expected * expected)));
}
