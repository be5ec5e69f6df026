/** The order of the reasons of a verdict. */
import { REASONS, type Reason } from "@aviary/shared/contract/reasons.ts";
import type { Outcome } from "@aviary/shared/contract/verdict.ts";

/**
 * Reasons that require action come first: for a fail, those that failed it; for a hold, faults before traffic that is only
 * suspicious and may be caused by them. One reason per code and gateway.
 */
export function rankReasons(reasons: readonly Reason[], verdict: Outcome): Reason[] {
  const weight = ({ code }: Reason): number => {
    const { effect, hard } = REASONS[code];
    if (code === "latched") return 2;
    if (code === "hold_expired") return 6;
    if (effect === "evidence") return code === "no_run" ? 5 : 4;
    if (verdict === "fail") return effect !== "fail" ? 3 : hard ? 1 : 0;
    return hard ? 0 : effect === "fail" ? 1 : 3;
  };
  const seen = new Set<string>();
  return reasons
    .filter((reason) => {
      const key = `${reason.code}|${reason.gateway ?? ""}|${reason.metric ?? ""}|${reason.text}`;
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    })
    .map((reason, index) => ({ reason, index }))
    .sort((a, b) => weight(a.reason) - weight(b.reason) || a.index - b.index)
    .map((entry) => entry.reason);
}
