/** Ids derived from content: the same content has the same id on every machine, which makes repetition idempotent. */
import { createHash } from "node:crypto";

/** SHA-256 of a string (UTF-8) or of bytes, 64 lower-case hex digits. */
export function sha256Hex(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/**
 * FNV-1a over UTF-16 code units, 32 bits, unsigned (http://www.isthe.com/chongo/tech/comp/fnv/): distributes names; not a
 * cryptographic hash.
 */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

/** SHA-256 of sorted lines, each ending in a line feed: a directory tree, or one subdirectory. */
export function hashLines(lines: readonly string[]): string {
  return sha256Hex(lines.map((line) => `${line}\n`).join(""));
}

/**
 * JSON with object keys in code-unit order and without `undefined`, so that equal values have equal bytes.
 * Numbers are formatted as by JSON.stringify; NaN and infinities are programming errors and throw.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new TypeError(`canonicalJson: ${value} has no JSON form`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(",")}]`;
  if (typeof value === "object") {
    const record = value as Record<string, unknown>;
    const parts: string[] = [];
    for (const key of Object.keys(record).sort()) {
      if (record[key] !== undefined) parts.push(`${JSON.stringify(key)}:${canonicalJson(record[key])}`);
    }
    return `{${parts.join(",")}}`;
  }
  throw new TypeError(`canonicalJson: cannot serialize a ${typeof value}`);
}

/** The first `digits` hex digits of the SHA-256 of the canonical form: 16 for verdicts and incidents, 12 for revisions. */
export function contentId(value: unknown, digits = 16): string {
  return sha256Hex(canonicalJson(value)).slice(0, digits);
}
