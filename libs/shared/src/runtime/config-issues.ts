/** Turns schema issues into findings for the author of a file: the place, the value found and the value expected. Pure. */
import type { z } from "zod";
import { HIDDEN, isSecretName, redactText } from "./redact.ts";

export interface ConfigFinding {
  /** Keys from the root of the file to the value. */
  readonly keys: readonly PropertyKey[];
  readonly found: string;
  readonly expected: string;
  /** True for a refinement: the value has the right shape. */
  readonly isRule?: boolean;
}

/** `found` of a key that no file sets. */
export const MISSING = "nothing";
/** `found` of a mapping, whatever its keys. */
export const A_MAPPING = "a mapping";

type Issue = z.core.$ZodIssue;

/**
 * The error map for parsing: an issue's text is the expectation and continues the word "expected".
 * A message set by a schema (`.refine(…, { error: "…" })`) takes precedence and should read the same way.
 */
export function expectation(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return TYPE_NAMES[issue.expected] ?? issue.expected;
    case "invalid_value":
      return issue.values.length === 1 ? show(issue.values[0]) : `one of ${issue.values.map(show).join(", ")}`;
    case "too_small":
      return limit(
        issue.exact === true ? "exactly" : issue.inclusive === false ? "more than" : "at least",
        issue.minimum,
        issue.origin,
      );
    case "too_big":
      return limit(
        issue.exact === true ? "exactly" : issue.inclusive === false ? "less than" : "at most",
        issue.maximum,
        issue.origin,
      );
    case "not_multiple_of":
      return `a multiple of ${issue.divisor}`;
    case "invalid_format":
      return issue.format === "regex"
        ? `text that matches ${issue.pattern}`
        : (FORMAT_NAMES[issue.format] ?? `text in the format ${issue.format}`);
    case "invalid_union":
      return Array.isArray(issue.options) ? `one of ${issue.options.map(show).join(", ")}` : "another shape";
    default:
      return "another value";
  }
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "a mapping (key: value)",
  record: "a mapping (key: value)",
  array: "a list",
  null: "null",
};

const FORMAT_NAMES: Readonly<Record<string, string>> = {
  datetime: "a time such as 2026-11-01T08:00:00Z",
  url: "a URL",
  safeint: "a whole number",
};

function limit(relation: string, bound: number | bigint, origin: string): string {
  const isOne = Number(bound) === 1;
  const unit =
    origin === "string"
      ? ` ${isOne ? "character" : "characters"}`
      : origin === "array" || origin === "set" || origin === "map" || origin === "object"
        ? ` ${isOne ? "entry" : "entries"}`
        : "";
  return `${relation} ${bound}${unit}`;
}

/** All findings of a failed parse; unknown keys one by one, with the nearest known key. `value` is the parsed value. */
export function findings(schema: z.core.$ZodType, value: unknown, issues: readonly Issue[]): ConfigFinding[] {
  return issues.flatMap((issue) => describe(schema, value, issue));
}

function describe(schema: z.core.$ZodType, value: unknown, issue: Issue): ConfigFinding[] {
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(schema, issue.path);
    return issue.keys.map((key) => ({
      keys: [...issue.path, key],
      found: `the unknown key ${show(key)}`,
      expected: nearestOf(key, known),
    }));
  }
  if (issue.code === "invalid_key") {
    const expected = expectedOf(issue.issues[0]?.message ?? issue.message);
    return [{ keys: issue.path, found: `the key ${show(issue.path.at(-1))}`, expected }];
  }
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const branches = issue.errors.map((branch) =>
      branch.map((inner): Issue => ({ ...inner, path: [...issue.path, ...inner.path] })),
    );
    // The intended branch is the one whose outer shape matches: its issues are deeper, or about single keys.
    const fitting = branches.filter((branch) =>
      branch.every((inner) => inner.path.length > issue.path.length || inner.code === "unrecognized_keys"),
    );
    if (fitting.length === 1 && fitting[0] !== undefined) return findings(schema, value, fitting[0]);
    const expected = [...new Set(branches.map((branch) => branch[0]?.message ?? "another shape"))].join(", or ");
    return [{ keys: issue.path, found: showAt(value, issue.path), expected }];
  }
  const found = showAt(value, issue.path);
  const expected = `${expectedOf(issue.message)}${fractionHint(issue, found)}`;
  return [{ keys: issue.path, found, expected, ...(issue.code === "custom" ? { isRule: true } : {}) }];
}

