/**
 * A closed window as stored in verdict records: sufficient to judge it again under another policy, without the signals.
 *
 * A window is a half-open range of event time, `[start, end)`, divided into five equal sub-windows (slots). It is summarised in
 * cells, one per slice, AZ and traffic source. A cell has five slots, each with its counts and a sparse latency histogram.
 */
import { z } from "zod";
import { latencySparseSchema } from "../histogram.ts";
import { MAX_REASON_TEXT } from "./reasons.ts";
import { count, HTTP_SOURCES, isoTimeSchema, tokenText } from "./signal.ts";

export const slotSchema = z.object({
  requests: count,
  errors_5xx: count,
  /** Absent if a collector did not count them. */
  errors_4xx: count.optional(),
  latency: latencySparseSchema,
});

export const windowSummarySchema = z.object({
  slice: z.enum(["canary", "stable"]),
  az: tokenText,
  source: z.enum(HTTP_SOURCES),
  /**
   * Five, in time order. If a signal covers more than one slot (a period above a fifth of the window), its counts are in the slot
   * of its end and `slotted` is false.
   */
  slots: z.array(slotSchema).length(5),
  slotted: z.boolean(),
  /** Gateways that contributed, and gateways expected by the fleet file in this slice and AZ. */
  gateways: count,
  expected: count,
});

export const windowMetaSchema = z.object({
  start: isoTimeSchema,
  end: isoTimeSchema,
  index: count,
  weight: z.number().min(0).max(100),
});

export const closedWindowSchema = z.object({
  window: windowMetaSchema,
  /** False if a gateway was missing, restarted its collector, or has a gap in its sequence within this window: never a pass. */
  complete: z.boolean(),
  /** Why it is incomplete, one line per cause, at most 8. */
  gaps: z.array(z.string().max(MAX_REASON_TEXT)).max(8),
  /** Signals for an earlier window that arrived after it had closed. */
  late: count,
  /** Newest depth of the canary's lane in the AZ under test within this window; null if none was reported. */
  queue_depth: count.nullable(),
  cells: z.array(windowSummarySchema).max(256),
});

export type WindowSlot = z.infer<typeof slotSchema>;
export type WindowSummary = z.infer<typeof windowSummarySchema>;
export type WindowMeta = z.infer<typeof windowMetaSchema>;
export type ClosedWindow = z.infer<typeof closedWindowSchema>;
