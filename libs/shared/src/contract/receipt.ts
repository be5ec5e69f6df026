/** A receipt: one step of one promotion on one Mac. Receipts are the history; finished jobs are removed. */
import { z } from "zod";
import { hash64, isoTimeSchema } from "./signal.ts";

export const receiptSchema = z.object({
  plan: z.string().regex(/^[0-9a-f]{16}$/),
  job: z.string().max(80),
  phase: z.enum(["refused", "started", "switched", "rolled_back", "failed"]),
  gateway: z.object({ az: z.string(), fleet: z.string(), gateway: z.string() }),
  kind: z.enum(["skills", "gateway"]),
  hash_before: hash64.nullable(),
  hash_after: hash64.nullable(),
  /** The fencing token of the step; null for a rejection before the lock was acquired. */
  fence: z.int().min(0).nullable(),
  reason: z.string().max(300),
  at: isoTimeSchema,
});
export type Receipt = z.infer<typeof receiptSchema>;
