/** `aviary config check`: loads files as the services do, and reports every problem. */
import { existsSync } from "node:fs";
import { basename, dirname } from "node:path";
import { checkCollector } from "@aviary/collector/commands/check-collector.ts";
import { EXIT } from "@aviary/shared/commands/command.ts";
import { problemsOf } from "@aviary/shared/commands/config-report.ts";
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
  /** null where the file cannot be read or is not YAML. */
  readonly kind: FileKind | null;
  readonly ok: boolean;
  readonly problems: readonly ConfigProblem[];
}

export async function checkConfigFiles({ args, options, output, io }: CheckConfigCall): Promise<number> {
  const files = args.files.length > 0 ? args.files : defaultFiles(io.env);
  if (files.length === 0) throw terminal("usage", "no aviary.yaml, collector.yaml or tokens.yaml here: name the files to check");
  const reports: Report[] = [];
  for (const file of files) reports.push(await checkFile(file, options.kind));
  const { paint } = styleFor(io.stdout);
  io.stdout.write(
    output === "json"
      ? `${JSON.stringify({ files: reports })}\n`
      : reports.flatMap((report) => reportLines(report, paint).map((line) => `${line}\n`)).join(""),
  );
  return reports.every((report) => report.ok) ? EXIT.success : EXIT.failure;
}

function defaultFiles(env: NodeJS.ProcessEnv): string[] {
  const candidates = [
    [env.AVIARY_FLEET_FILE, "aviary.yaml"],
    [env.AVIARY_COLLECTOR_FILE, "collector.yaml"],
    [env.AVIARY_TOKENS_FILE, "tokens.yaml"],
  ] as const;
  return candidates.flatMap(([named, usual]) => named || (existsSync(usual) ? usual : []));
}

async function checkFile(file: string, given: FileKind | undefined): Promise<Report> {
  const detected = given === undefined ? await detectKind(file) : { kind: given };
  if ("problems" in detected) return { file, kind: null, ok: false, problems: detected.problems };
  const problems = await CHECKS[detected.kind](file);
  return { file, kind: detected.kind, ok: problems.length === 0, problems };
}

const CHECKS: Readonly<Record<FileKind, (file: string) => Promise<readonly ConfigProblem[]>>> = {
  fleet: (file) => problemsOf(loadFleet(file)),
  policy: (file) => problemsOf(loadYamlFile(file, policySchema)),
  collector: checkCollector,
  tokens: (file) => checkTokens(file, systemClock.now()),
};

/** Keys at the root of a file that only one kind has; a file with none of them is a policy. */
const KIND_OF_KEY: ReadonlyMap<string, FileKind> = new Map([
  ...["fleets", "canaries", "lanes"].map((key) => [key, "fleet"] as const),
  ...["az", "fleet", "gateway", "slice", "probes", "spool", "allowHosts"].map((key) => [key, "collector"] as const),
]);

async function detectKind(file: string): Promise<{ kind: FileKind } | { problems: readonly ConfigProblem[] }> {
  let value: unknown;
  const problems = await problemsOf(
    readYamlFile(file).then((read) => {
      value = read.value;
    }),
  );
  if (problems.length > 0) return { problems };
  if (basename(dirname(file)) === "conf.d") {
    const reason = "a fragment is checked with its collector.yaml; check that file instead";
    return { problems: [{ source: file, path: "", reason }] };
  }
  if (Array.isArray(value)) return { kind: "tokens" };
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  return { kind: keys.map((key) => KIND_OF_KEY.get(key)).find((kind) => kind !== undefined) ?? "policy" };
}

function reportLines({ file, kind, problems }: Report, paint: Style["paint"]): string[] {
  const title = `Checking ${file}${kind === null ? "" : ` (${kind})`}`;
  if (problems.length === 0) return [title, `  ${paint("green", "SUCCESS")}`];
  const count = formatCount(problems.length, "problem");
  return [title, `  ${paint("red", "FAILED")}: ${count}`, ...problems.map((problem) => `    ${formatProblem(problem)}`)];
}
