/**
 * The lane record: the queue depth that KEDA receives for one build queue, with reasons. Latest per lane in the key-value bucket
 * `lane`.
 */
import { z } from "zod";
import { reasonSchema } from "./reasons.ts";
import { count, isoTimeSchema } from "./signal.ts";

export const laneRecordSchema = z.object({
  lane: z.string().max(63),
  canary: z.string().max(128),
  at: isoTimeSchema,
  /** The actual length of the queue. */
  depth_true: count,
  /** The gated depth: the true depth, capped at perReplica × the allowed replicas. */
  depth: count,
  /** ceil(depth / perReplica), and at least the lane's minimum unless a cap is lower; unchanged while the depth is unknown. */
  replicas: count,
  max_replicas: count,
  /** 0 if growth is blocked, otherwise 1. */
  allow: z.literal([0, 1]),
  degraded_ticks: count,
  /** When `replicas` last changed; null before the first change. */
  changed_at: isoTimeSchema.nullable(),
  reasons: z.array(reasonSchema).max(5),
});
export type LaneRecord = z.infer<typeof laneRecordSchema>;

const compiled = z.compile(laneRecordSchema);
export const parseLaneRecord = (value: unknown): z.ZodSafeParseResult<LaneRecord> => compiled.safeParse(value);
