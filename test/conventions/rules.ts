/**
 * The rules of this repository as data. Each rule checks one module; the reason is part of every finding,
 * so that a failure explains itself. `boundaries.test.ts` applies them.
 */

import { isBuiltin } from "node:module";
import { dirname, join } from "node:path/posix";
import { findInCode, lineAt, type Source } from "./source.ts";
import { filesUnder, isProduct, readText } from "./tree.ts";

export interface RuleViolation {
  readonly path: string;
  readonly line: number;
  readonly what: string;
}

export interface Rule {
  readonly name: string;
  readonly reason: string;
  readonly applies: (path: string) => boolean;
  readonly check: (source: Source) => RuleViolation[];
}

/** Files that are exempt from a rule, each with the reason. */
type Exceptions = Readonly<Record<string, string>>;

/** The directory and `exports` of every workspace, by name. */
const WORKSPACES = new Map(
  filesUnder()
    .filter((path) => /^(libs|services|examples)\/[^/]+\/package\.json$|^cli\/package\.json$/.test(path))
    .map((path) => {
      const { name, exports = {} } = JSON.parse(readText(path)) as { name: string; exports?: Record<string, string> };
      return [name, { directory: dirname(path), exports: Object.entries(exports) }] as const;
    }),
);

/** The target of an import: a path relative to the root, or the name of a package. */
export function resolveImport(from: string, specifier: string): string {
  if (specifier.startsWith(".")) return join(dirname(from), specifier);
  const [scope, short, ...rest] = specifier.split("/");
  const workspace = WORKSPACES.get(`${scope}/${short}`);
  if (workspace === undefined) return specifier;
  const wanted = `./${rest.join("/")}`;
  for (const [pattern, target] of workspace.exports) {
    const [before = "", after] = pattern.split("*");
    if (after === undefined ? wanted === pattern : wanted.startsWith(before) && wanted.endsWith(after)) {
      const inside = after === undefined ? "" : wanted.slice(before.length, wanted.length - after.length);
      return join(workspace.directory, target.replace("*", inside));
    }
  }
  return join(workspace.directory, wanted);
}

const serviceOf = (path: string): string | undefined => /^services\/([^/]+)\//.exec(path)?.[1];
const coreOf = (path: string): string | undefined => /^(services\/[^/]+\/src\/core)\//.exec(path)?.[1];
const inContract = (path: string): boolean => path.startsWith("libs/shared/src/contract/");
const HISTOGRAM = /^libs\/shared\/src\/histogram(-[a-z]+)?\.ts$/;

/** A rule about imports: every import must satisfy `allowed`. */
function importRule(
  name: string,
  reason: string,
  applies: (path: string) => boolean,
  allowed: (from: string, to: string) => boolean,
): Rule {
  return {
    name,
    reason,
    applies,
    check: (source) =>
      source.imports
        .filter((found) => !allowed(source.path, resolveImport(source.path, found.specifier)))
        .map((found) => ({ path: source.path, line: found.line, what: `imports ${found.specifier}` })),
  };
}

/** A rule about code: nothing may match `pattern`, except in the exempt files. */
function codeRule(
  name: string,
  reason: string,
  applies: (path: string) => boolean,
  pattern: RegExp,
  except: Exceptions = {},
): Rule {
  return {
    name,
    reason,
    applies: (path) => applies(path) && except[path] === undefined,
    check: (source) =>
      findInCode(source, pattern).map((found) => ({
        path: source.path,
        line: found.line,
        what: `\`${found.match}\` in: ${found.text}`,
      })),
  };
}

/** Files other than `runtime/clock.ts` that may read the clock or set timers. */
const CLOCK_EXCEPTIONS: Exceptions = {
  "libs/shared/src/runtime/clock.ts": "it implements the clock",
};

const SUBJECT = /^(signals|control|verdicts|incidents|digests|receipts|demand|dead)\.(?:$|[a-z0-9_*>$-]+(?:\.|$))/;
/** File names such as `control.ts` look like a subject. */
const FILE_NAME = /\.(ts|mjs|js|json|ya?ml|md|jsonl|html|css)$/;

