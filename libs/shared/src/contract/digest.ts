/** A digest: one message to people per canary and interval, instead of one per retry. */
import { z } from "zod";
import { reasonSchema } from "./reasons.ts";
import { isoTimeSchema } from "./signal.ts";

export const DIGEST_REASONS = ["first_failure", "new_failures", "held_too_long", "recovered", "repeat"] as const;

export const digestSchema = z.object({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  dedup_key: z.string().max(200),
  why_now: z.enum(DIGEST_REASONS),
  at: isoTimeSchema,
  subject: z.object({ namespace: z.string(), name: z.string(), fleet: z.string() }),
  azs: z.array(z.string().max(63)).max(32),
  measurement_index: z.int().min(0).nullable(),
  reasons: z.array(reasonSchema).max(5),
  /** Changes since the last pass: version, hash, weight, promotion. */
  changes: z
    .array(z.object({ what: z.string().max(40), before: z.string().max(128).nullable(), after: z.string().max(128).nullable() }))
    .max(16),
  suppressed: z.int().min(0),
  text: z.string().max(4_000),
});
export type Digest = z.infer<typeof digestSchema>;
