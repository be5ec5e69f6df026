/**
 * Effects as values. Each has an id derived from content, so that performing it twice has the result of performing it once.
 * The list of one step is in the order in which it must be performed: incidents, verdict, lanes and demand, checkpoint.
 */
import type { DeadLetter } from "@aviary/shared/contract/dead.ts";
import type { Incident } from "@aviary/shared/contract/incident.ts";
import type { LaneRecord } from "@aviary/shared/contract/lane.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";

export type Effect =
  | { readonly kind: "dead"; readonly id: string; readonly letter: DeadLetter }
  | { readonly kind: "incident"; readonly incident: Incident }
  | { readonly kind: "verdict"; readonly record: VerdictRecord }
  | { readonly kind: "lane"; readonly record: LaneRecord }
  /** The durable consumer of this lane must have this many pending messages. */
  | { readonly kind: "demand"; readonly lane: string; readonly depth: number }
  /** Save the state after this step. */
  | { readonly kind: "checkpoint" };

export const NO_EFFECTS: readonly Effect[] = [];

const ORDER: Readonly<Record<Effect["kind"], number>> = { dead: 0, incident: 1, verdict: 2, lane: 3, demand: 4, checkpoint: 5 };

/** People are notified before KEDA adds replicas, and a checkpoint never points past a pending effect. Stable within a kind. */
export function inOrder(effects: readonly Effect[]): readonly Effect[] {
  return effects.length < 2 ? effects : [...effects].sort((a, b) => ORDER[a.kind] - ORDER[b.kind]);
}