export const RULES: readonly Rule[] = [
  importRule(
    "services never import each other",
    "services communicate through libs/shared/src/contract: move shared code there, or send a message",
    (path) => serviceOf(path) !== undefined,
    (from, to) => serviceOf(to) === undefined || serviceOf(to) === serviceOf(from),
  ),
  importRule(
    "libs import no service, command or example",
    "libs/shared is the lowest layer; a library that depends on its users cannot be reused",
    (path) => path.startsWith("libs/"),
    (_from, to) => !/^(services|cli|examples|tools|scripts|test)\//.test(to),
  ),
  importRule(
    "the command line imports only the commands of services",
    "a command that needs the core of a service lives with that service, in services/*/src/commands; all others live in cli/",
    (path) => path.startsWith("cli/") && isProduct(path),
    (_from, to) => serviceOf(to) === undefined || /^services\/[^/]+\/src\/commands\//.test(to),
  ),
  importRule(
    "core/ imports the contract, the histogram, zod and itself",
    "core/ decides, as a pure function of its arguments; reading and performing belong in io/ or runtime/",
    (path) => coreOf(path) !== undefined,
    (from, to) => inContract(to) || HISTOGRAM.test(to) || to === "zod" || to.startsWith(`${coreOf(from)}/`),
  ),
  importRule(
    "contract/ imports the contract, the histogram, zod and hashing",
    "both ends of every message import contract/, so its dependencies become theirs",
    inContract,
    (_from, to) => inContract(to) || HISTOGRAM.test(to) || to === "zod" || to === "node:crypto",
  ),
  importRule(
    "the NATS client is imported in bus/ only",
    "everything else uses the Bus interface, so that the client can be replaced and tests can run in memory",
    (path) => isProduct(path) && !path.startsWith("libs/shared/src/bus/"),
    (_from, to) => !to.startsWith("@nats-io/") && to !== "nats",
  ),
  importRule(
    "built-in modules are imported with node:",
    "a bare name could be a package of the same name",
    () => true,
    (_from, to) => to.startsWith("node:") || !isBuiltin(to),
  ),
  importRule(
    "no module of timers is imported",
    "they bypass the Clock interface: accept a Clock",
    (path) => isProduct(path) && !path.startsWith("examples/"),
    (_from, to) => !/^node:(timers|perf_hooks)/.test(to),
  ),
  codeRule(
    "time is read in runtime/clock.ts only",
    "code that needs the time accepts a Clock, so that tests and the simulation can control it",
    // The example fleet represents external machines, which have their own clocks.
    (path) => isProduct(path) && !path.startsWith("examples/"),
    /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.(?:now|timeOrigin)\b|\bprocess\.hrtime\b|\bset(?:Timeout|Interval)\s*\(|\bAbortSignal\.timeout\b/g,
    CLOCK_EXCEPTIONS,
  ),
  codeRule(
    "log lines have an event",
    "lines are grouped and alerted on by their event, which stays the same when the text is rewritten",
    (path) => isProduct(path) && !path.startsWith("examples/") && !path.startsWith("cli/"),
    /\blog(?:ger)?\.(?:info|warn|error|fatal)\((?!\s*\{\s*event\b)/g,
  ),
  codeRule(
    "core/ is pure",
    "the same log must produce the same bytes on every machine: time and randomness are arguments, effects are return values",
    (path) => coreOf(path) !== undefined,
    /\bawait\b|\basync\b|\bPromise\b|(?<![.\w])process\.(?!exit_code|restarts|rss_bytes|oom|thermal|memory_pressure|gateway_boot)|\bglobalThis\b|\bconsole\b|\bMath\.random\b|\brandomUUID\b|\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\b|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\btoLocale\w*\b|\bIntl\b/g,
  ),
  codeRule(
    "shared code reads no environment",
    "configuration is read once, by runtime/config.ts, and passed on; a variable read elsewhere is undocumented",
    (path) => isProduct(path) && (inContract(path) || path.startsWith("libs/shared/src/bus/")),
    /\bprocess\.env\b/g,
  ),
  codeRule("no re-export of whole modules", "a barrel hides dependencies and loads all of them", () => true, /\bexport\s*\*/g),
  {
    name: "no barrel and no catch-all file",
    reason: "name a file after its content; index, utils and helpers are not content",
    applies: () => true,
    check: (source) =>
      /(^|\/)(index|utils?|helpers?|misc|common)\.(ts|mjs)$/.test(source.path) || /\/(utils?|helpers?)\//.test(source.path)
        ? [{ path: source.path, line: 1, what: "the name" }]
        : [],
  },
  {
    name: "subjects are built in contract/subjects.ts only",
    reason: "a subject that is spelled out twice can be misspelled: use the builders and filters",
    applies: (path) => isProduct(path) && path !== "libs/shared/src/contract/subjects.ts",
    check: (source) =>
      source.strings
        .filter((found) => SUBJECT.test(found.value) && !FILE_NAME.test(found.value))
        .map((found) => ({ path: source.path, line: found.line, what: JSON.stringify(found.value) })),
  },
  {
    name: "a file has at most 400 lines",
    reason: "a file should be readable in one sitting: split it along what changes together",
    applies: isProduct,
    check: (source) => {
      const lines = lineAt(source.text, source.text.length);
      return lines > 400 ? [{ path: source.path, line: 400, what: `${lines} lines` }] : [];
    },
  },
];

/** All findings of one module under all rules, formatted for a test failure. */
export function findings(source: Source): string[] {
  return RULES.filter((rule) => rule.applies(source.path)).flatMap((rule) =>
    rule
      .check(source)
      .map((found) => `${found.path}:${found.line}: ${found.what}\n      rule: ${rule.name}\n      why:  ${rule.reason}`),
  );
}

/**
 * Import cycles among modules, ignoring type imports; each cycle once, as a path.
 */
export function importCycles(sources: readonly Source[]): string[] {
  const known = new Set(sources.map((source) => source.path));
  const edges = new Map(
    sources.map((source) => [
      source.path,
      source.imports
        .filter((found) => !found.typeOnly)
        .map((found) => resolveImport(source.path, found.specifier))
        .filter((to) => known.has(to)),
    ]),
  );
  const state = new Map<string, "open" | "done">();
  const cycles: string[] = [];
  const stack: string[] = [];
  const visit = (path: string): void => {
    if (state.get(path) === "done") return;
    if (state.get(path) === "open") {
      cycles.push([...stack.slice(stack.indexOf(path)), path].join(" -> "));
      return;
    }
    state.set(path, "open");
    stack.push(path);
    for (const to of edges.get(path) ?? []) visit(to);
    stack.pop();
    state.set(path, "done");
  };
  for (const path of edges.keys()) visit(path);
  return cycles;
}
