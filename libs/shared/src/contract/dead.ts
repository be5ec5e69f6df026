/**
 * A dead letter: a message that failed validation, with the reason. Such messages are never dropped silently and never applied.
 */
import { z } from "zod";
import { isoTimeSchema } from "./signal.ts";

export const DEAD_REASONS = [
  "bad_subject",
  "bad_json",
  "bad_shape",
  "too_large",
  "wrong_identity",
  "unknown_version",
  "from_the_future",
  "impossible_counts",
] as const;
export type DeadReason = (typeof DEAD_REASONS)[number];

/** Longer texts are cut, characters. */
export const MAX_DEAD_TEXT = 300;
export const MAX_DEAD_SUBJECT = 320;
export const MAX_DEAD_EXCERPT = 512;

export const deadLetterSchema = z.object({
  service: z.string().max(40),
  reason: z.enum(DEAD_REASONS),
  text: z.string().max(MAX_DEAD_TEXT),
  subject: z.string().max(MAX_DEAD_SUBJECT),
  sequence: z.int().min(0),
  stored_at: isoTimeSchema,
  /** The start of the payload as text, without control characters. */
  excerpt: z.string().max(MAX_DEAD_EXCERPT),
  /** The number of messages of the same sender and reason that were suppressed since the last dead letter. */
  suppressed: z.int().min(0),
});
export type DeadLetter = z.infer<typeof deadLetterSchema>;
