/**
 * Parses a notification of Argo Rollouts. Its body is the template that docs/controllers.md publishes, because the notification engine
 * defines none. `revision` is the pod template hash, which the analysis passes as well (`podTemplateHashValue: Latest`).
 */
import { z } from "zod";

/** What the template renders for a field that the rollout lacks. */
const NO_VALUE = "<no value>";
const text = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((value) => value !== NO_VALUE);

/** The ends of a rollout. An analysis that failed aborts its rollout. */
const RESULTS = { Completed: "succeeded", Aborted: "failed" } as const;
export const ROLLOUT_PHASES = Object.keys(RESULTS) as (keyof typeof RESULTS)[];

const notificationSchema = z.object({
  namespace: text(253),
  rollout: text(253),
  revision: text(128),
  phase: z.enum(ROLLOUT_PHASES),
});
const compiled = z.compile(notificationSchema);

/** A rollout that ended. */
export interface RolloutEnd {
  readonly namespace: string;
  readonly rollout: string;
  readonly revision: string;
  readonly result: "succeeded" | "failed";
}

/** Parses a notification's body; `undefined` if it is not one, or lacks a field. */
export function readRolloutEnd(body: unknown): RolloutEnd | undefined {
  const parsed = compiled.safeParse(body);
  if (!parsed.success) return undefined;
  const { phase, ...end } = parsed.data;
  return { ...end, result: RESULTS[phase] };
}
