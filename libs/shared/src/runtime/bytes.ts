/** Sizes in configuration files (`64MiB`) and in code (bytes). Durations: `contract/units.ts`. Pure. */
import { z } from "zod";

const UNIT_BYTES = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

/** Parses `512B`, `64KiB`, `64MiB`, `2GiB`, `1TiB` (whole numbers); `undefined` for any other text. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,13})(B|KiB|MiB|GiB|TiB)$/.exec(text);
  const size = match ? Number(match[1]) * UNIT_BYTES[match[2] as keyof typeof UNIT_BYTES] : Number.NaN;
  return Number.isSafeInteger(size) ? size : undefined;
}

/** Formats bytes in the largest unit that divides them: 67108864 → `64MiB`. */
export function formatBytes(size: number): string {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"] as const) {
    if (size >= UNIT_BYTES[unit] && size % UNIT_BYTES[unit] === 0) return `${size / UNIT_BYTES[unit]}${unit}`;
  }
  return `${size}B`;
}

/** A YAML size between two inclusive bounds, parsed as bytes. */
export function bytes(min: string, max: string) {
  const [least, most] = [parseBytes(min), parseBytes(max)];
  if (least === undefined || most === undefined || least > most) throw new RangeError(`invalid size range: ${min} to ${max}`);
  return z.string().transform((text, context): number => {
    const size = parseBytes(text);
    if (size !== undefined && size >= least && size <= most) return size;
    context.addIssue({
      code: "custom",
      message: `a size from ${min} to ${max}, such as "${max}" (units B, KiB, MiB, GiB, TiB)`,
      input: text,
    });
    return z.NEVER;
  });
}
