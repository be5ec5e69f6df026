/** `aviary config check` for a collector's file. */
import { problemsOf } from "@aviary/shared/commands/config-report.ts";
import type { ConfigProblem } from "@aviary/shared/runtime/config.ts";
import { loadCollectorConfig } from "../config.ts";

/** Every problem of the file and of the fragments in `conf.d/` next to it. */
export async function checkCollector(path: string): Promise<readonly ConfigProblem[]> {
  return await problemsOf(loadCollectorConfig(path));
}
