/** A reason with the outcome it demands, and how such demands combine. */
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import { degrades } from "@aviary/shared/contract/reasons.ts";
import type { Outcome } from "@aviary/shared/contract/verdict.ts";

export interface GradedReason {
  readonly outcome: Outcome;
  readonly reason: Reason;
}

/** Any fail is a fail, any hold a hold; a pass requires all to pass. */
export function worstOf(...outcomes: readonly Outcome[]): Outcome {
  if (outcomes.includes("fail")) return "fail";
  return outcomes.includes("hold") ? "hold" : "pass";
}

/** Reasons by weight: failures, faults, missing evidence; otherwise in the given order. */
export function byWeight(graded: readonly GradedReason[]): Reason[] {
  const weight = ({ outcome, reason }: GradedReason) => (outcome === "fail" ? 2 : degrades(reason.code) ? 1 : 0);
  return graded.toSorted((p, q) => weight(q) - weight(p)).map(({ reason }) => reason);
}
