/** The result of a rule beside the judged metrics, the same in both modes: an objection with its reasons, or none. */
import type { Outcome } from "@aviary/shared/contract/verdict.ts";
import type { GradedReason } from "./graded-reasons.ts";

export interface MarginalResult {
  readonly outcome: Outcome;
  readonly reasons: readonly GradedReason[];
}

export const NO_OBJECTION: MarginalResult = { outcome: "pass", reasons: [] };
