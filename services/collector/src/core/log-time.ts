/** Parses times and durations in the formats of log writers. Nothing is guessed: a value without its zone or unit is rejected. */

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `21/Nov/2026:05:28:50 +0100` as milliseconds since the epoch; undefined for any other text. */
function readLocalTime(text: string): number | undefined {
  const match = /^(\d{2})\/([A-Z][a-z]{2})\/(\d{4}):(\d{2}:\d{2}:\d{2}) ([+-]\d{2})(\d{2})$/.exec(text);
  const month = match === null ? -1 : MONTHS.indexOf(match[2] as string);
  if (match === null || month === -1) return undefined;
  return instantOf(`${match[3]}-${String(month + 1).padStart(2, "0")}-${match[1]}T${match[4]}${match[5]}:${match[6]}`);
}

/**
 * An instant as milliseconds since the epoch: a number (or its text) of seconds, milliseconds, microseconds or nanoseconds since
 * the epoch, which differ by magnitude for every year from 1973 to 5138; ISO 8601 with a zone; or the time of the Common Log
 * Format. Undefined for anything else, such as a time without a zone.
 */
export function readInstant(value: unknown): number | undefined {
  if (typeof value === "number") return instantOfNumber(value);
  if (typeof value !== "string") return undefined;
  if (/^\d+(?:\.\d+)?$/.test(value)) return instantOfNumber(Number(value));
  const iso = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:[.,](\d+))?(?:(Z)|([+-]\d{2}):?(\d{2}))$/i.exec(value);
  if (iso === null) return readLocalTime(value);
  const [, date, time, fraction = "0", utc, hours, minutes] = iso;
  return instantOf(`${date}T${time}.${fraction.slice(0, 3).padEnd(3, "0")}${utc === undefined ? `${hours}:${minutes}` : "Z"}`);
}

function instantOfNumber(value: number): number | undefined {
  if (!Number.isFinite(value) || value <= 0) return undefined;
  const ms = value < 1e11 ? value * 1_000 : value < 1e14 ? value : value < 1e17 ? value / 1_000 : value / 1_000_000;
  return ms < 8.64e15 ? ms : undefined;
}

function instantOf(iso: string): number | undefined {
  const at = Date.parse(iso);
  return Number.isNaN(at) || at <= 0 ? undefined : at;
}

/** Units of a duration: the number of milliseconds in one. */
const UNITS = { s: 1_000, ms: 1, us: 1e-3, ns: 1e-6 } as const;
export const DURATION_UNITS = ["s", "ms", "us", "ns"] as const;
export type DurationUnit = (typeof DURATION_UNITS)[number];

/** A number (or its text) of `unit` as milliseconds; undefined unless it is a finite number of at least 0. */
export function readDuration(value: unknown, unit: DurationUnit): number | undefined {
  const number = typeof value === "string" && /^\d+(?:\.\d+)?$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) && number >= 0 ? number * UNITS[unit] : undefined;
}

const GO_UNITS: Readonly<Record<string, number>> = {
  ...UNITS,
  h: 3_600_000,
  m: 60_000,
  µs: UNITS.us,
  μs: UNITS.us,
};

/** A duration as Go prints it, such as `1m2.5s` or `340.25µs`, as milliseconds; undefined for any other text. */
export function readGoDuration(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs|μs|ns))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|μs|ns)/g))
    ms += Number(number) * (GO_UNITS[unit as string] as number);
  return ms;
}
