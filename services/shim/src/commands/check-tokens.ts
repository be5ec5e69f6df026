/** `aviary config check` for a token file. */
import { problemsOf } from "@aviary/shared/commands/config-report.ts";
import type { ConfigProblem } from "@aviary/shared/runtime/config.ts";
import { readTokenFile } from "../auth/token-file.ts";

/** Every problem of the file: those of the schema or, if there are none, those of the rotation rules. */
export async function checkTokens(path: string, nowMs: number): Promise<readonly ConfigProblem[]> {
  return await problemsOf(readTokenFile(path, nowMs));
}