/** A suggestion for a number written as `0.5%`, which is meant as a ratio; `found` is the value as shown. */
function fractionHint(issue: Issue, found: string): string {
  const percent =
    issue.code === "invalid_type" && issue.expected === "number" ? /^"(\d+(?:\.\d+)?) ?%"$/.exec(found)?.[1] : undefined;
  return percent === undefined ? "" : `, as a ratio: ${Number((Number(percent) / 100).toPrecision(6))}`;
}

/** A schema's message may be a whole sentence, "expected …, found …"; remove the parts the report adds itself. */
function expectedOf(message: string): string {
  return message.replace(/^expected /, "").replace(/, found [^,]*$/, "");
}

function showAt(value: unknown, keys: readonly PropertyKey[]): string {
  let at: unknown = value;
  for (const key of keys) {
    at = typeof at === "object" && at !== null && Object.hasOwn(at, key) ? (at as Record<PropertyKey, unknown>)[key] : undefined;
  }
  if (at === undefined) return MISSING;
  return keys.some((key) => typeof key === "string" && isSecretName(key)) && at !== null ? `${HIDDEN} (${kindOf(at)})` : show(at);
}

function kindOf(value: unknown): string {
  return Array.isArray(value)
    ? "a list"
    : typeof value === "object"
      ? "a mapping"
      : typeof value === "string"
        ? "text"
        : typeof value;
}

/** A short form of a value, without secrets. */
function show(value: unknown): string {
  if (typeof value === "string") {
    const text = redactText(value);
    return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
  }
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return A_MAPPING;
  return String(value);
}

/** The keys an object schema defines at a place; empty if it defines none. */
function knownKeys(schema: z.core.$ZodType, keys: readonly PropertyKey[]): string[] {
  let here = [schema];
  for (const key of keys) here = here.flatMap(unwrap).flatMap((outer) => child(outer, key));
  const names = here.flatMap(unwrap).flatMap(({ _zod: { def } }) => (isDef(def, "object") ? Object.keys(def.shape) : []));
  return [...new Set(names)];
}

interface Defs {
  object: z.core.$ZodObjectDef;
  array: z.core.$ZodArrayDef;
  record: z.core.$ZodRecordDef;
  union: z.core.$ZodUnionDef;
  pipe: z.core.$ZodPipeDef;
  lazy: z.core.$ZodLazyDef;
}

function isDef<T extends keyof Defs>(def: z.core.$ZodTypeDef, type: T): def is Defs[T] {
  return def.type === type;
}

/** The schemas inside optional, default, transform, lazy and union wrappers. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType[] {
  const def: z.core.$ZodTypeDef = schema._zod.def;
  if (isDef(def, "union")) return def.options.flatMap(unwrap);
  if (isDef(def, "pipe")) return unwrap(def.in);
  if (isDef(def, "lazy")) return unwrap(def.getter());
  if ("innerType" in def) return unwrap(def.innerType as z.core.$ZodType);
  return [schema];
}

function child(schema: z.core.$ZodType, key: PropertyKey): z.core.$ZodType[] {
  const def: z.core.$ZodTypeDef = schema._zod.def;
  if (isDef(def, "array")) return [def.element];
  if (isDef(def, "record")) return [def.valueType];
  const inner = isDef(def, "object") && typeof key === "string" ? def.shape[key] : undefined;
  return inner === undefined ? [] : [inner];
}

function nearestOf(name: string, known: readonly string[]): string {
  if (known.length === 0) return "no keys here";
  const near = nearestName(name, known);
  if (near !== undefined) return `the known key ${show(near)}`;
  const shown = known.slice(0, 12).join(", ");
  return `one of ${shown}${known.length > 12 ? `, and ${known.length - 12} more` : ""}`;
}

/** The known name closest to a mistyped one: at most a third of its letters differ; case, `_` and `-` are ignored. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string => text.slice(0, 64).toLowerCase().replaceAll(/[_-]/g, "");
  const wanted = plain(name);
  let best: { name: string; distance: number } | undefined;
  for (const candidate of known) {
    const distance = editDistance(wanted, plain(candidate));
    if (best === undefined || distance < best.distance) best = { name: candidate, distance };
  }
  return best !== undefined && best.distance <= Math.max(1, Math.floor(wanted.length / 3)) ? best.name : undefined;
}

/** The optimal string alignment distance: insertions, deletions, substitutions and transpositions of adjacent characters. */
export function editDistance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1];
      let cost = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (swapped) cost = Math.min(cost, beforeLast[column - 2]! + 1);
      current.push(cost);
    }
    beforeLast = last;
    last = current;
  }
  return last[to.length]!;
}
