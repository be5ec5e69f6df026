/**
 * Reads configuration from a file or the environment and validates it with a schema. Every problem is in one report, with file,
 * line, key, the value found and the value expected; unknown keys are problems, with the nearest known key. Secrets are not
 * shown.
 *
 * Schemas are `z.strictObject`s with camelCase keys. Durations: `contract/units.ts`; sizes: `bytes.ts`. The message of a
 * refinement is the expectation, such as "a port above 1023".
 */
import { readFile } from "node:fs/promises";
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type ParsedNode, parseDocument } from "yaml";
import type { z } from "zod";
import { formatCount } from "../contract/units.ts";
import { A_MAPPING, expectation, findings, MISSING } from "./config-issues.ts";
import { Terminal } from "./faults.ts";
import { redactText } from "./redact.ts";

interface ProblemPlace {
  /** The file as named by the caller, or `environment`. */
  readonly source: string;
  /** 1-based, if the value is in a file. */
  readonly line?: number;
  /** The key, as in `fleets.payments.gateways[0].az`; empty for the whole file. */
  readonly path: string;
}

/** A value that its key rejects. */
export interface ValueProblem extends ProblemPlace {
  readonly found: string;
  readonly expected: string;
  /** The value has the right shape and breaks a rule, such as "exactly one of two keys". */
  readonly isRule?: boolean;
}

/** A file or key that yields no value. */
export interface SourceProblem extends ProblemPlace {
  /** The problem, such as "invalid YAML: …" or "not found". */
  readonly reason: string;
  /** For a file that cannot be read: its kind, such as "fleet file". */
  readonly unreadable?: string;
  /** For a file that cannot be read: how to select another one. */
  readonly hint?: string;
}

export type ConfigProblem = ValueProblem | SourceProblem;

/** All problems of one or several files; the message is the complete report. */
export class ConfigError extends Terminal {
  override readonly name = "ConfigError";
  readonly problems: readonly ConfigProblem[];
  constructor(problems: readonly ConfigProblem[], cause?: unknown) {
    super("bad_config", formatProblems(problems), cause);
    this.problems = problems;
  }
}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly ValueProblem[] };

/** The line of a key path in its file, if it exists. */
export type LineOf = (keys: readonly PropertyKey[]) => number | undefined;

/** A parsed file before validation, for callers that merge several files. */
export interface YamlFile {
  readonly source: string;
  readonly value: unknown;
  readonly lineOf: LineOf;
}

/** Larger files are rejected, because a configuration of this size is a mistake. */
export const MAX_FILE_BYTES = 1_048_576;
const MAX_PROBLEMS_SHOWN = 50;

/** One problem in one line: `aviary.yaml:12: lanes.a.min: found -1, expected at least 0`, or `policy p.yaml not found`. */
export function formatProblem(problem: ConfigProblem): string {
  if ("reason" in problem && problem.unreadable !== undefined)
    return `${problem.unreadable} ${problem.source} ${problem.reason}${problem.hint === undefined ? "" : `; ${problem.hint}`}`;
  const place = problem.line === undefined ? problem.source : `${problem.source}:${problem.line}`;
  return `${place}: ${problem.path === "" ? "" : `${problem.path}: `}${"reason" in problem ? problem.reason : formatValueProblem(problem)}`;
}

function formatValueProblem({ found, expected }: ValueProblem): string {
  return `${found === MISSING ? "missing" : `found ${found}`}, expected ${expected}`;
}

/** The complete report, one line per problem, at most 50. */
export function formatProblems(problems: readonly ConfigProblem[]): string {
  const lines = problems.slice(0, MAX_PROBLEMS_SHOWN).map(formatProblem);
  const more = problems.length - MAX_PROBLEMS_SHOWN;
  if (more > 0) lines.push(`and ${formatCount(more, "more problem")}`);
  return lines.join("\n");
}

