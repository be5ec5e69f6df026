/** `aviary config check` for a token file. */
import { problemsOf } from "@aviary/shared/commands/config-report.ts";
import { type ConfigProblem, parseConfig, readYamlFile } from "@aviary/shared/runtime/config.ts";
import { checkTokenFile } from "../auth/token-rotation.ts";
import { tokenFileSchema } from "../auth/tokens.ts";

/** The shortest interval between checks of a controller: the shim demands the overlap of its fleet's longest one. */
const SHORTEST_INTERVAL_MS = 60_000;

/** Every problem of the file: its schema first, then the rules of rotation between its entries. */
export async function checkTokens(path: string, nowMs: number): Promise<readonly ConfigProblem[]> {
  const problems: ConfigProblem[] = [];
  const loading = readYamlFile(path).then((file) => {
    const entries = parseConfig(file.source, file.value, tokenFileSchema, file.lineOf);
    const found = checkTokenFile({ source: path, entries, nowMs: nowMs, intervalMs: SHORTEST_INTERVAL_MS });
    problems.push(...found.map((problem) => withLine(problem, file.lineOf([Number(/^\[(\d+)\]/.exec(problem.path)?.[1])]))));
  });
  problems.push(...(await problemsOf(loading)));
  return problems;
}

function withLine(problem: ConfigProblem, line: number | undefined): ConfigProblem {
  return line === undefined ? problem : { ...problem, line };
}
