/** `aviary config check` for a token file. */
import { problemsOf } from "@aviary/shared/commands/config-report.ts";
import type { ConfigProblem } from "@aviary/shared/runtime/config.ts";
import { readTokenFile } from "../auth/token-file.ts";

/** Every problem of the file: the schema first; if it holds, the rotation rules. */
export async function checkTokens(path: string, nowMs: number): Promise<readonly ConfigProblem[]> {
  return await problemsOf(readTokenFile(path, nowMs));
}
