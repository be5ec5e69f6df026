/** Milliseconds since the epoch as ISO-8601 UTC with milliseconds. A conversion, not a reading of the clock. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** The clock time of an instant, for sentences: `10:05:03Z`. */
export function clockText(ms: number): string {
  return `${isoTime(ms).slice(11, 19)}Z`;
}
