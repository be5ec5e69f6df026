/** Durations in YAML (`5m`) and in code (milliseconds), and counts in messages. */
import { z } from "zod";

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Parses `250ms`, `60s`, `5m`, `2h`, `7d`; `undefined` for any other text. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text);
  return match ? Math.round(Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]) : undefined;
}

/** Formats milliseconds in the largest unit that divides them: 300000 → `5m`. */
export function formatDuration(ms: number): string {
  for (const unit of ["d", "h", "m", "s"] as const) {
    if (ms >= UNIT_MS[unit] && ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`;
  }
  return `${ms}ms`;
}

/** A count with its noun: `1 signal`, `2 signals`. */
export const formatCount = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** A YAML duration between two inclusive bounds, parsed as milliseconds. */
export function duration(min: string, max: string) {
  const minMs = parseDuration(min) ?? 0;
  const maxMs = parseDuration(max) ?? 0;
  const expected = 'expected a duration such as "5m" or "250ms"';
  return z.string({ error: expected }).transform((text, context): number => {
    const ms = parseDuration(text);
    if (ms === undefined) {
      context.addIssue({ code: "custom", message: `${expected}, found ${JSON.stringify(text)}` });
      return z.NEVER;
    }
    if (ms < minMs || ms > maxMs) {
      context.addIssue({ code: "custom", message: `expected a duration from ${min} to ${max}, found ${text}` });
      return z.NEVER;
    }
    return ms;
  });
}
