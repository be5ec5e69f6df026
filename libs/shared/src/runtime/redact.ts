/**
 * Removes secrets from text and values before they reach people or log stores. Two rules combine: the form of a secret (a bearer
 * token, a password in a URL, our own token prefix), and the name of its field (a key such as `password` or `x-api-key`).
 * Hiding a harmless word occasionally is acceptable; showing a secret is not.
 */

/** The replacement for a secret. */
export const HIDDEN = "[hidden]";

const SECRET_WORDS =
  "tokens?|secrets?|passwords?|passwd|passphrase|pwd|authorization|cookie|api[-_]?keys?|private[-_]?keys?|access[-_]?keys?|credentials?|signature";
const SECRET_KEY = new RegExp(`(?:${SECRET_WORDS})$`, "i");

/** Whether the value of a field, header, query parameter or YAML key with this name is a secret. */
export function isSecretName(name: string): boolean {
  return SECRET_KEY.test(name);
}

// Every pattern is linear in the length of the text: no nested or adjacent repetition over the same characters.
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // scheme://user:password@host, also scheme://token@host; up to the last @ before the path.
  [/([a-z][a-z0-9+.-]{0,31}:\/\/)[^\s/?#"]*@/gi, `$1${HIDDEN}@`],
  // A whole header: "authorization: Basic …", "cookie: a=b; c=d".
  [/((?:proxy-)?authorization|(?:set-)?cookie)(\\*["']?\s*[:=]\s*\\*["']?)[^"'\\\r\n]+/gi, `$1$2${HIDDEN}`],
  [/\b(bearer|basic)(\s+)[^\s"']+/gi, `$1$2${HIDDEN}`],
  // key=value, key: value, "key":"value" (also escaped once more, as in JSON inside JSON).
  [
    new RegExp(
      `(${SECRET_WORDS})(\\\\*["']?\\s*[:=]\\s*)(?:"(?:[^"\\\\]|\\\\.)*"?|'(?:[^'\\\\]|\\\\.)*'?|\\\\+"[^"]*"?|[^\\s"'&,;]+)`,
      "gi",
    ),
    `$1$2${HIDDEN}`,
  ],
  // Formats that are always secrets: our own tokens, JSON web tokens, Slack tokens and webhook paths, key files.
  [/avy_[A-Za-z0-9_-]{8,}/g, HIDDEN],
  [/eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}/g, HIDDEN],
  [/xox[a-z]-[A-Za-z0-9-]+/g, HIDDEN],
  [/(hooks\.slack\.com\/)[^\s"']+/gi, `$1${HIDDEN}`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?/g, HIDDEN],
];

const MAX_READ_CHARS = 65_536;
const MAX_TEXT_CHARS = 8_192;
const MAX_DEPTH = 8;
const MAX_ENTRIES = 100;

/** The text without secrets, truncated to 8,192 characters. Text beyond 65,536 characters is neither scanned nor shown. */
export function redactText(text: string): string {
  let clean = text.length > MAX_READ_CHARS ? text.slice(0, MAX_READ_CHARS) : text;
  for (const [pattern, replacement] of PATTERNS) clean = clean.replace(pattern, replacement);
  if (text.length <= MAX_TEXT_CHARS && clean.length <= MAX_TEXT_CHARS) return clean;
  const shown = clean.slice(0, MAX_TEXT_CHARS);
  return `${shown}… (${text.length} characters)`;
}

/**
 * A plain copy of any JSON-compatible value, without secrets. Never throws. At most 8 levels deep and 100 entries wide; omissions
 * are marked.
 * Errors become `{ type, code, message, stack, cause }`, byte arrays their length, maps and sets their entries.
 */
export function redactValue(value: unknown): unknown {
  return copy(value, 0);
}

function copy(value: unknown, depth: number): unknown {
  try {
    switch (typeof value) {
      case "string":
        return redactText(value);
      case "number":
        return Number.isFinite(value) ? value : String(value);
      case "bigint":
        return String(value);
      case "object":
        return value === null ? null : copyObject(value, depth);
      case "boolean":
      case "undefined":
        return value;
      default:
        return `[${typeof value}]`;
    }
  } catch {
    return "[unreadable]";
  }
}

function copyObject(value: object, depth: number): unknown {
  if (depth >= MAX_DEPTH) return "[too deep]";
  if (value instanceof Error) return copyError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "[invalid date]" : value.toISOString();
  if (value instanceof URL) return redactText(value.href);
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (value instanceof Map) return copyEntries([...value.entries()], depth);
  if (value instanceof Set) return copyList([...value], depth);
  if (Array.isArray(value)) return copyList(value, depth);
  if ("toJSON" in value && typeof value.toJSON === "function") return copy(value.toJSON(), depth + 1);
  return copyEntries(Object.entries(value), depth);
}

function copyList(list: readonly unknown[], depth: number): unknown[] {
  const out = list.slice(0, MAX_ENTRIES).map((entry, index) => {
    // Raw header lists alternate name and value.
    const before = index > 0 ? list[index - 1] : undefined;
    return typeof before === "string" && typeof entry === "string" && isSecretName(before) ? HIDDEN : copy(entry, depth + 1);
  });
  if (list.length > MAX_ENTRIES) out.push(`… (${list.length} entries)`);
  return out;
}

function copyEntries(entries: readonly (readonly [unknown, unknown])[], depth: number): Record<string, unknown> {
  const out = entries.slice(0, MAX_ENTRIES).map(([key, entry]): [string, unknown] => {
    const name = redactText(String(key));
    const harmless = entry === null || entry === undefined || typeof entry === "boolean";
    return [name, isSecretName(String(key)) && !harmless ? HIDDEN : copy(entry, depth + 1)];
  });
  if (entries.length > MAX_ENTRIES) out.push(["…", `${entries.length} entries`]);
  return Object.fromEntries(out);
}

function copyError(error: Error, depth: number): Record<string, unknown> {
  const code = "code" in error ? error.code : undefined;
  const inner = error instanceof AggregateError ? error.errors : undefined;
  return {
    type: error.name,
    ...(code === undefined ? {} : { code: copy(code, depth + 1) }),
    message: redactText(error.message),
    ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: copy(error.cause, depth + 1) }),
    ...(inner === undefined ? {} : { errors: copyList(inner, depth + 1) }),
  };
}