/** A problem of the value as written that the schema cannot find; `message` has the form of a refinement's. */
export interface RawProblem {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/**
 * Validates a value, and returns all problems or the typed value.
 * @param raw further problems of the value as written: zod drops an entry with an invalid key, so a schema cannot find those inside it
 */
export function checkConfig<S extends z.ZodType>(
  source: string,
  value: unknown,
  schema: S,
  lineOf: LineOf = () => undefined,
  raw: readonly RawProblem[] = [],
): Parsed<z.output<S>> {
  const result = schema.safeParse(value, { error: expectation });
  if (result.success && raw.length === 0) return { ok: true, value: result.data };
  const issues = [
    ...(result.error?.issues ?? []),
    ...raw.map(({ path, message }) => ({ code: "custom" as const, path: [...path], message, input: value })),
  ];
  const problems = findings(schema, value, issues).map(({ keys, found, expected, isRule }): ValueProblem => {
    const line = lineOf(keys);
    return {
      source,
      ...(line === undefined ? {} : { line }),
      path: formatPath(keys),
      found,
      expected,
      ...(isRule ? { isRule } : {}),
    };
  });
  return { ok: false, problems };
}

/**
 * The typed value.
 * @throws ConfigError with every problem
 */
export function parseConfig<S extends z.ZodType>(source: string, value: unknown, schema: S, lineOf?: LineOf): z.output<S> {
  const result = checkConfig(source, value, schema, lineOf);
  if (!result.ok) throw new ConfigError(result.problems);
  return result.value;
}

/**
 * Reads a YAML (or JSON) file and validates it. An empty file is an empty mapping.
 * @throws ConfigError if it cannot be read, is larger than 1 MiB, is not YAML (with the line), or does not match the schema
 */
export async function loadYamlFile<S extends z.ZodType>(path: string, schema: S): Promise<z.output<S>> {
  const file = await readYamlFile(path);
  return parseConfig(file.source, file.value, schema, file.lineOf);
}

/**
 * Whether another file could solve the problem by setting more keys: a required key is not set, or a mapping lacks one of
 * them. All entries of a list are in one file.
 */
export const isIncomplete = ({ found, path, isRule }: ValueProblem): boolean =>
  found === MISSING || (isRule === true && found === A_MAPPING && !path.includes("["));

/** Whether the file itself could not be read, so that there is no line. */
export const isUnreadable = (problem: ConfigProblem): problem is SourceProblem =>
  "reason" in problem && problem.unreadable !== undefined;

/** The meaning of an error on reading a file, as the end of a sentence that begins with the file name. */
export function readFailure(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  return UNREADABLE[code] ?? `cannot be read (${code})`;
}

const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: "not found",
  EISDIR: "is a folder",
  ENOTDIR: "is a path through a file",
  EACCES: "may not be read",
  EPERM: "may not be read",
};

/** The problems of the loads that failed. @throws the reason of one that failed otherwise */
export function problemsIn(results: readonly PromiseSettledResult<unknown>[]): ConfigProblem[] {
  return results.flatMap((result) => {
    if (result.status === "fulfilled") return [];
    if (result.reason instanceof ConfigError) return result.reason.problems;
    throw result.reason;
  });
}

/**
 * Waits for all of several loads.
 * @param found problems of earlier reads
 * @throws ConfigError with `found` and the problems of all loads; any other error as it is
 */
export async function loadAll<T extends readonly unknown[]>(
  loads: { readonly [K in keyof T]: Promise<T[K]> },
  found: readonly ConfigProblem[] = [],
): Promise<T> {
  const results = await Promise.allSettled(loads);
  const problems = [...found, ...problemsIn(results)];
  if (problems.length > 0) throw new ConfigError(problems);
  return results.map((result) => (result as PromiseFulfilledResult<unknown>).value) as unknown as T;
}

/** The kind of file and how to select another one, for a file that cannot be read: its path is most likely wrong. */
export interface FileDescription {
  readonly kind?: string;
  readonly hint?: string;
}

/**
 * Reads a YAML file without validation.
 * @throws ConfigError if it cannot be read, is larger than 1 MiB, or is not YAML
 */
export async function readYamlFile(path: string, { kind = "file", ...hint }: FileDescription = {}): Promise<YamlFile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new ConfigError([{ source: path, path: "", unreadable: kind, reason: readFailure(error), ...hint }], error);
  }
  if (Buffer.byteLength(text) > MAX_FILE_BYTES) {
    throw new ConfigError([
      { source: path, path: "", found: `${Buffer.byteLength(text)} bytes`, expected: `at most ${MAX_FILE_BYTES} bytes` },
    ]);
  }
  return parseYaml(path, text);
}

