/** `aviary config check`: loads files as the services do, and reports every problem. */
import { existsSync } from "node:fs";
import { basename, dirname } from "node:path";
import { checkCollector } from "@aviary/collector/commands/check-collector.ts";
import { type CommandIo, EXIT } from "@aviary/shared/commands/command.ts";
import { problemsOf } from "@aviary/shared/commands/config-report.ts";
import { wrapText } from "@aviary/shared/commands/terminal-text.ts";
import { isMapping } from "@aviary/shared/contract/mapping.ts";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import { formatCount } from "@aviary/shared/contract/units.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { type ConfigProblem, formatProblem, loadYamlFile, readYamlFile } from "@aviary/shared/runtime/config.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { checkTokens } from "@aviary/shim/commands/check-tokens.ts";
import { type Style, styleFor } from "../../verdict-table.ts";
import type { CheckConfigCall, FileKind } from "../config-check.ts";

interface Report {
  readonly file: string;
  /** Null if the file cannot be read or is not YAML. */
  readonly kind: FileKind | null;
  readonly ok: boolean;
  readonly problems: readonly ConfigProblem[];
}

export async function checkConfigFiles({ args, options, output, io }: CheckConfigCall): Promise<number> {
  const files = args.files.length > 0 ? args.files.map((file) => ({ file, kind: options.kind })) : defaultFiles(io, options.kind);
  if (files.length === 0)
    throw terminal("usage", "no aviary.yaml, collector.yaml or tokens.yaml in this directory; name the files to check");
  const reports: Report[] = [];
  for (const { file, kind } of files) reports.push(await checkFile(file, kind));
  const style = styleFor(io.stdout);
  io.stdout.write(
    output === "json"
      ? `${JSON.stringify({ files: reports })}\n`
      : reports.flatMap((report) => reportLines(report, style).map((line) => `${line}\n`)).join(""),
  );
  return reports.every((report) => report.ok) ? EXIT.success : EXIT.failure;
}

interface NamedFile {
  readonly file: string;
  /** Undefined to detect it from the file. */
  readonly kind: FileKind | undefined;
}

/** The files of the services: variable, default name and kind. */
const USUAL_FILES = [
  ["AVIARY_FLEET_FILE", "aviary.yaml", "fleet"],
  ["AVIARY_COLLECTOR_FILE", "collector.yaml", "collector"],
  ["AVIARY_TOKENS_FILE", "tokens.yaml", "tokens"],
] as const;

/** The files that the services would read in this directory. A local fleet's files are elsewhere, so its settings are ignored. */
function defaultFiles({ env, localFleet }: CommandIo, given: FileKind | undefined): NamedFile[] {
  return USUAL_FILES.flatMap(([variable, usual, usualKind]): NamedFile[] => {
    const named = localFleet?.variables[variable] === undefined ? env[variable] : undefined;
    if (!named && !existsSync(usual)) return [];
    return [{ file: named || usual, kind: given ?? usualKind }];
  });
}

async function checkFile(file: string, named: FileKind | undefined): Promise<Report> {
  const detected = named === undefined ? await detectKind(file) : { kind: named };
  if (detected.kind === null || detected.problems !== undefined)
    return { file, kind: detected.kind, ok: false, problems: detected.problems };
  const problems = await CHECKS[detected.kind](file);
  return { file, kind: detected.kind, ok: problems.length === 0, problems };
}

const CHECKS: Readonly<Record<FileKind, (file: string) => Promise<readonly ConfigProblem[]>>> = {
  fleet: (file) => problemsOf(loadFleet(file)),
  policy: (file) => problemsOf(loadYamlFile(file, policySchema)),
  collector: checkCollector,
  tokens: (file) => checkTokens(file, systemClock.now()),
};

/** Top-level keys that only one kind of file has. */
const KIND_OF_KEY: ReadonlyMap<string, FileKind> = new Map([
  ...["fleets", "canaries", "lanes"].map((key) => [key, "fleet"] as const),
  ...["az", "fleet", "gateway", "slice", "probes", "spool", "allowHosts"].map((key) => [key, "collector"] as const),
]);

/** Default names, for files whose keys do not identify their kind. */
const KIND_OF_NAME: ReadonlyMap<string, FileKind> = new Map(USUAL_FILES.map(([, name, kind]) => [name, kind]));

type Detected =
  | { readonly kind: FileKind; readonly problems?: undefined }
  | { readonly kind: FileKind | null; readonly problems: readonly ConfigProblem[] };

/** The kind of a file; a mapping whose keys and name belong to no other kind is a policy. */
async function detectKind(file: string): Promise<Detected> {
  let value: unknown;
  const problems = await problemsOf(
    readYamlFile(file).then((read) => {
      value = read.value;
    }),
  );
  if (problems.length > 0) return { kind: null, problems };
  if (basename(dirname(file)) === "conf.d") {
    const reason = "a fragment is checked together with its collector.yaml; check that file instead";
    return { kind: null, problems: [{ source: file, path: "", reason }] };
  }
  if (Array.isArray(value)) return { kind: "tokens" };
  const usual = KIND_OF_NAME.get(basename(file));
  const keys = isMapping(value) ? Object.keys(value) : [];
  if (keys.length === 0) {
    const found = isMapping(value) ? "an empty file" : "neither keys nor a list";
    const expected = "the keys of a fleet file, a policy or a collector file, or a list of tokens (--kind sets the kind)";
    return { kind: usual ?? null, problems: [{ source: file, path: "", found, expected }] };
  }
  return { kind: keys.map((key) => KIND_OF_KEY.get(key)).find((kind) => kind !== undefined) ?? usual ?? "policy" };
}

function reportLines({ file, kind, problems }: Report, { paint, columns }: Style): string[] {
  const title = `Checking ${file}${kind === null ? "" : ` (${kind})`}`;
  if (problems.length === 0) return [title, `  ${paint("green", "SUCCESS")}`];
  const count = formatCount(problems.length, "problem");
  return [
    title,
    `  ${paint("red", "FAILED")}: ${count}`,
    ...problems.flatMap((problem) => wrapText(`    ${formatProblem(problem)}`, columns, " ".repeat(6))),
  ];
}
