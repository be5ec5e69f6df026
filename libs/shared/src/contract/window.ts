/**
 * A closed window as stored in verdict records: sufficient to judge it again under another policy, without the signals.
 *
 * A window is a half-open range of event time, `[start, end)`, divided into five equal sub-windows (slots). It is summarized in
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

/** Why reported requests were excluded from a window. */
export const EXCLUSIONS = [
  /** Reported during the warm-up of the run, or by a gateway in its warm-up. */
  "warming",
  /** Reported by a gateway in maintenance, or while the canary was paused or in maintenance. */
  "maintenance",
  /** Stored after their own window had closed; counted in the window that was open then. */
  "late",
  /** Reported with an implausible time or sequence number. */
  "lost",
  /** Reported for a period longer than a window, so that the window cannot be determined. */
  "unslotted",
  /** Lines of an access log that the collector could not read. */
  "unread",
] as const;
export type Exclusion = (typeof EXCLUSIONS)[number];

/**
 * The account of one slice's requests in one window, of the traffic that the policy selects: `seen` is `merged` plus `excluded`.
 */
export const sliceAccountSchema = z.object({
  slice: z.enum(["canary", "stable"]),
  seen: count,
  merged: count,
  /** Excluded requests by cause; a cause without requests is absent. */
  excluded: z.partialRecord(z.enum(EXCLUSIONS), count),
});
export type SliceAccount = z.infer<typeof sliceAccountSchema>;

export const windowMetaSchema = z.object({
  start: isoTimeSchema,
  end: isoTimeSchema,
  index: count,
  /** The canary's weight at the close, percent; null if unknown. */
  weight: z.number().min(0).max(100).nullable(),
});

export const closedWindowSchema = z.object({
  window: windowMetaSchema,
  /**
   * False if a gateway was missing, restarted its collector, has a gap in its sequence or covers too little of the window, or if
   * too many requests were excluded: never a pass.
   */
  complete: z.boolean(),
  /** Set if it is incomplete only because it contains the warm-up of the run. */
  warm_up: z.literal(true).optional(),
  /** Why it is incomplete, one line per cause, at most 8. */
  gaps: z.array(z.string().max(MAX_REASON_TEXT)).max(8),
  /** Signals for an earlier window that arrived after it had closed. */
  late: count,
  /** Newest depth of the canary's lane in the AZ under test within this window; null if none was reported. */
  queue_depth: count.nullable(),
  /** Absent in records of versions that did not account for requests. */
  accounts: z.array(sliceAccountSchema).max(2).optional(),
  cells: z.array(windowSummarySchema).max(256),
});

export type WindowSlot = z.infer<typeof slotSchema>;
export type WindowSummary = z.infer<typeof windowSummarySchema>;
export type WindowMeta = z.infer<typeof windowMetaSchema>;
export type ClosedWindow = z.infer<typeof closedWindowSchema>;