/**
 * Parses YAML text. Duplicate keys are errors, and aliases that expand the file more than a hundredfold are rejected.
 * @throws ConfigError with the line of every syntax error
 */
export function parseYaml(source: string, text: string): YamlFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const problems = document.errors.map(
      (error): ConfigProblem => ({
        source,
        line: lines.linePos(error.pos[0]).line,
        path: "",
        reason: `invalid YAML: ${redactText(error.message)}`,
      }),
    );
    throw new ConfigError(problems);
  }
  const lineOf: LineOf = (keys) => {
    const offset = offsetOf(document.contents, keys, (node) => (isAlias(node) ? node.resolve(document) : node));
    return offset === undefined ? undefined : lines.linePos(offset).line;
  };
  try {
    const value: unknown = document.toJS() ?? {};
    if (!isCyclic(value)) return { source, value, lineOf };
  } catch (error) {
    const reason = error instanceof Error ? error.message : "unreadable";
    throw new ConfigError([{ source, path: "", reason: `invalid YAML: ${redactText(reason)}` }], error);
  }
  throw new ConfigError([{ source, path: "", reason: "invalid YAML: an alias contains itself" }]);
}

/** All readers of the value expect a tree. */
function isCyclic(value: unknown): boolean {
  try {
    JSON.stringify(value);
    return false;
  } catch {
    return true;
  }
}

/** The offset of the deepest existing part of a path: the key of a mapping entry, or the entry of a list. */
function offsetOf(
  root: ParsedNode | null,
  keys: readonly PropertyKey[],
  resolve: (node: Node) => Node | undefined,
): number | undefined {
  let node: Node | undefined = root ?? undefined;
  let offset = root?.range[0];
  for (const key of keys) {
    const inside: Node | undefined = node === undefined ? undefined : resolve(node);
    if (isMap<Node, Node>(inside)) {
      const pair = inside.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (pair === undefined) return offset;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value ?? undefined;
    } else if (isSeq<Node>(inside) && typeof key === "number") {
      const entry: Node | undefined = inside.items[key];
      offset = entry?.range?.[0] ?? offset;
      node = entry;
    } else {
      return offset;
    }
  }
  return offset;
}

/** A key path as text, such as `fleets.payments.gateways[0].az`. */
export function formatPath(keys: readonly PropertyKey[]): string {
  return keys.map((key, index) => (typeof key === "number" ? `[${key}]` : `${index === 0 ? "" : "."}${String(key)}`)).join("");
}

export interface CheckedEnv<T> {
  readonly problems: readonly ConfigProblem[];
  /**
   * The environment with defaults in place of invalid variables, so that everything that depends on it is still checked; undefined
   * if an invalid variable has no default.
   */
  readonly value: T | undefined;
}

/** Validates the environment; an empty variable counts as absent. Variables that the schema does not define are ignored. */
export function checkEnv<S extends z.ZodObject>(
  schema: S,
  env: Readonly<Record<string, string | undefined>>,
): CheckedEnv<z.output<S>> {
  const named = Object.keys(schema.shape).map((name) => [name, env[name]] as const);
  const present = Object.fromEntries(named.filter(([, value]) => value !== undefined && value !== ""));
  const checked = checkConfig("environment", present, schema);
  if (checked.ok) return { problems: [], value: checked.value };
  const invalid = new Set(checked.problems.map(({ path }) => path));
  const rest = schema.safeParse(Object.fromEntries(Object.entries(present).filter(([name]) => !invalid.has(name))));
  return { problems: checked.problems, value: rest.success ? rest.data : undefined };
}

/**
 * Reads the environment once, at startup: only variables defined by the schema; an empty variable counts as absent.
 * Other variables are ignored, because a cluster adds its own to every container.
 * @throws ConfigError with every problem
 */
export function readEnv<S extends z.ZodObject>(schema: S, env: Readonly<Record<string, string | undefined>>): z.output<S> {
  const { problems, value } = checkEnv(schema, env);
  if (problems.length > 0 || value === undefined) throw new ConfigError(problems);
  return value;
}
