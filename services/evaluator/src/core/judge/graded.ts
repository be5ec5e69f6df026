/** A reason with what it asks for, and how such demands add up. */
import type { Reason } from "@aviary/shared/contract/reasons.ts";
import { degrades } from "@aviary/shared/contract/reasons.ts";
import type { Outcome } from "@aviary/shared/contract/verdict.ts";

export interface Graded {
  readonly outcome: Outcome;
  readonly reason: Reason;
}

/** Any fail is a fail, any hold a hold; a pass needs all. */
export function worstOf(...outcomes: readonly Outcome[]): Outcome {
  if (outcomes.includes("fail")) return "fail";
  return outcomes.includes("hold") ? "hold" : "pass";
}

/** The reasons by weight: what fails, what is wrong, what is only missing; otherwise in the order given. */
export function byWeight(graded: readonly Graded[]): Reason[] {
  const weight = ({ outcome, reason }: Graded) => (outcome === "fail" ? 2 : degrades(reason.code) ? 1 : 0);
  return graded.toSorted((p, q) => weight(q) - weight(p)).map(({ reason }) => reason);
}
